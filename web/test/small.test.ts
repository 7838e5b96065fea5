import type { AnswerState } from "headwater";
import { afterEach, describe, expect, it } from "vitest";
import { stateOf } from "../src/api/models";
import { Pace } from "../src/chat/pace";
import { statusText } from "../src/chat/statusText";
import { pretty } from "../src/chat/ToolCallCard";
import { figuresOf } from "../src/chat/UsageLine";
import { viewOf } from "../src/chat/useAnswer";
import { languageOf, translate } from "../src/i18n";
import { dayOf, formatCost, formatSeconds, ordinal } from "../src/i18n/format";
import { texts } from "../src/i18n/texts";
import { preferences, watchOtherTabs } from "../src/settings/preferences";
import { keysOf, matches, SHORTCUTS } from "../src/settings/shortcuts";
import { writeSetting } from "../src/settings/stored";
import { shown } from "../src/sidebar/ThreadList";
import { cut } from "../src/sources/PassagePreview";
import { dropDraft, forgetDrafts, readDraft, saveDrafts, writeDraft } from "../src/store/drafts";
import { parsePlace } from "../src/store/navigation";
import { message, thread } from "./make";

const state = (fields: Partial<AnswerState> = {}): AnswerState => ({
  ...{ text: "", reasoning: "", toolCalls: [], sources: [], seams: [], metadata: {}, phase: "waiting", events: 1 },
  ...fields,
});

describe("drafts", () => {
  afterEach(() => localStorage.clear());

  it("are kept for each thread, and for the new one", () => {
    writeDraft("t1", "one");
    writeDraft(undefined, "new");
    saveDrafts();
    expect([readDraft("t1"), readDraft(undefined), readDraft("t2")]).toEqual(["one", "new", ""]);
  });

  it("are there before they are saved", () => {
    writeDraft("t1", "not yet");
    expect(readDraft("t1")).toBe("not yet");
    dropDraft("t1");
  });

  it("are gone once they were sent", () => {
    writeDraft("t1", "one");
    dropDraft("t1");
    expect(localStorage.length).toBe(0);
  });

  it("are forgotten together, saved or not, and nothing else is", () => {
    writeSetting("language", "fr");
    writeDraft("t1", "one");
    writeDraft(undefined, "new");
    saveDrafts();
    writeDraft("t2", "not yet");
    forgetDrafts();
    expect([readDraft("t1"), readDraft(undefined), readDraft("t2")]).toEqual(["", "", ""]);
    expect(Object.keys({ ...localStorage })).toEqual(["headwater.language"]);
  });
});

describe("preferences", () => {
  afterEach(() => localStorage.clear());

  it("follow other tabs until that is stopped", () => {
    const wrote = (model: string): void => {
      writeSetting("model", model);
      dispatchEvent(new StorageEvent("storage", { key: "headwater.model" }));
    };
    const stop = watchOtherTabs();
    wrote("one");
    stop();
    wrote("two");
    expect(preferences.getState().model).toBe("one");
  });
});

describe("status in words", () => {
  const say = (fields: Partial<AnswerState>, language: "en" | "fr" = "en"): string =>
    statusText(state(fields), (key, values) => translate(texts, language, key, values), language);

  it.each([
    ["Queued, 3rd", { stage: "queued", position: 3 }],
    ["Queued for openai, 1st", { stage: "queued", position: 1, data: { provider: "openai" } }],
    ["Found 1 passage", { stage: "searched", data: { passages: 1 } }],
    ["Found 3 passages", { stage: "searched", data: { passages: 3 } }],
    ["Falling back to b · m", { stage: "fallback", data: { provider: "b", model: "m" } }],
    ["said by the server", { stage: "unheard of", message: "said by the server" }],
  ] as const)("%s", (words, status) => {
    expect(say({ status: { type: "status", ...status } })).toBe(words);
  });

  it("in French", () => {
    expect(say({ status: { type: "status", stage: "queued", position: 3 } }, "fr")).toBe("En file d’attente, 3e");
  });

  it("tells thinking, writing and tools by what came", () => {
    expect(say({ reasoning: "hm" })).toBe("Thinking");
    expect(say({ reasoning: "hm", text: "so" })).toBe("Writing");
    expect(say({ toolCalls: [{ index: 0, id: "c", name: "search", arguments: "" }] })).toBe("Calling search");
  });
});

describe("an answer's view", () => {
  const kept = message({ role: "assistant", status: "streaming", content: "so far", stream_id: "s" });

  it("shows the server's text until the stream's first event, then the stream", () => {
    expect(viewOf(kept, state({ events: 0 })).text).toBe("so far");
    expect(viewOf(kept, state({ text: "so", events: 2 })).text).toBe("so");
  });

  it("is over as soon as the stream is, whatever the message still says", () => {
    expect(viewOf(kept, state({ phase: "cancelled", events: 9 }))).toMatchObject({ live: false, status: "cancelled" });
  });

  it("is the kept one once that is settled", () => {
    expect(viewOf({ ...kept, status: "done", content: "whole" }, state({ text: "who", events: 3 })).text).toBe("whole");
  });
});

