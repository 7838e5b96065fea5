import { readFileSync } from "node:fs";
import { act, cleanup, fireEvent, render, renderHook, screen } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as documents from "../src/api/documents";
import { useTranslate } from "../src/i18n";
import { texts } from "../src/i18n/texts";
import { PassagePreview } from "../src/sources/PassagePreview";
import { writeClipboard } from "../src/ui/clipboard";
import { Dialog } from "../src/ui/Dialog";
import { MenuLater, type Triggered } from "../src/ui/MenuLater";
import { start } from "../src/ui/start";
import { notices } from "../src/store/notices";

afterEach(() => {
  cleanup();
  notices.setState({ notices: [] });
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

describe("a menu that comes later", () => {
  const Menu = ({ trigger, name }: Triggered & { readonly name: string }): ReactNode => (
    <>
      {trigger}
      <ul role="menu" aria-label={name} />
    </>
  );
  const show = (load: () => Promise<typeof Menu>, onOpen = vi.fn()) => {
    render(<MenuLater trigger={<button>more</button>} load={load} menu={{ name: "things" }} onOpen={onOpen} />);
    return { button: screen.getByRole("button"), onOpen };
  };

  it("is loaded near its button, and open when it was wanted", async () => {
    const load = vi.fn(async () => Menu);
    const { button, onOpen } = show(load);
    expect(button.getAttribute("aria-haspopup")).toBe("menu");
    fireEvent.pointerEnter(button);
    fireEvent.focus(button);
    expect(load).toHaveBeenCalledTimes(2);
    expect(screen.queryByRole("menu")).toBeNull();
    fireEvent.click(button);
    expect(await screen.findByRole("menu", { name: "things" })).toBeDefined();
    expect(onOpen).toHaveBeenCalledOnce();
  });

  it("opens by the arrow, and by no other key", async () => {
    const { button } = show(async () => Menu);
    fireEvent.keyDown(button, { key: "a" });
    fireEvent.keyDown(button, { key: "ArrowDown" });
    expect(await screen.findByRole("menu")).toBeDefined();
  });

  it("that cannot be loaded is told of when it was wanted, and asked for again", async () => {
    const load = vi.fn<() => Promise<typeof Menu>>().mockRejectedValue(new TypeError("network"));
    const { button } = show(load);
    fireEvent.pointerEnter(button);
    await Promise.resolve();
    expect(notices.getState().notices).toEqual([]);
    fireEvent.click(button);
    await vi.waitFor(() => expect(notices.getState().notices.at(-1)?.text).toContain("cannot be reached"));
    load.mockResolvedValue(Menu);
    fireEvent.click(button);
    expect(await screen.findByRole("menu")).toBeDefined();
  });
});

it("the shell says what the page says, in both languages", () => {
  const page = new DOMParser().parseFromString(
    readFileSync(`${import.meta.dirname}/../index.html`, "utf-8"),
    "text/html",
  );
  const said = (language: "en" | "fr"): (string | undefined)[] =>
    [...page.querySelectorAll(`.shell [lang=${language}]`)].map((each) =>
      each.textContent?.replace(/\s+/g, " ").trim(),
    );
  const { en, fr } = texts;
  expect(said("en").slice(0, 2)).toEqual([en.emptyTitle, en.emptyBody]);
  expect(said("fr").slice(0, 2)).toEqual([fr.emptyTitle, fr.emptyBody]);
  expect([said("en").at(-1), said("fr").at(-1)]).toEqual([en.reload, fr.reload]);
});

it("a page begins in the reader's language and colours", async () => {
  localStorage.setItem("headwater.theme", "dark");
  document.body.innerHTML = '<div id="root">shell</div>';
  await act(async () => start(<p>page</p>));
  expect(document.body.textContent).toBe("page");
  expect(document.documentElement.dataset["theme"]).toBe("dark");
  expect(document.documentElement.lang).toBe("en");
  localStorage.clear();
  document.body.innerHTML = "";
  start(<p>page</p>);
  expect(document.body.textContent).toBe("");
});
