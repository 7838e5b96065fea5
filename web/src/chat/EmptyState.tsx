import { Braces, FileUp, Play, Table2, Waves } from "lucide-react";
import type { ReactNode } from "react";
import { useStore } from "zustand";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { preferences, setPreferences } from "../settings/preferences";
import { Mark } from "../sidebar/Sidebar";
import { isBuiltIn, modelStore } from "../store/models";

const WELCOME = "replay/welcome";

interface EmptyStateProps {
  readonly onAsk: (text: string) => void;
  readonly onUpload: () => void;
}

/** What to try, as far as the models that are there can answer it. */
export function EmptyState({ onAsk, onUpload }: EmptyStateProps): ReactNode {
  const t = useTranslate(texts);
  const { models, state } = useStore(modelStore);
  const chosen = useStore(preferences, (now) => now.model);
  const onlyBuiltIn = state === "known" && models.every((model) => isBuiltIn(model.id));
  // Until the models are known there is room for what most servers show.
  const asks = !onlyBuiltIn && !isBuiltIn(chosen);
  const welcome = models.some((model) => model.id === WELCOME);
  return (
    <div className="empty">
      <Mark size={44} />
      <h1>{t("emptyTitle")}</h1>
      <p>{onlyBuiltIn ? t("emptyExtractive") : t("emptyBody")}</p>
      <div className={state === "loading" ? "suggestions waiting" : "suggestions"}>
        {asks ? (
          <>
            <Suggestion
              icon={<Waves size={18} />}
              title={t("tryExplain")}
              hint={t("tryExplainHint")}
              onClick={() => onAsk(t("promptExplain"))}
            />
            <Suggestion
              icon={<Braces size={18} />}
              title={t("tryCode")}
              hint={t("tryCodeHint")}
              onClick={() => onAsk(t("promptCode"))}
            />
            <Suggestion
              icon={<Table2 size={18} />}
              title={t("tryCompare")}
              hint={t("tryCompareHint")}
              onClick={() => onAsk(t("promptCompare"))}
            />
          </>
        ) : null}
        <Suggestion
          icon={<FileUp size={18} />}
          title={t("tryDocument")}
          hint={t("tryDocumentHint")}
          onClick={onUpload}
        />
        {!asks && welcome ? (
          <Suggestion
            icon={<Play size={18} />}
            title={t("tryWelcome")}
            hint={t("tryWelcomeHint")}
            onClick={() => {
              setPreferences({ model: WELCOME });
              onAsk(t("tryWelcome"));
            }}
          />
        ) : null}
      </div>
    </div>
  );
}

interface SuggestionProps {
  readonly icon: ReactNode;
  readonly title: string;
  readonly hint: string;
  readonly onClick: () => void;
}

function Suggestion({ icon, title, hint, onClick }: SuggestionProps): ReactNode {
  return (
    <button type="button" className="suggestion" onClick={onClick}>
      <span aria-hidden="true">{icon}</span>
      <span>
        <strong>{title}</strong>
        <small>{hint}</small>
      </span>
    </button>
  );
}
