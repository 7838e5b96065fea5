import fc from "fast-check";
import { expect, it } from "vitest";
import { CODE_RUN } from "../../src/markdown/blocks";
import { Highlighter, type Colored } from "../../src/markdown/highlight";
import { loadMode, modeName } from "../../src/markdown/languages";

const SOURCE = `"""A docstring
over lines"""
def f(x: int) -> str:
    # note
    return "text" * 3

`;

const runsOf = (code: string): string[] => {
  const lines = code.split("\n");
  return Array.from({ length: Math.ceil(lines.length / CODE_RUN) }, (_, at) =>
    lines.slice(at * CODE_RUN, (at + 1) * CODE_RUN).join("\n"),
  );
};

function colorsOf(highlighter: Highlighter, index: number): Colored {
  for (let step = 0; step < 1000; step += 1) {
    const colored = highlighter.step(index);
    if (colored) return colored;
  }
  throw new Error("a run takes as many steps as there are runs before it");
}

const plain = (colored: Colored): string =>
  colored.lines.map((line) => line.map(({ text }) => text).join("")).join("\n");

it("knows the languages by the names that answers use", () => {
  expect(modeName("Python")).toBe("python");
  expect(modeName("tsx")).toBe("typescript");
  expect(modeName("c++")).toBe("cpp");
  expect(modeName("constructor")).toBeUndefined();
  expect(modeName("")).toBeUndefined();
});

it("gives the same colours however the code came", async () => {
  const mode = await loadMode("python");
  const code = SOURCE.repeat(30).trimEnd();
  const atOnce = new Highlighter(mode);
  const runs = runsOf(code);
  runs.forEach((run, at) => atOnce.set(at, run, true));
  const expected = runs.map((_, at) => colorsOf(atOnce, at));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }), (sizes) => {
      const growing = new Highlighter(mode);
      const feed = (end: number, done: boolean): void => {
        const parts = runsOf(code.slice(0, end));
        parts.forEach((part, at) => {
          growing.set(at, part, done || at < parts.length - 1);
          colorsOf(growing, at);
        });
      };
      for (let end = 0, turn = 0; end < code.length; turn += 1) feed((end += sizes[turn % sizes.length] ?? 1), false);
      feed(code.length, true);
      runs.forEach((_, at) => expect(colorsOf(growing, at)).toEqual(expected[at]));
    }),
    { numRuns: 30 },
  );
  expect(expected.map(plain)).toEqual(runs);
});

it("knows in the middle of a text that it is within a string", async () => {
  const highlighter = new Highlighter(await loadMode("python"));
  const code = `"""\n${"in a string\n".repeat(CODE_RUN * 2)}"""`;
  runsOf(code).forEach((run, at) => highlighter.set(at, run, true));
  expect(colorsOf(highlighter, 1).lines[5]).toEqual([{ text: "in a string", color: "md-string" }]);
});

it("reads only what is new", async () => {
  const mode = await loadMode("javascript");
  let lines = 0;
  const counting = {
    ...mode,
    token: (...[stream, state]: Parameters<typeof mode.token>) => {
      if (stream.start === 0) lines += 1;
      return mode.token(stream, state);
    },
  };
  const highlighter = new Highlighter(counting);
  let text = "x";
  for (let at = 0; at < 60; at += 1) {
    highlighter.set(0, (text += "\nx"), false);
    colorsOf(highlighter, 0);
  }
  expect(lines).toBe(60);
});

it("starts again where the code was replaced", async () => {
  const highlighter = new Highlighter(await loadMode("python"));
  highlighter.set(0, "return 1", true);
  colorsOf(highlighter, 0);
  highlighter.set(0, "# other", true);
  expect(colorsOf(highlighter, 0).lines).toEqual([[{ text: "# other", color: "md-comment" }]]);
});

it("gets past a character that a mode stands still at, and leaves long lines plain", () => {
  const still = new Highlighter({ token: () => "keyword" });
  still.set(0, `ab\n${"x".repeat(3000)}`, true);
  expect(plain(colorsOf(still, 0))).toBe(`ab\n${"x".repeat(3000)}`);
});
