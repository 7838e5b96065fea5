import { App } from "./App";
import { loadConversation } from "./chat/Conversation";
import { start } from "./ui/start";

/** When the first view is long there. */
const LATER_MS = 10_000;

start(<App />);

// So that the page opens offline. Where the browser forbids it (plain HTTP from another machine) it does not.
if (import.meta.env.PROD && "serviceWorker" in navigator) {
  navigator.serviceWorker.register("./sw.js").catch(() => {});
  void navigator.serviceWorker.ready.then(({ active }) => {
    // Also what is loaded from now on: this page may not be the worker's before its next visit.
    new PerformanceObserver((list) => {
      const files = list.getEntries().map((entry) => entry.name);
      active?.postMessage({ kind: "loaded", files: files.filter((name) => name.includes("/assets/")) });
    }).observe({ type: "resource", buffered: true });
    // What shows a conversation is kept, too, although none may have been opened since the last upgrade.
    setTimeout(() => void loadConversation(), LATER_MS);
  });
}
