import { describe, expect, it } from "vitest";
import { turnsOf } from "../src/chat/turns";
import type { Pending } from "../src/store/conversations";
import { message, path } from "./make";

const pending = (fields: Partial<Pending> = {}): Pending => ({
  ...{ key: "k", kind: "ask", text: "now?", parts: [], askedMs: 0 },
  ...fields,
});

describe("turnsOf", () => {
  it("puts each answer to its question", () => {
    const turns = turnsOf(path(4), undefined);
    expect(turns.map((turn) => [turn.question?.id, turn.answers.map((answer) => answer.id)])).toEqual([
      ["p0", ["p1"]],
      ["p2", ["p3"]],
    ]);
  });

  it("shows an answer without a question, and no system message", () => {
    const turns = turnsOf([message({ role: "system" }), message({ id: "a", role: "assistant" })], undefined);
    expect(turns.map((turn) => turn.answers[0]?.id)).toEqual(["a"]);
  });

  it("puts a question that is on its way last", () => {
    const turns = turnsOf(path(2), pending());
    expect(turns.at(-1)).toMatchObject({ key: "k", question: undefined, answers: [] });
    expect(turns).toHaveLength(2);
  });

  it("an edited question takes the place of what follows it", () => {
    const turns = turnsOf(path(6), pending({ kind: "edit", target: "p2" }));
    expect(turns.map((turn) => turn.key)).toEqual(["p0", "k"]);
  });

  it("an answer that is made anew takes the place of the old one, below its question", () => {
    const turns = turnsOf(path(6), pending({ kind: "regenerate", target: "p3" }));
    expect(turns.map((turn) => turn.key)).toEqual(["p0", "p2"]);
    expect(turns[1]).toMatchObject({ answers: [], pending: { kind: "regenerate" } });
  });
});
