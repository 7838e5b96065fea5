import { type AnswerState, emptyAnswer, HeadwaterError } from "headwater";
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { client } from "../src/api/server";
import { answers } from "../src/store/answers";
import { boundOf, dropBound, keepBound } from "../src/store/bounds";
import { readConversation, saveConversation } from "../src/store/cache";
import * as store from "../src/store/conversations";
import { ask, bodyOf, place, retry } from "../src/store/asking";
import { setPreferences } from "../src/settings/preferences";
import { writeSetting } from "../src/settings/stored";
import { message, path, thread } from "./make";

let request: MockInstance<typeof client.request>;

/** The server as a table of paths. */
function serve(answers: Record<string, unknown>): void {
  request.mockImplementation((method, address) => {
    const key = `${method} ${address.split("?")[0]}`;
    const answer = answers[key];
    return answer === undefined
      ? Promise.reject(new HeadwaterError("not_found", key, { status: 404 }))
      : Promise.resolve(answer as never);
  });
}

const page = (data: unknown[], has_more = false): unknown => ({ data, has_more });

beforeEach(() => {
  store.conversations.setState({ byThread: {} });
  request = vi.spyOn(client, "request");
});

describe("merging pages", () => {
  it("keeps older messages that were loaded, where the page goes on after them", () => {
    const older = path(4);
    const newest = path(2, 4);
    const merged = store.merge({ messages: older, hasMore: true }, { data: newest, has_more: true });
    expect(merged.messages.map((each) => each.id)).toEqual(["p0", "p1", "p2", "p3", "p4", "p5"]);
    expect(merged.hasMore).toBe(true);
  });

  it("drops what is no longer above: the branch was changed", () => {
    const elsewhere = [message({ id: "x", parent_id: "other" })];
    const merged = store.merge({ messages: path(4), hasMore: false }, { data: elsewhere, has_more: true });
    expect(merged).toEqual({ messages: elsewhere, hasMore: true });
  });

  it("keeps the objects of messages that did not change, so that nothing of them is drawn again", () => {
    const before = path(2);
    const after = path(2).map((each, at) => (at ? { ...each, content: "changed" } : each));
    const merged = store.merge({ messages: before, hasMore: false }, { data: after, has_more: false });
    expect(merged.messages[0]).toBe(before[0]);
    expect(merged.messages[1]?.content).toBe("changed");
  });
});

describe("opening", () => {
  it("shows what was saved where the server cannot be reached", async () => {
    await saveConversation("t1", path(2), false);
    request.mockRejectedValue(new HeadwaterError("connection_lost", "gone"));
    await expect(store.openConversation("t1")).rejects.toThrow("gone");
    const now = store.conversationOf("t1");
    expect(now.messages.map((each) => each.id)).toEqual(["p0", "p1"]);
    expect(now.origin).toBe("saved");
  });

  it("replaces it by the server's word, and saves that", async () => {
    await saveConversation("t1", path(2), false);
    serve({ "GET /v1/threads/t1/messages": page(path(4)), "GET /v1/threads/t1": thread({ id: "t1" }) });
    await store.openConversation("t1");
    expect(store.conversationOf("t1")).toMatchObject({ origin: "server", messages: { length: 4 } });
    await vi.waitFor(async () => expect((await readConversation("t1"))?.messages).toHaveLength(4));
  });

  it("a list that was asked for before a question does not take the question away", async () => {
    let answer: (value: never) => void = () => {};
    request.mockImplementation((_, address) =>
      address.includes("messages")
        ? new Promise((resolve) => (answer = resolve as typeof answer))
        : Promise.resolve(thread({ id: "t1" }) as never),
    );
    const opening = store.openConversation("t1");
    await vi.waitFor(() => expect(request).toHaveBeenCalled());
    place("t1", message({ id: "q" }), message({ id: "a", role: "assistant", parent_id: "q" }));
    answer(page([]) as never);
    await opening;
    expect(store.conversationOf("t1").messages.map((each) => each.id)).toEqual(["q", "a"]);
  });
});

