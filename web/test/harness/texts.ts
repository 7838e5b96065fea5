/** Answers of a given length, about 4 characters a token, always the same. */

export type Kind = "mixed" | "code" | "list" | "table" | "math" | "paragraph" | "nested";

const WORDS =
  "the stream of an answer that is kept on the server can be read again from any point by whoever lost it".split(" ");

const words = (seed: number, count: number): string =>
  Array.from({ length: count }, (_, at) => WORDS[(seed * 7 + at * 3) % WORDS.length]).join(" ");

const code = (seed: number, lines: number): string =>
  Array.from({ length: lines }, (_, at) =>
    at % 6 === 0
      ? `def step_${seed}_${at}(value: int, name: str = "x") -> dict[str, int]:`
      : `    total_${at} = compute(value + ${at}, name=f"part {value}") * ${at}.5  # ${words(at, 3)}`,
  ).join("\n");

const item = (at: number): string =>
  `- **Item ${at}**: ${words(at, 8)}, \`code_${at}\` and [a link](https://example.com/${at})\n`;
const row = (at: number): string => `| ${at} | ${words(at, 3)} | **${at * 3}** | \`f(${at})\` |\n`;
const formula = (at: number): string =>
  `$$\n\\sum_{i=1}^{${at}} \\frac{x_i^2}{${at}} = \\sqrt{${at}}\n$$\n\nwhere $x_i > ${at}$ [1].\n\n`;

const PARTS: Readonly<Record<Kind, (at: number) => string>> = {
  mixed: (at) =>
    [
      `## Part ${at}\n\n${words(at, 40)} with *emphasis*, **weight** and \`code\` [${(at % 5) + 1}].\n\n`,
      Array.from({ length: 6 }, (_, n) => item(n)).join("") + "\n",
      `\`\`\`python\n${code(at, 14)}\n\`\`\`\n\n`,
      `| n | text | value | call |\n|--:|---|---|---|\n${Array.from({ length: 6 }, (_, n) => row(n)).join("")}\n`,
      formula(at % 50),
      `> ${words(at, 30)}\n\n`,
    ].join(""),
  code: (at) => (at === 0 ? "```python\n" : "") + code(at, 12) + "\n",
  list: item,
  table: (at) => (at === 0 ? "| n | text | value | call |\n|--:|---|---|---|\n" : "") + row(at),
  math: formula,
  paragraph: (at) => `${words(at, 12)}, **weight ${at}** and \`code\`. `,
  nested: (at) => `${"  ".repeat(at % 6)}- ${words(at, 10)}\n`,
};

export function textOf(kind: Kind, tokens: number): string {
  const parts: string[] = [];
  for (let at = 0, length = 0; length < tokens * 4; at += 1) {
    const part = PARTS[kind](at);
    parts.push(part);
    length += part.length;
  }
  return parts.join("").slice(0, tokens * 4);
}
