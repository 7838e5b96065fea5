import { Check, ChevronDown } from "lucide-react";
import { type ReactNode, useEffect } from "react";
import { useStore } from "zustand";
import type { ModelChoice } from "../api/models";
import { type Translate, useTranslate } from "../i18n";
import { type TextKey, texts } from "../i18n/texts";
import { preferences, setPreferences } from "../settings/preferences";
import { isBuiltIn, modelStore, refreshModels } from "../store/models";
import { Menu, MenuLabel, MenuRadioGroup, MenuRadioItem } from "../ui/Menu";

const AUTO = "auto";
const REFRESH_MS = 60_000;

export function ModelPicker(): ReactNode {
  const t = useTranslate(texts);
  const chosen = useStore(preferences, (now) => now.model);
  const { models, state } = useStore(modelStore);
  useEffect(() => {
    void refreshModels();
    const timer = setInterval(() => !document.hidden && void refreshModels(), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  const current = models.find((model) => model.id === chosen);
  const byProvider = grouped(models);
  const choose = (id: string): void => setPreferences({ model: id === AUTO ? "" : id });
  return (
    <Menu
      align="start"
      onOpenChange={(open) => open && void refreshModels()}
      trigger={
        <button
          type="button"
          className="model-picker"
          data-testid="model-selector"
          aria-label={`${t("model")}: ${chosen || t("modelAuto")}`}
        >
          <ProviderDot model={current} failed={state === "failed"} />
          <span className="model-name">{chosen || t("modelAuto")}</span>
          <ChevronDown size={15} aria-hidden="true" />
        </button>
      }
    >
      <MenuRadioGroup value={chosen || AUTO} onValueChange={choose} className="model-menu">
        <ModelItem value={AUTO} name={t("modelAuto")} note={t("modelAutoHint")} />
        {[...byProvider].map(([provider, ofProvider]) => (
          <div key={provider} role="presentation">
            <MenuLabel className="menu-label">{provider}</MenuLabel>
            {ofProvider.map((model) => (
              <ModelItem key={model.id} value={model.id} name={model.id} note={noteOf(model, t)} model={model} />
            ))}
          </div>
        ))}
      </MenuRadioGroup>
    </Menu>
  );
}

function grouped(models: readonly ModelChoice[]): Map<string, ModelChoice[]> {
  const groups = new Map<string, ModelChoice[]>();
  for (const model of models) groups.set(model.provider, [...(groups.get(model.provider) ?? []), model]);
  return groups;
}

function stateText(model: ModelChoice | undefined, failed: boolean, t: Translate<TextKey>): string {
  if (failed) return t("providerUnknown");
  switch (model?.state) {
    case "busy":
      return t("providerBusy", { n: model.queued });
    case "probing":
      return t("providerProbing");
    case "down":
      return t("providerDown");
    default:
      return t("providerReady");
  }
}

function noteOf(model: ModelChoice, t: Translate<TextKey>): string {
  if (model.state !== "ready") return stateText(model, false, t);
  if (model.id === "extractive") return t("extractiveHint");
  return isBuiltIn(model.id) ? t("replayHint") : "";
}

interface DotProps {
  readonly model: ModelChoice | undefined;
  readonly failed: boolean;
}

/** A shape as well as a colour, and a name. */
function ProviderDot({ model, failed }: DotProps): ReactNode {
  const t = useTranslate(texts);
  const text = stateText(model, failed, t);
  return (
    <span
      className={`provider-dot ${failed ? "down" : (model?.state ?? "ready")}`}
      data-testid="provider-status"
      title={text}
    >
      <span className="visually-hidden">{text}</span>
    </span>
  );
}

interface ItemProps {
  readonly value: string;
  readonly name: string;
  readonly note: string;
  readonly model?: ModelChoice;
}

function ModelItem({ value, name, note, model }: ItemProps): ReactNode {
  return (
    <MenuRadioItem value={value} className="menu-item model-item" data-testid={`model-option-${value}`}>
      <span className={`provider-dot ${model?.state ?? "ready"}`} aria-hidden="true" />
      <span className="model-words">
        <span>{name}</span>
        {note ? <span className="model-note">{note}</span> : null}
      </span>
      <Check className="model-check" size={16} aria-hidden="true" />
    </MenuRadioItem>
  );
}