describe("figures", () => {
  it("are those that were told", () => {
    const metadata = {
      first_token_ms: 500,
      duration_ms: 2500,
      cost: { amount: 0.007, currency: "USD", source: "exact" },
    };
    const usage = { prompt_tokens: 9, completion_tokens: 100, source: "exact" } as const;
    expect(figuresOf(metadata, usage)).toEqual({
      ...{ firstTokenMs: 500, durationMs: 2500, tokens: 100, tokensPerSecond: 50 },
      cost: { amount: 0.007, currency: "USD", estimated: false },
    });
  });

  it("are left out where they were not", () => {
    expect(Object.values(figuresOf({ cost: null }, null)).filter((value) => value !== undefined)).toEqual([]);
  });

  it("pace needs a moment, and begins anew with the text", () => {
    const pace = new Pace();
    expect(pace.seen(0, 0)).toBeUndefined();
    expect(pace.seen(400, 1000)).toBeCloseTo(100);
    expect(pace.seen(4, 1100)).toBeUndefined();
  });

  it("are written as people of the language do", () => {
    expect([
      formatSeconds(40, "en"),
      formatSeconds(640, "en"),
      formatSeconds(7100, "fr"),
      formatSeconds(83_000, "en"),
    ]).toEqual(["40 ms", "0.64 s", "7,1 s", "1 min 23 s"]);
    expect(formatCost(0.006996, "USD", "en")).toBe("$0.007");
    expect([1, 2, 3, 11, 22].map((n) => ordinal(n, "en"))).toEqual(["1st", "2nd", "3rd", "11th", "22nd"]);
  });
});

describe("texts", () => {
  it("have the same names to fill in in both languages", () => {
    const names = (text: string): string[] => [...new Set(text.match(/\{\w+\}/g))].sort();
    for (const [key, text] of Object.entries(texts.en)) {
      const french = texts.fr[key as keyof typeof texts.fr];
      expect([key, names(french), french.split("|").length]).toEqual([key, names(text), text.split("|").length]);
    }
  });

  it("the browser's first known language is taken, a choice wins", () => {
    expect(languageOf("auto", ["de-DE", "fr-CA", "en"])).toBe("fr");
    expect(languageOf("auto", ["de"])).toBe("en");
    expect(languageOf("en", ["fr"])).toBe("en");
  });
});

describe("places, days and lists", () => {
  it("reads the address", () => {
    expect(parsePlace("#/t/abc-1/m/d")).toEqual({ thread: "abc-1", message: "d" });
    expect(parsePlace("#/t/<script>")).toEqual({ thread: undefined, message: undefined });
  });

  it("groups by the reader's days", () => {
    const now = new Date(2026, 5, 10, 12);
    const days = [0, 1, 5, 30].map((back) => dayOf(new Date(2026, 5, 10 - back, 11).toISOString(), now));
    expect(days).toEqual(["today", "yesterday", "lastWeek", "older"]);
  });

  it("lists no thread that nobody has written in, but the open one, and none that is leaving", () => {
    const empty = thread({ id: "e", messages: 0, title: "" });
    const gone = thread({ id: "g" });
    expect(shown([empty, gone], new Set(["g"]), undefined)).toEqual([]);
    expect(shown([empty], new Set(), "e")).toEqual([empty]);
  });
});

describe("providers", () => {
  const target = { provider: "p", model: "m", running: 0, queued: 0 } as const;
  it("one target that answers is enough", () => {
    expect(
      stateOf({
        name: "r",
        state: [
          { ...target, breaker: "open" },
          { ...target, breaker: "closed" },
        ],
      }).state,
    ).toBe("ready");
    expect(stateOf({ name: "r", state: [{ ...target, breaker: "open" }] }).state).toBe("down");
    expect(stateOf({ name: "r", state: [{ ...target, breaker: "half_open" }] }).state).toBe("probing");
    expect(stateOf({ name: "r", state: [{ ...target, breaker: "closed", queued: 2 }] })).toEqual({
      state: "busy",
      queued: 2,
    });
    expect(stateOf(undefined).state).toBe("ready");
  });
});

describe("odds and ends", () => {
  it("cuts passages by characters, not by UTF-16 units", () => {
    expect(cut({ start: 10, end: 15, text: "🌊a🌊bc", has_more: false }, 11, 13)).toMatchObject({
      ...{ before: "🌊", passage: "a🌊", after: "bc" },
    });
  });

  it("shows arguments that are no JSON yet as they are", () => {
    expect(pretty('{"a":1}')).toBe('{\n  "a": 1\n}');
    expect(pretty('{"a":')).toBe('{"a":');
  });

  it("shortcuts need their modifiers, and nothing more", () => {
    const named = (name: string): (typeof SHORTCUTS)[number] => SHORTCUTS.find((each) => each.name === name)!;
    const key = (init: KeyboardEventInit): KeyboardEvent => new KeyboardEvent("keydown", init);
    expect(matches(named("search"), key({ key: "k", ctrlKey: true }))).toBe(true);
    expect(matches(named("search"), key({ key: "k" }))).toBe(false);
    expect(matches(named("stop"), key({ key: "Escape", shiftKey: true }))).toBe(false);
    expect(matches(named("help"), key({ key: "/", ctrlKey: true, shiftKey: true }))).toBe(true);
    expect(keysOf({ key: "Enter", shift: true })).toEqual(["⇧", "Enter"]);
  });
});
