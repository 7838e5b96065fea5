/** A conversation as turns: a question and what answers it. */

import type { Message } from "../api/types";
import type { Pending } from "../store/conversations";

export interface Turn {
  readonly key: string;
  readonly question: Message | undefined;
  readonly answers: readonly Message[];
  /** This turn is not at the server yet: it stands for its question, its answer, or both. */
  readonly pending: Pending | undefined;
}

export function turnsOf(messages: readonly Message[], pending: Pending | undefined): Turn[] {
  const shown = pending ? upTo(messages, pending) : messages;
  const turns: Turn[] = [];
  for (const message of shown) {
    if (message.role === "system") continue;
    const last = turns.at(-1);
    if (message.role === "user" || !last) {
      const question = message.role === "user" ? message : undefined;
      turns.push({ key: message.id, question, answers: question ? [] : [message], pending: undefined });
    } else {
      turns[turns.length - 1] = { ...last, answers: [...last.answers, message] };
    }
  }
  if (!pending) return turns;
  const last = turns.at(-1);
  if (pending.kind === "regenerate" && last) return [...turns.slice(0, -1), { ...last, pending }];
  return [...turns, { key: pending.key, question: undefined, answers: [], pending }];
}

/** What stays above a question that is edited, or an answer that is made anew. */
function upTo(messages: readonly Message[], pending: Pending): readonly Message[] {
  if (pending.kind === "ask") return messages;
  const at = messages.findIndex((message) => message.id === pending.target);
  return at < 0 ? messages : messages.slice(0, at);
}

export const sameTurn = (a: Turn, b: Turn): boolean =>
  a.key === b.key &&
  a.question === b.question &&
  a.pending === b.pending &&
  a.answers.length === b.answers.length &&
  a.answers.every((answer, at) => answer === b.answers[at]);
