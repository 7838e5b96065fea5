import { Check } from "lucide-react";
import type { ReactNode } from "react";
import type { ModelChoice } from "../api/models";
import { type Translate, useTranslate } from "../i18n";
import { type TextKey, texts } from "../i18n/texts";
import { setPreferences } from "../settings/preferences";
import { isBuiltIn, refreshModels } from "../store/models";
import { Menu, MenuLabel, MenuRadioGroup, MenuRadioItem } from "../ui/Menu";
import type { Triggered } from "../ui/MenuLater";
import { stateText } from "./providerState";

const AUTO = "auto";

interface ModelMenuProps extends Triggered {
  readonly models: readonly ModelChoice[];
  /** "": the server's default. */
  readonly chosen: string;
}

export function ModelMenu({ models, chosen, trigger }: ModelMenuProps): ReactNode {
  const t = useTranslate(texts);
  const byProvider = grouped(models);
  const choose = (id: string): void => setPreferences({ model: id === AUTO ? "" : id });
  return (
    <Menu align="start" onOpenChange={(open) => open && void refreshModels()} trigger={trigger}>
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

function noteOf(model: ModelChoice, t: Translate<TextKey>): string {
  if (model.state !== "ready") return stateText(model, false, t);
  if (model.id === "extractive") return t("extractiveHint");
  return isBuiltIn(model.id) ? t("replayHint") : "";
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
