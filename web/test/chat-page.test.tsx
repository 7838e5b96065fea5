import "fake-indexeddb/auto";
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { createRef } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import * as api from "../src/api/conversations";
import * as documents from "../src/api/documents";
import { client } from "../src/api/server";
import { ChatPage } from "../src/chat/ChatPage";
import type { ComposerHandle } from "../src/composer/Composer";
import { dropDraft, readDraft, writeDraft } from "../src/store/drafts";
import { goTo } from "../src/store/navigation";
import { notices } from "../src/store/notices";
import { thread } from "./make";

const NEW = { thread: undefined, message: undefined };

function show() {
  const composer = createRef<ComposerHandle>();
  render(<ChatPage place={NEW} narrow={false} sidebar composer={composer} />);
  return { composer, field: screen.getByTestId<HTMLTextAreaElement>("chat-input") };
}

beforeEach(() => {
  vi.spyOn(client, "request").mockRejectedValue(new TypeError("network"));
  vi.spyOn(documents, "uploadDocument").mockRejectedValue(new TypeError("network"));
});

afterEach(() => {
  cleanup();
  dropDraft(undefined);
  goTo(undefined);
  notices.setState({ notices: [] });
});

it("a first question that cannot be asked is told of and put back", async () => {
  const { field } = show();
  fireEvent.change(field, { target: { value: "now?" } });
  fireEvent.keyDown(field, { key: "Enter" });
  await vi.waitFor(() => expect(field.value).toBe("now?"));
  expect(notices.getState().notices.map((notice) => notice.text)).toEqual([
    "That did not work: The server cannot be reached.",
  ]);
});

it("two clicks begin one conversation, and so do two drops", async () => {
  let made = (): void => {};
  const create = vi
    .spyOn(api, "createThread")
    .mockReturnValue(new Promise((resolve) => (made = () => resolve(thread({ id: "t9" })))));
  const ask = vi.spyOn(client, "ask").mockRejectedValue(new TypeError("network"));
  const { composer } = show();
  const suggestion = screen.getByRole("button", { name: /Explain/ });
  fireEvent.click(suggestion);
  fireEvent.click(suggestion);
  writeDraft(undefined, "and then?");
  composer.current?.addFiles([new File(["x"], "one.md")]);
  composer.current?.addFiles([new File(["x"], "two.md")]);
  await act(async () => made());
  await vi.waitFor(() => expect(ask).toHaveBeenCalledOnce());
  expect(create).toHaveBeenCalledOnce();
  expect([readDraft(undefined), readDraft("t9")]).toEqual(["", "and then?"]);
});
