import { HeadwaterError } from "headwater";
import { beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { client } from "../src/api/server";
import { readConversation, saveConversation } from "../src/store/cache";
import * as store from "../src/store/conversations";
import { ask, bodyOf, place, retry } from "../src/store/asking";
import { setPreferences } from "../src/settings/preferences";
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
