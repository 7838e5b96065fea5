import { HeadwaterError } from "headwater";
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { client } from "../src/api/server";
import { NOTICE_MS } from "../src/store/notices";
import {
  deleteThreadSoon,
  loadOlderThreads,
  refreshThreads,
  threadList,
  undoDelete,
  upsertThread,
} from "../src/store/threads";
import { thread } from "./make";

let request: MockInstance<typeof client.request>;
const day = (n: number): string => `2026-01-${String(n).padStart(2, "0")}T00:00:00.000Z`;
const at = (n: number) => thread({ id: `d${n}`, updated_at: day(n) });
const ids = (): string[] => threadList.getState().threads.map((each) => each.id);

beforeEach(() => {
  vi.useFakeTimers();
  threadList.setState({ threads: [], hasMore: false, loaded: false, leaving: new Set() });
  request = vi.spyOn(client, "request");
});

afterEach(() => vi.useRealTimers());

describe("the list", () => {
  it("keeps the older threads that were loaded when the newest are asked for again", async () => {
    request.mockResolvedValueOnce({ data: [at(9), at(8)], has_more: true });
    await refreshThreads();
    request.mockResolvedValueOnce({ data: [at(7)], has_more: false });
    await loadOlderThreads();
    request.mockResolvedValueOnce({ data: [at(10), at(9)], has_more: true });
    await refreshThreads();
    expect(ids()).toEqual(["d10", "d9", "d8", "d7"]);
    expect(threadList.getState().hasMore).toBe(false);
  });

  it("what was deleted elsewhere goes, and what is active comes first", async () => {
    request.mockResolvedValueOnce({ data: [at(9), at(8)], has_more: false });
    await refreshThreads();
    request.mockResolvedValueOnce({ data: [at(8)], has_more: false });
    await refreshThreads();
    upsertThread(at(12));
    upsertThread({ ...at(8), updated_at: day(13) });
    expect(ids()).toEqual(["d8", "d12"]);
  });
});

describe("deleting", () => {
  beforeEach(() => threadList.setState({ threads: [at(2), at(1)], loaded: true }));

  it("can be undone: the server is not asked before", async () => {
    const failed = vi.fn();
    deleteThreadSoon("d1", failed);
    expect(threadList.getState().leaving.has("d1")).toBe(true);
    undoDelete("d1");
    await vi.advanceTimersByTimeAsync(NOTICE_MS * 2);
    expect([request.mock.calls.length, threadList.getState().leaving.size, failed.mock.calls.length]).toEqual([
      0, 0, 0,
    ]);
  });

  it("is done when it can no longer be undone", async () => {
    request.mockResolvedValue(undefined);
    deleteThreadSoon("d1", vi.fn());
    await vi.advanceTimersByTimeAsync(NOTICE_MS);
    expect(request.mock.calls.map(([method, path]) => `${method} ${path}`)).toEqual(["DELETE /v1/threads/d1"]);
    expect(ids()).toEqual(["d2"]);
  });

  it("is taken back where the server refuses", async () => {
    request.mockRejectedValue(new HeadwaterError("insufficient_scope", "no", { status: 403 }));
    const failed = vi.fn();
    deleteThreadSoon("d1", failed);
    await vi.advanceTimersByTimeAsync(NOTICE_MS);
    expect(failed).toHaveBeenCalledOnce();
    expect([ids(), threadList.getState().leaving.size]).toEqual([["d2", "d1"], 0]);
  });
});
