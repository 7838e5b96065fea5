import { type ReactNode, useEffect, useState } from "react";
import { useStore } from "zustand";
import { askForKey, keyStore } from "../api/key";
import { currentChoice, type LanguageChoice, setLanguage, useLanguage, useTranslate } from "../i18n";
import { KeyDialog } from "../settings/KeyDialog";
import { currentTheme, setTheme, type Theme } from "../settings/theme";
import { Button } from "../ui/controls";
import { Charts, type WindowS } from "./Charts";
import { Connections } from "./Connections";
import { type Live, useLive } from "./live";
import { Alerts, Breakdown } from "./Panels";
import { texts } from "./texts";
import { Tiles } from "./Tiles";

export function Dashboard(): ReactNode {
  const t = useTranslate(texts);
  const live = useLive();
  const asked = useStore(keyStore, (state) => state.asked);
  const [windowS, setWindowS] = useState<WindowS>(3600);
  const title = t("title");
  useEffect(() => {
    document.title = `Headwater · ${title}`;
  }, [title]);
  return (
    <div className="dashboard">
      <Head live={live} />
      <main>
        <Body live={live} windowS={windowS} onWindow={setWindowS} />
      </main>
      {asked ? <KeyDialog /> : null}
    </div>
  );
}

function Head({ live }: { readonly live: Live }): ReactNode {
  const t = useTranslate(texts);
  const shown = live.state === "open" ? "live" : live.state === "reconnecting" ? "reconnecting" : "connecting";
  const isAsking = live.state !== "refused" && live.state !== "off";
  return (
    <header className="dashboard-head">
      <h1>
        Headwater <span>{t("title")}</span>
      </h1>
      <p role="status" className={`live ${live.state}`} data-testid="live-state">
        {isAsking ? t(shown) : ""}
      </p>
      <nav>
        <a href="./">{t("toChat")}</a>
        <ThemeChoice />
        <LanguagePick />
      </nav>
    </header>
  );
}

function ThemeChoice(): ReactNode {
  const t = useTranslate(texts);
  const [theme, setShown] = useState<Theme>(currentTheme);
  return (
    <select
      aria-label={t("theme")}
      value={theme}
      onChange={(event) => {
        const wanted = event.target.value as Theme;
        setTheme(wanted);
        setShown(wanted);
      }}
    >
      <option value="system">{t("themeSystem")}</option>
      <option value="light">{t("themeLight")}</option>
      <option value="dark">{t("themeDark")}</option>
    </select>
  );
}

function LanguagePick(): ReactNode {
  const t = useTranslate(texts);
  useLanguage();
  return (
    <select
      aria-label={t("language")}
      value={currentChoice()}
      onChange={(event) => setLanguage(event.target.value as LanguageChoice)}
    >
      <option value="auto">{t("automatic")}</option>
      <option value="en" lang="en">
        English
      </option>
      <option value="fr" lang="fr">
        Français
      </option>
    </select>
  );
}

interface BodyProps {
  readonly live: Live;
  readonly windowS: WindowS;
  readonly onWindow: (windowS: WindowS) => void;
}

function Body({ live, windowS, onWindow }: BodyProps): ReactNode {
  const t = useTranslate(texts);
  if (live.state === "refused") {
    return (
      <div className="notice" role="alert">
        <p>{t("refused")}</p>
        <p>{t("refusedHow")}</p>
        <Button tone="primary" onClick={askForKey}>
          {t("otherKey")}
        </Button>
      </div>
    );
  }
  if (live.state === "off") {
    return (
      <div className="notice" role="alert">
        <p>{t("off")}</p>
        <p>{t("offHow")}</p>
      </div>
    );
  }
  if (!live.figures) return <p className="quiet">{t("loading")}</p>;
  return (
    <>
      <Tiles summary={live.figures.summary} />
      <Alerts firing={live.figures.alerts} />
      <fieldset className="windows">
        <legend className="visually-hidden">{t("window")}</legend>
        {([3600, 86_400] as const).map((choice) => (
          <label key={choice}>
            <input type="radio" name="window" checked={choice === windowS} onChange={() => onWindow(choice)} />
            {t(choice === 3600 ? "lastHour" : "lastDay")}
          </label>
        ))}
      </fieldset>
      <Charts windowS={windowS} />
      <Breakdown windowS={windowS} />
      <Connections />
    </>
  );
}
