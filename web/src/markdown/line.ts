/** One line while containers take their markers off its start; columns count tabs as CommonMark does (stops of 4). */

const TAB = 4;

export class Line {
  readonly text: string;
  offset = 0;
  column = 0;
  /** Where the first character stands that is neither space nor tab, from `offset` on. */
  nextNonspace = 0;
  /** Columns of white space before it. */
  indent = 0;
  blank = false;
  #partialTab = false;

  constructor(text: string) {
    this.text = text;
    this.look();
  }

  /** Four columns make code. */
  get indented(): boolean {
    return this.indent >= TAB;
  }

  /** The line from its first character that is not white space. */
  get content(): string {
    return this.text.slice(this.nextNonspace);
  }

  /** The line from here; a tab that a marker used in part counts as the spaces that are left of it. */
  get rest(): string {
    if (!this.#partialTab) return this.text.slice(this.offset);
    return " ".repeat(TAB - (this.column % TAB)) + this.text.slice(this.offset + 1);
  }

  look(): void {
    let at = this.offset;
    let column = this.column;
    for (;;) {
      const character = this.text[at];
      if (character === " ") column += 1;
      else if (character === "\t") column += TAB - (column % TAB);
      else break;
      at += 1;
    }
    this.nextNonspace = at;
    this.indent = column - this.column;
    this.blank = at >= this.text.length;
  }

  /** Goes past `columns` columns of white space. */
  skipColumns(columns: number): void {
    let left = columns;
    while (left > 0 && this.offset < this.text.length) {
      if (this.text[this.offset] !== "\t") {
        this.#partialTab = false;
        this.offset += 1;
        this.column += 1;
        left -= 1;
        continue;
      }
      const toStop = TAB - (this.column % TAB);
      this.#partialTab = toStop > left;
      const taken = Math.min(toStop, left);
      this.column += taken;
      this.offset += this.#partialTab ? 0 : 1;
      left -= taken;
    }
    this.look();
  }

  /** Goes past `count` characters, none of which is a tab. */
  skip(count: number): void {
    this.#partialTab = false;
    this.offset += count;
    this.column += count;
    this.look();
  }

  skipSpace(): void {
    this.offset = this.nextNonspace;
    this.column += this.indent;
    this.#partialTab = false;
    this.look();
  }

  /** Whether white space (or a rest of a tab) stands here. */
  get atSpace(): boolean {
    const character = this.text[this.offset];
    return character === " " || character === "\t";
  }
}
