import { useStore } from "zustand";
import { conversations } from "./conversations";

const MOST_CHARACTERS = 80;

/** What a conversation begins with, where it is known here: until the server has named it. */
export function useFirstWords(thread: string | undefined): string {
  return useStore(conversations, ({ byThread }) => {
    const known = thread === undefined ? undefined : byThread[thread];
    const first = known?.messages.find((message) => message.role === "user")?.content ?? known?.pending?.text ?? "";
    return first.slice(0, MOST_CHARACTERS);
  });
}
