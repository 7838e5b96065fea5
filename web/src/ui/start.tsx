/** How each of the two pages begins. */

import { type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { currentLanguage } from "../i18n";
import { applyTheme, currentTheme } from "../settings/theme";
import { Boundary } from "./Missing";

export function start(page: ReactNode): void {
  applyTheme(currentTheme());
  document.documentElement.lang = currentLanguage();
  const root = document.getElementById("root");
  if (!root) return;
  createRoot(root).render(
    <StrictMode>
      <Boundary>{page}</Boundary>
    </StrictMode>,
  );
}
