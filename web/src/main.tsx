import "./theme.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { currentLanguage } from "./i18n";
import { Boundary } from "./ui/Missing";
import { applyTheme, currentTheme } from "./settings/theme";

applyTheme(currentTheme());
document.documentElement.lang = currentLanguage();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Boundary>
        <App />
      </Boundary>
    </StrictMode>,
  );
}

// So that the page opens offline. Where the browser forbids it (plain HTTP from another machine) it does not.
if (import.meta.env.PROD && "serviceWorker" in navigator) {
  navigator.serviceWorker.register("./sw.js").catch(() => {});
  void navigator.serviceWorker.ready.then(({ active }) => {
    const files = performance.getEntriesByType("resource").map((entry) => entry.name);
    active?.postMessage({ kind: "loaded", files });
  });
}
