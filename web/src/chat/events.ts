/** What the page tells the conversation that it shows. */

/** The reader wants the newest. */
export const JUMP = "headwater:jump";
/** The reader wants to change their last question. */
export const EDIT_LAST = "headwater:edit-last";
