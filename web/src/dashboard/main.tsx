import "../theme.css";
import "../ui/ui.css";
import "../settings/settings.css";
import "uplot/dist/uPlot.min.css";
import "./dashboard.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { currentLanguage } from "../i18n";
import { applyTheme, currentTheme } from "../settings/theme";
import { Dashboard } from "./Dashboard";

applyTheme(currentTheme());
document.documentElement.lang = currentLanguage();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Dashboard />
    </StrictMode>,
  );
}
