import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { createRef } from "react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { addPicture, attachments } from "../src/composer/attachments";
import { Composer, type ComposerHandle } from "../src/composer/Composer";
import type { Question } from "../src/store/asking";
import { dropDraft, readDraft } from "../src/store/drafts";

vi.mock("../src/composer/images", () => ({
  isImage: (file: File) => file.type.startsWith("image/"),
  dataUrlOf: () => Promise.resolve("data:image/png;base64,AA=="),
}));

vi.mock("../src/api/documents", () => ({ documentsOfThread: () => Promise.resolve({ data: [], has_more: false }) }));

const picture = (): File => new File(["x"], "photo.png", { type: "image/png" });

function show(props: { busy?: boolean; thread?: string } = {}) {
  const actions = {
    onSend: vi.fn<(question: Question) => Promise<void> | void>(),
    onStop: vi.fn(),
    onBegin: vi.fn(),
    onEditLast: vi.fn(),
    threadForFiles: vi.fn(() => Promise.resolve("t1")),
  };
  const ref = createRef<ComposerHandle>();
  render(<Composer thread={props.thread} busy={props.busy ?? false} ref={ref} {...actions} />);
  return { ...actions, ref, field: screen.getByTestId<HTMLTextAreaElement>("chat-input") };
}

afterEach(() => {
  cleanup();
  attachments.setState({ byThread: {} });
  dropDraft(undefined);
  dropDraft("t1");
});

describe("Composer", () => {
  it("sends on Enter, empties the field and drops the draft", () => {
    const { field, onSend } = show({ thread: "t1" });
    fireEvent.change(field, { target: { value: "  now?  " } });
    expect(readDraft("t1")).toBe("  now?  ");
    fireEvent.keyDown(field, { key: "Enter" });
    expect(onSend).toHaveBeenCalledExactlyOnceWith({ text: "now?", parts: [] });
    expect([field.value, readDraft("t1")]).toEqual(["", ""]);
  });

  it("does not send on Shift + Enter, nor what is blank", () => {
    const { field, onSend } = show();
    fireEvent.change(field, { target: { value: "one" } });
    fireEvent.keyDown(field, { key: "Enter", shiftKey: true });
    fireEvent.change(field, { target: { value: "   " } });
    fireEvent.keyDown(field, { key: "Enter" });
    expect(onSend).not.toHaveBeenCalled();
  });

  it.each([
    ["that says so", { isComposing: true }],
    ["that says so by its key code only", { keyCode: 229 }],
  ])("leaves Enter to an input method %s", (_, how) => {
    const { field, onSend } = show();
    fireEvent.change(field, { target: { value: "にほん" } });
    fireEvent.keyDown(field, { key: "Enter", ...how });
    expect(onSend).not.toHaveBeenCalled();
  });

  it("while an answer is made it shows Stop, and keeps what is typed", () => {
    const { field, onSend, onStop } = show({ busy: true });
    fireEvent.change(field, { target: { value: "next" } });
    fireEvent.keyDown(field, { key: "Enter" });
    expect([onSend.mock.calls.length, field.value]).toEqual([0, "next"]);
    fireEvent.click(screen.getByTestId("cancel-button"));
    expect(onStop).toHaveBeenCalledOnce();
  });

  it("arrow up in an empty field edits the last question", () => {
    const { field, onEditLast } = show();
    fireEvent.keyDown(field, { key: "ArrowUp" });
    fireEvent.change(field, { target: { value: "x" } });
    fireEvent.keyDown(field, { key: "ArrowUp" });
    expect(onEditLast).toHaveBeenCalledOnce();
  });

  it("sends a picture without words, as a content part, and none that was taken out again", async () => {
    const { onSend } = show({ thread: "t1" });
    await addPicture("t1", picture());
    await addPicture("t1", picture());
    await vi.waitFor(() => expect(screen.getAllByTestId("attachment")).toHaveLength(2));
    fireEvent.click(screen.getAllByRole("button", { name: /photo.png/ })[0]!);
    fireEvent.click(screen.getByTestId("send-button"));
    expect(onSend.mock.calls[0]?.[0].parts).toEqual([
      { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } },
    ]);
    expect(screen.queryByTestId("attachment")).toBeNull();
  });

  it("puts back what could not be sent", async () => {
    const { field, onSend } = show();
    onSend.mockRejectedValue(new TypeError("network"));
    await addPicture("", picture());
    fireEvent.change(field, { target: { value: "now?" } });
    fireEvent.keyDown(field, { key: "Enter" });
    expect(field.value).toBe("");
    await vi.waitFor(() => expect([field.value, readDraft(undefined)]).toEqual(["now?", "now?"]));
    expect(screen.getAllByTestId("attachment")).toHaveLength(1);
  });

  it("but not over what was written since then", async () => {
    const { field, onSend } = show();
    let refuse = (): void => {};
    onSend.mockReturnValue(new Promise((_, reject) => (refuse = () => reject(new Error("network")))));
    fireEvent.change(field, { target: { value: "now?" } });
    fireEvent.keyDown(field, { key: "Enter" });
    fireEvent.change(field, { target: { value: "or later?" } });
    refuse();
    await addPicture("", picture());
    await screen.findByTestId("attachment");
    expect([field.value, readDraft(undefined)]).toEqual(["or later?", "or later?"]);
  });

  it("makes a thread for a document and none for a picture", async () => {
    const { ref, threadForFiles } = show();
    ref.current?.addFiles([picture()]);
    await vi.waitFor(() => expect(screen.getAllByTestId("attachment")).toHaveLength(1));
    expect(threadForFiles).not.toHaveBeenCalled();
    ref.current?.addFiles([new File(["x"], "notes.md", { type: "text/markdown" })]);
    expect(threadForFiles).toHaveBeenCalledOnce();
  });
});
