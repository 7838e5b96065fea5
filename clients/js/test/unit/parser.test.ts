import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ParseError, createParser, type ParserOptions, type SseMessage } from "../../src/index.js";

function parse(pieces: Iterable<string>, options: Partial<ParserOptions> = {}) {
  const seen: SseMessage[] = [];
  const retries: number[] = [];
  const comments: string[] = [];
  const errors: ParseError[] = [];
  const parser = createParser({
    onEvent: (message) => seen.push(message),
    onRetry: (ms) => retries.push(ms),
    onComment: (text) => comments.push(text),
    onError: (error) => errors.push(error),
    ...options,
  });
  for (const piece of pieces) parser.feed(piece);
  return { seen, retries, comments, errors, parser };
}

const datas = (text: string): string[] => parse([text]).seen.map(({ data }) => data);

/** https://github.com/web-platform-tests/wpt/tree/master/eventsource, `format-*` and `event-data`. */
describe("the vectors of the web platform tests", () => {
  it.each<[string, string, string[]]>([
    ["format-bom", "\uFEFFdata:1\n\n\uFEFFdata:2\n\ndata:3\n\n", ["1", "3"]],
    ["format-bom-2", "\uFEFF\uFEFFdata:1\n\ndata:2\n\ndata:3\n\n", ["2", "3"]],
    [
      "format-comments",
      `data:1\r:\0\n:\r\ndata:2\n:${"x".repeat(2049)}\rdata:3\n:data:fail\r:x\n:test\rdata:4\n\n`,
      ["1\n2\n3\n4"],
    ],
    ["format-data-before-final-empty-line", "retry:1000\ndata:test1\n\nid:test\ndata:test2", ["test1"]],
    ["format-field-data", "data:\n\ndata\ndata\n\ndata:test\n\n", ["", "\n", "test"]],
    [
      "format-field-parsing",
      "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
      ["\0\n 2\n1\n3\n\n4"],
    ],
    [
      "format-field-unknown",
      "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
      ["test\n\ntest"],
    ],
    ["format-leading-space", "data:\ttest\rdata: \ndata:test\n\n", ["\ttest\n\ntest"]],
    ["format-newlines", "data:test\r\ndata\ndata:test\r\n\r", ["test\n\ntest"]],
    ["format-null-character", "data:\0\n\n\n\n", ["\0"]],
    ["format-utf-8", "data:ok…\n\n", ["ok…"]],
    [
      "event-data",
      "data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
      ["msg\nmsg", "", "end"],
    ],
  ])("%s", (_name, text, expected) => {
    expect(datas(text)).toEqual(expected);
  });

  it("format-field-event: a name holds for its own event", () => {
    const { seen } = parse(["event:test\ndata:x\n\ndata:x\n\nevent\ndata:y\n\nevent: a\nevent: b\ndata:z\n\n"]);
    expect(seen.map(({ event }) => event)).toEqual(["test", "message", "message", "b"]);
  });

  it("format-field-id: an id stays in force, an empty one ends it, one with NUL is none", () => {
    const { seen } = parse(["id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\nid: 3\n\ndata: e\n\n"]);
    expect(seen.map(({ id }) => id)).toEqual(["1", "1", "1", "", "3"]);
  });

  it("format-field-retry: digits only", () => {
    const { retries } = parse(["retry:3000\nretry:3e3\nretry\nretry: 250\nretry:-1\nretry:1234567890123456\n\n"]);
    expect(retries).toEqual([3000, 250]);
  });
});

it("tells comments, which are heartbeats", () => {
  expect(parse([": hb\n\n:\n"]).comments).toEqual(["hb", ""]);
});

it("works with an onEvent only", () => {
  const { seen } = parse([": hb\nretry: 5\ndata: x\n\n"], {
    onComment: undefined as never,
    onRetry: undefined as never,
  });
  expect(seen).toHaveLength(1);
});