describe("single messages", () => {
  beforeEach(() => store.change("t1", () => ({ messages: path(4), hasMore: false, origin: "server" })));

  it("updateMessageContent changes one, in place", () => {
    const before = store.conversationOf("t1").messages;
    store.updateMessageContent("t1", "p1", "new", "thought");
    const after = store.conversationOf("t1").messages;
    expect(after[1]).toMatchObject({ content: "new", reasoning: "thought" });
    expect(after[0]).toBe(before[0]);
  });

  it("updateMessageUsage keeps the figures", () => {
    const usage = { prompt_tokens: 3, completion_tokens: 7, source: "exact" } as const;
    store.updateMessageUsage("t1", "p3", usage);
    expect(store.conversationOf("t1").messages[3]?.usage).toEqual(usage);
  });

  it("deleteMessage takes what is below, too", async () => {
    request.mockImplementation((method) =>
      method === "DELETE" ? Promise.resolve(undefined as never) : Promise.reject(new HeadwaterError("x", "gone")),
    );
    await expect(store.deleteMessage("t1", "p2")).rejects.toThrow("gone");
    expect(store.conversationOf("t1").messages.map((each) => each.id)).toEqual(["p0", "p1"]);
  });
});

describe("asking", () => {
  it("keeps a question that did not arrive, and asks again under the same key", async () => {
    const failing = vi.spyOn(client, "ask").mockRejectedValue(new HeadwaterError("connection_lost", "gone"));
    await ask("t1", { text: "now?", parts: [] });
    const { pending } = store.conversationOf("t1");
    expect(pending).toMatchObject({ text: "now?", error: { message: "gone" } });
    await retry("t1");
    const keys = failing.mock.calls.map(([, , options]) => options?.idempotencyKey);
    expect(keys).toEqual([pending?.key, pending?.key]);
  });

  it("sends what the settings say, and nothing that they do not", () => {
    const question = { key: "k", kind: "ask", text: "now?", parts: [], askedMs: 0 } as const;
    setPreferences({ model: "", temperature: undefined, maxTokens: undefined });
    expect(bodyOf(question)).toEqual({ content: "now?" });
    setPreferences({ model: "m", temperature: 0, maxTokens: 5 });
    expect(bodyOf(question)).toEqual({ content: "now?", model: "m", params: { temperature: 0, max_tokens: 5 } });
    setPreferences({ model: "", temperature: undefined, maxTokens: undefined });
  });

  it("sends pictures as content parts after the words", () => {
    const parts = [{ type: "image_url", image_url: { url: "data:image/png;base64,AA==" } }];
    const question = { key: "k", kind: "edit", target: "q", text: "what?", parts, askedMs: 0 } as const;
    expect(bodyOf(question)).toEqual({ content: [{ type: "text", text: "what?" }, ...parts], edit: "q" });
  });

  it("an edited question takes the place of the branch that was shown", () => {
    store.change("t1", () => ({ messages: path(4), hasMore: false, origin: "server" }));
    place("t1", message({ id: "q", parent_id: "p1" }), message({ id: "a", parent_id: "q" }));
    expect(store.conversationOf("t1").messages.map((each) => each.id)).toEqual(["p0", "p1", "q", "a"]);
  });

  it("the first question edited leaves nothing above", () => {
    store.change("t1", () => ({ messages: path(4), hasMore: false, origin: "server" }));
    place("t1", message({ id: "q", parent_id: null }), message({ id: "a", parent_id: "q" }));
    expect(store.conversationOf("t1").messages.map((each) => each.id)).toEqual(["q", "a"]);
  });
});

describe("a message that is sought", () => {
  const calls = (): string[] => request.mock.calls.map(([method, address]) => `${method} ${address.split("?")[0]}`);
  beforeEach(() => store.change("t1", () => ({ messages: path(2, 4), hasMore: true, origin: "server" })));

  it("is there already", async () => {
    await store.reachMessage("t1", "p5");
    expect(calls()).toEqual([]);
  });

  it("is further up", async () => {
    serve({ "GET /v1/threads/t1/messages": page(path(4)) });
    await store.reachMessage("t1", "p1");
    expect(calls()).toEqual(["GET /v1/threads/t1/messages"]);
    expect(store.conversationOf("t1").messages[1]?.id).toBe("p1");
  });

  it("is on another branch, which is then shown", async () => {
    const other = [message({ id: "x" }), message({ id: "y", parent_id: "x", role: "assistant" })];
    let switched = false;
    request.mockImplementation((method, address) => {
      switched ||= method === "POST" && address.endsWith("/leaf");
      if (address.includes("/messages")) return Promise.resolve(page(switched ? other : path(4)) as never);
      return Promise.resolve(thread({ id: "t1" }) as never);
    });
    await store.reachMessage("t1", "y");
    expect(request).toHaveBeenCalledWith("POST", "/v1/threads/t1/leaf", { message_id: "y" }, expect.anything());
    expect(store.conversationOf("t1").messages.map((each) => each.id)).toEqual(["x", "y"]);
  });

  it("is not looked for without end", async () => {
    serve({ "GET /v1/threads/t1/messages": page([], true) });
    await expect(store.reachMessage("t1", "p1")).rejects.toThrow("POST /v1/threads/t1/leaf");
  });
});

