import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as api from "../src/api/conversations";
import { Answer } from "../src/chat/Answer";
import { setLanguage } from "../src/i18n";
import { setPreferences } from "../src/settings/preferences";
import { notices } from "../src/store/notices";
import { message } from "./make";

const answer = (fields: Parameters<typeof message>[0]) =>
  message({ role: "assistant", content: "The tide.", ...fields });

afterEach(() => {
  cleanup();
  setLanguage("auto");
  setPreferences({ streaming: true });
});

describe("Answer", () => {
  it("says that it was canceled, and keeps the text", async () => {
    const { container } = render(<Answer message={answer({ status: "cancelled" })} />);
    expect(container.querySelector(".error-status")?.textContent).toContain("canceled");
    expect(await screen.findByText("The tide.")).toBeDefined();
  });

  it("tells why it failed and offers another try, without losing what came", async () => {
    const error = { reason: "provider_truncated", message: "the provider closed the connection" };
    render(<Answer message={answer({ status: "failed", error })} />);
    const alert = within(screen.getByRole("alert"));
    expect(alert.getByText("the provider closed the connection")).toBeDefined();
    expect(alert.getByRole("button", { name: "Try again" })).toBeDefined();
    expect(await screen.findByText("The tide.")).toBeDefined();
  });

  it("shows the figures that were told", () => {
    const metadata = {
      first_token_ms: 640,
      duration_ms: 3640,
      cost: { amount: 0.5, currency: "USD", source: "estimated" },
    };
    const usage = { prompt_tokens: 9, completion_tokens: 300, source: "exact" } as const;
    const { container } = render(<Answer message={answer({ metadata, usage })} />);
    const figures = [...container.querySelectorAll(".usage li")].map((each) => each.textContent);
    expect(figures).toEqual(["300 tokens", "100 tok/s", "first token 0.64 s", "3.6 s", "≈ $0.50"]);
  });

  it("shows how sure it is, and what its sources do not support", () => {
    const metadata = { confidence: 0.86, hallucination: 0.25, unsupported: ["It takes two hours."] };
    const { container } = render(<Answer message={answer({ metadata })} />);
    expect(container.textContent).toContain("Confidence 86%");
    expect(container.textContent).toContain("It takes two hours.");
  });

  it("without streaming the text is shown when it is whole", async () => {
    setPreferences({ streaming: false });
    const live = answer({ status: "streaming", stream_id: "s" });
    const { container, rerender } = render(<Answer message={live} />);
    expect(container.textContent).not.toContain("The tide.");
    expect(container.textContent).toContain("shown when it is whole");
    rerender(<Answer message={{ ...live, status: "done" }} />);
    expect(await screen.findByText("The tide.")).toBeDefined();
  });

  it("speaks French", () => {
    setLanguage("fr");
    const { container } = render(<Answer message={answer({ status: "cancelled" })} />);
    expect(container.textContent).toContain("Réponse annulée");
  });
});

describe("what is folded away", () => {
  const shown = answer({ id: "folded", reasoning: "The moon pulls." });
  const thoughts = (): HTMLDetailsElement => screen.getByTestId<HTMLDetailsElement>("reasoning");
  const toggle = (open: boolean): void => {
    act(() => {
      thoughts().open = open;
      thoughts().dispatchEvent(new Event("toggle"));
    });
  };

  it("stays open when its answer comes again, until the reader closes it", () => {
    const first = render(<Answer message={shown} />);
    toggle(true);
    expect(thoughts().textContent).toContain("The moon pulls.");
    first.unmount();
    render(<Answer message={shown} />);
    expect(thoughts().open).toBe(true);
    toggle(false);
    expect(thoughts().textContent).not.toContain("The moon pulls.");
  });

  it("is of one answer", () => {
    render(<Answer message={answer({ id: "another", reasoning: "It does." })} />);
    expect(thoughts().open).toBe(false);
  });
});

describe("deleting", () => {
  it("is asked for again, and told where it failed", async () => {
    const remove = vi.spyOn(api, "deleteMessage").mockRejectedValue(new TypeError("network"));
    render(<Answer message={answer({ id: "gone" })} />);
    const press = (name: string): boolean => fireEvent.click(screen.getByRole("button", { name }));
    press("Delete this message");
    press("Keep it");
    expect(screen.queryByTestId("delete-dialog")).toBeNull();
    expect(remove).not.toHaveBeenCalled();
    press("Delete this message");
    press("Delete");
    expect(remove).toHaveBeenCalledExactlyOnceWith("gone");
    await vi.waitFor(() => expect(notices.getState().notices.at(-1)?.text).toContain("cannot be reached"));
  });
});
