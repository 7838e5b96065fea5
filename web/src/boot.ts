/**
 * What happens before the program is there: the shell in index.html, which has the page's own classes, gets the reader's
 * colours, language and place, and is drawn. The program, which is fetched meanwhile, then takes its place.
 */

import "./theme.css";
import "./ui/ui.css";
import "./sidebar/sidebar.css";
import "./chat/chat.css";
import "./composer/composer.css";
import { currentLanguage } from "./i18n/language";
import { readSetting } from "./settings/stored";
import { applyTheme, currentTheme } from "./settings/theme";

const { dataset } = document.documentElement;

function begin(): void {
  import("./main").catch(() => {
    // Offline and not kept, or the server has been upgraded meanwhile.
    dataset["boot"] = "failed";
  });
}

applyTheme(currentTheme());
document.documentElement.lang = currentLanguage();
if (readSetting("sidebar") === "off") dataset["sidebar"] = "off";
if (location.hash.startsWith("#/t/")) dataset["place"] = "thread";

// A tab that nobody looks at draws no frame.
if (document.hidden) begin();
else requestAnimationFrame(() => setTimeout(begin));