describe("any chunking", () => {
  const line = fc.oneof(
    fc.constantFrom(
      "data: a",
      "data:",
      "data",
      "event: e",
      "id: 7",
      "id: x\0",
      "retry: 10",
      ": c",
      "other: 1",
      "",
      "",
      "\uFEFFdata: b",
    ),
    fc.string({ unit: fc.constantFrom("d", ":", " ", "🌊", "\0", "é"), maxLength: 8 }),
  );
  const body = fc.array(fc.tuple(line, fc.constantFrom("\n", "\r", "\r\n")), { maxLength: 30 });

  it("gives the same messages", () => {
    fc.assert(
      fc.property(body, fc.boolean(), fc.array(fc.nat(9), { minLength: 1, maxLength: 9 }), (lines, bom, sizes) => {
        const text = (bom ? "\uFEFF" : "") + lines.flat().join("");
        const pieces: string[] = [];
        for (let at = 0, turn = 0; at < text.length; turn++) {
          const size = sizes[turn % sizes.length]! + (turn % sizes.length === 0 ? 1 : 0);
          pieces.push(text.slice(at, (at += size)));
        }
        const one = parse([text]);
        const many = parse(pieces);
        expect(many.seen).toEqual(one.seen);
        expect(many.retries).toEqual(one.retries);
        expect(many.comments).toEqual(one.comments);
      }),
    );
  });

  it("gives what a line by line reading of the standard gives", () => {
    fc.assert(
      fc.property(body, (lines) => {
        const text = lines.flat().join("");
        expect(parse(text).seen).toEqual(reference(text));
      }),
    );
  });
});

/** The standard's own steps, on a whole body. */
function reference(body: string): SseMessage[] {
  const lines = body.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  lines.pop();
  const seen: SseMessage[] = [];
  let [id, buffer, event, data] = ["", "", "", ""];
  for (const line of lines) {
    const [, name, value = ""] = /^([^:]*)(?:: ?)?([^]*)$/.exec(line)!;
    if (line === "") {
      id = buffer;
      if (data) seen.push({ event: event || "message", data: data.slice(0, -1), id });
      event = data = "";
    } else if (name === "data") data += `${value}\n`;
    else if (name === "event") event = value;
    else if (name === "id" && !value.includes("\0")) buffer = value;
  }
  return seen;
}

describe("bounds", () => {
  it.each([
    ["a line that never ends", ["data: ", "x".repeat(60), "x".repeat(60)]],
    ["a whole line", [`data: ${"x".repeat(120)}\n`]],
    ["an event that never ends", Array.from({ length: 40 }, () => "data: xxx\n")],
  ])("%s", (_name, pieces) => {
    const { errors, seen, parser } = parse([...pieces, "\n\ndata: later\n\n"], { maxEventBytes: 100 });
    expect(errors).toHaveLength(1);
    expect(errors[0]).toBeInstanceOf(ParseError);
    expect(errors[0]).toMatchObject({ type: "frame-too-large", name: "ParseError" });
    expect(seen).toEqual([]);
    parser.reset();
    parser.feed("data: again\n\n");
    expect(seen.map(({ data }) => data)).toEqual(["again"]);
  });

  it("throws where nobody is told", () => {
    const parser = createParser({ onEvent: () => {}, maxEventBytes: 10 });
    expect(() => parser.feed("x".repeat(11))).toThrow(ParseError);
  });

  it("holds 8 Mi by default", () => {
    const { seen, errors } = parse([`data: ${"x".repeat(8 * 2 ** 20 - 6)}\n\n`]);
    expect(seen).toHaveLength(1);
    expect(errors).toEqual([]);
    expect(parse(["x".repeat(8 * 2 ** 20 + 1)]).errors).toHaveLength(1);
  });
});

it("reset drops what is not ended, and keeps the id in force", () => {
  const { seen, parser } = parse(["id: 4\ndata: a\n\nid: 5\nevent: e\ndata: lost\r"]);
  parser.reset();
  parser.feed("\uFEFFdata: b\n\n");
  expect(seen).toEqual([
    { event: "message", data: "a", id: "4" },
    { event: "message", data: "b", id: "4" },
  ]);
});

it("looks at each character of a long line once, however small its pieces", () => {
  let looked = 0;
  const piece = "x".repeat(10);
  const spied = Object.assign(Object(piece) as string, {
    indexOf: (found: string, from: number) => ((looked += 10), piece.indexOf(found, from)),
  });
  const { parser } = parse(["data: "]);
  for (let turn = 0; turn < 1000; turn++) parser.feed(spied);
  expect(looked).toBe(2 * 10 * 1000); // for CR and for LF
});
