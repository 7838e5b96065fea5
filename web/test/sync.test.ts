import { afterEach, beforeEach, expect, it, type MockInstance, vi } from "vitest";
import * as api from "../src/api/conversations";
import { reachability } from "../src/api/server";
import * as conversations from "../src/store/conversations";
import { startSync } from "../src/store/sync";

let list: MockInstance<typeof api.listThreads>;
let keep: MockInstance<typeof conversations.keepLive>;
let stop = (): void => {};

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
  list = vi.spyOn(api, "listThreads").mockResolvedValue({ data: [], has_more: false });
  keep = vi.spyOn(conversations, "keepLive").mockReturnValue();
  stop = startSync();
  await vi.waitFor(() => expect(list).toHaveBeenCalledOnce()); // what it begins with
  list.mockClear();
});

afterEach(() => {
  stop();
  vi.useRealTimers();
  reachability.setState({ reachable: true });
});

it("asks now and then, and often while the server is away", () => {
  vi.advanceTimersByTime(14_000);
  expect(list).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1_000);
  expect(list).toHaveBeenCalledTimes(1);
  reachability.setState({ reachable: false });
  vi.advanceTimersByTime(9_000);
  expect(list).toHaveBeenCalledTimes(4);
  reachability.setState({ reachable: true });
  vi.advanceTimersByTime(14_000);
  expect(list).toHaveBeenCalledTimes(4);
});

it("keeps what there is of live answers, also when the page is left", () => {
  vi.advanceTimersByTime(5_000);
  expect(keep).toHaveBeenCalledTimes(1);
  dispatchEvent(new Event("pagehide"));
  expect(keep).toHaveBeenCalledTimes(2);
});

it("asks for nothing once it is stopped", () => {
  stop();
  vi.advanceTimersByTime(60_000);
  reachability.setState({ reachable: false });
  vi.advanceTimersByTime(60_000);
  expect(list).not.toHaveBeenCalled();
});