describe("an answer that ends, or is left", () => {
  const state = { ...emptyAnswer(), text: "whole", phase: "done", events: 3 } as AnswerState;
  const live = message({ id: "a", role: "assistant", status: "streaming", stream_id: "s1", content: "wh" });
  const follow = (now: AnswerState): void => {
    const stream = { state: now, connection: { status: "open", attempt: 0 }, done: new Promise(() => {}) };
    answers.setState({ watched: new Map([["s1", { stream: stream as never, thread: "t1", ...NO_BOUND }]]) });
    store.change("t1", () => ({ messages: [live], hasMore: false, origin: "server" }));
  };
  const NO_BOUND = { askedMs: undefined, maxTokens: undefined };
  afterEach(() => answers.setState({ watched: new Map() }));

  it("is what its stream told, also where the server cannot say it", async () => {
    follow(state);
    request.mockRejectedValue(new HeadwaterError("connection_lost", "gone"));
    await expect(store.settleMessage("t1", "s1")).rejects.toThrow("gone");
    expect(store.conversationOf("t1").messages[0]).toMatchObject({ content: "whole", status: "done" });
  });

  it("is then what the server keeps", async () => {
    follow(state);
    serve({ "GET /v1/messages/a": { ...live, status: "done", content: "kept" } });
    await store.settleMessage("t1", "s1");
    expect(store.conversationOf("t1").messages[0]).toMatchObject({ content: "kept", status: "done" });
  });

  it("does not bring back the branch that was left while the server was asked for it", async () => {
    follow(state);
    let tell = (): void => {};
    let list = (): void => {};
    const kept = new Promise((resolve) => (tell = () => resolve({ ...live, status: "done" })));
    const other = page([message({ id: "b", role: "assistant", content: "the other one" })]);
    const first = new Promise((resolve) => (list = () => resolve(other)));
    let lists = 0;
    request.mockImplementation((_, address) => {
      if (address.endsWith("/messages/a")) return kept as never;
      if (address.includes("/threads/t1/messages")) return (lists++ ? Promise.resolve(other) : first) as never;
      return Promise.resolve(thread({ id: "t1" }) as never);
    });
    const settled = store.settleMessage("t1", "s1");
    const switched = store.switchBranch("t1", "b");
    await vi.waitFor(() => expect(lists).toBe(1));
    tell();
    await vi.waitFor(() => expect(store.conversationOf("t1").messages[0]?.status).toBe("done"));
    await new Promise((resolve) => setTimeout(resolve));
    list();
    await Promise.all([settled, switched]);
    expect(store.conversationOf("t1").messages.map((each) => each.id)).toEqual(["b"]);
  });

  it("can be read so far without the server", async () => {
    follow({ ...state, phase: "streaming", text: "whole so far" });
    store.keepLive();
    const kept = store.conversationOf("t1").messages[0];
    expect(kept).toMatchObject({ content: "whole so far", status: "streaming" });
    await vi.waitFor(async () => expect((await readConversation("t1"))?.messages[0]?.content).toBe("whole so far"));
    store.keepLive();
    expect(store.conversationOf("t1").messages[0]).toBe(kept);
  });

  it.each([
    ["nothing has come", { ...state, phase: "waiting", events: 0, text: "" }],
    ["it has ended", state],
  ] as const)("is not written over where %s", (_, now) => {
    follow(now as AnswerState);
    store.keepLive();
    expect(store.conversationOf("t1").messages[0]).toBe(live);
  });
});

describe("how long an answer may get", () => {
  afterEach(() => localStorage.clear());

  it("is known until it has ended", () => {
    keepBound("s1", 77);
    keepBound("s2", 5);
    keepBound("s1", 78);
    expect([boundOf("s1"), boundOf("s2"), boundOf("s3")]).toEqual([78, 5, undefined]);
    dropBound("s1");
    dropBound("s3");
    expect([boundOf("s1"), boundOf("s2")]).toEqual([undefined, 5]);
    dropBound("s2");
    expect(localStorage.getItem("headwater.bounds")).toBeNull();
  });

  it("is kept of so many", () => {
    for (let at = 0; at < 30; at += 1) keepBound(`s${at}`, at);
    expect([boundOf("s9"), boundOf("s10")]).toEqual([undefined, 10]);
  });

  it.each(["{", "7", '[["s1"], 3]'])("is not known from what another wrote: %s", (text) => {
    writeSetting("bounds", text);
    expect(boundOf("s1")).toBeUndefined();
  });
});
