import { readFileSync } from "node:fs";
import { cleanup, fireEvent, render, renderHook, screen } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as documents from "../src/api/documents";
import { useTranslate } from "../src/i18n";
import { texts } from "../src/i18n/texts";
import { PassagePreview } from "../src/sources/PassagePreview";
import { writeClipboard } from "../src/ui/clipboard";
import { Dialog } from "../src/ui/Dialog";

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

describe("a dialog", () => {
  it("is closed before it is taken away, so that the focus is given back, and tells of it once", () => {
    const onClose = vi.fn();
    const { unmount } = render(
      <StrictMode>
        <Dialog title="Settings" onClose={onClose}>
          text
        </Dialog>
      </StrictMode>,
    );
    const dialog = screen.getByRole<HTMLDialogElement>("dialog");
    const close = vi.spyOn(dialog, "close").mockImplementation(() => expect(dialog.isConnected).toBe(true));
    expect(dialog.open).toBe(true);
    fireEvent(dialog, new Event("cancel", { cancelable: true }));
    expect(close).not.toHaveBeenCalled(); // whoever shows it decides
    unmount();
    expect(close).toHaveBeenCalledOnce();
    expect(onClose).toHaveBeenCalledOnce();
  });
});

describe("a passage", () => {
  it("that could be read after all shows no failure", async () => {
    const source = { title: "Tides", text: "", metadata: { document: "d1", start: 2000, end: 2003 } };
    const found = { start: 500, end: 2003, text: `${"x".repeat(1500)}tid`, has_more: true } as const;
    const read = vi.spyOn(documents, "documentText").mockResolvedValueOnce(found as never);
    render(<PassagePreview source={source} />);
    const later = await screen.findByRole("button", { name: texts.en.laterText });
    read.mockRejectedValueOnce(new TypeError("network"));
    fireEvent.click(later);
    expect(await screen.findByText(texts.en.passageFailed)).toBeDefined();
    read.mockResolvedValueOnce(found as never);
    fireEvent.click(later);
    await vi.waitFor(() => expect(screen.queryByText(texts.en.passageFailed)).toBeNull());
  });
});

it("the clipboard of a page by plain HTTP leaves the focus where it was", async () => {
  vi.stubGlobal("navigator", { clipboard: undefined });
  const button = document.body.appendChild(document.createElement("button"));
  button.focus();
  document.execCommand = vi.fn(() => true);
  await writeClipboard("text");
  expect(document.activeElement).toBe(button);
  button.remove();
});

it("texts come by the same function each time", () => {
  const { result, rerender } = renderHook(() => useTranslate(texts));
  const before = result.current;
  rerender();
  expect(result.current).toBe(before);
});

it.each(["theme.css", "markdown/markdown.css"])("%s is as dark by the system as by the reader", (name) => {
  const css = readFileSync(`${import.meta.dirname}/../src/${name}`, "utf-8");
  const declared = (selector: string): string[] | undefined =>
    css
      .split(`${selector} {`)[1]
      ?.split("}")[0]
      ?.trim()
      .split(/\s*\n\s*/);
  const chosen = declared(':root[data-theme="dark"]');
  expect(chosen?.length).toBeGreaterThan(5);
  expect(declared(':root:not([data-theme="light"])')).toEqual(chosen);
});
