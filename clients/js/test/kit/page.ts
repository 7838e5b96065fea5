/** What the pages of the browser tests run; bundled by the test. Drives nothing by itself: the test calls `window.hw`. */

import { StrictMode, createElement } from "react";
import { createRoot } from "react-dom/client";
import { type AnswerStream, createClient } from "../../src/index.js";
import { useAIStream } from "../../src/react/index.js";

const hw = {
  stream: undefined as AnswerStream | undefined,
  /** The connection's states, in order. */
  states: [] as string[],
  begin(body: Record<string, unknown>): void {
    hw.watch(createClient({ share: true }).start(body));
  },
  follow(id: string, share = true): void {
    hw.watch(createClient({ share }).follow(id));
  },
  /** As a page that keeps its state over a reload. */
  keep(): void {
    sessionStorage.setItem("kept", JSON.stringify([hw.stream?.id, hw.stream?.state]));
  },
  resume(): void {
    const [id, state] = JSON.parse(sessionStorage.getItem("kept")!) as [string, AnswerStream["state"]];
    hw.watch(createClient({ share: true }).follow(id, { state }));
  },
  watch(stream: AnswerStream): void {
    hw.stream = stream;
    hw.states = [];
    stream.subscribe(() => {
      const { status } = stream.connection;
      if (hw.states.at(-1) !== status) hw.states.push(status);
    });
  },
  get text(): string {
    return hw.stream?.state.text ?? "";
  },
  get phase(): string {
    return hw.stream?.state.phase ?? "";
  },
  hook(): void {
    createRoot(document.body.appendChild(document.createElement("main"))).render(
      createElement(StrictMode, null, createElement(Chat)),
    );
  },
};

function Chat() {
  const { text, isStreaming, isComplete, error, startStream, stopStream, resume, streamId } = useAIStream({
    onComplete: (fullText) => document.body.append(`[complete: ${fullText.length}]`),
  });
  const message = (): string => document.title;
  return createElement(
    "div",
    {
      id: "chat",
      "data-streaming": isStreaming,
      "data-complete": isComplete,
      "data-id": streamId,
      "data-error": error,
    },
    createElement("button", { id: "send", onClick: () => void startStream(JSON.parse(message())) }),
    createElement("button", { id: "stop", onClick: () => void stopStream() }),
    createElement("button", { id: "resume", onClick: () => void resume(location.hash.slice(1)) }),
    // Last, or each new line would push the buttons away from under a mouse that is pressed.
    createElement("p", null, text),
  );
}

declare global {
  interface Window {
    hw: typeof hw;
  }
}
window.hw = hw;
