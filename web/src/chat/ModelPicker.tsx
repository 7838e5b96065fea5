import { ChevronDown } from "lucide-react";
import { type ReactNode, useEffect } from "react";
import { useStore } from "zustand";
import type { ModelChoice } from "../api/models";
import { reachability } from "../api/server";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { preferences } from "../settings/preferences";
import { modelStore, refreshModels } from "../store/models";
import { MenuLater } from "../ui/MenuLater";
import type { ModelMenu } from "./ModelMenu";
import { stateText } from "./providerState";

const REFRESH_MS = 60_000;

export function ModelPicker(): ReactNode {
  const t = useTranslate(texts);
  const chosen = useStore(preferences, (now) => now.model);
  const { models, state } = useStore(modelStore);
  useEffect(() => {
    void refreshModels();
    const timer = setInterval(() => !document.hidden && void refreshModels(), REFRESH_MS);
    // A server that is back may have others.
    const stop = reachability.subscribe(({ reachable }) => reachable && void refreshModels());
    return () => {
      clearInterval(timer);
      stop();
    };
  }, []);
  const current = models.find((model) => model.id === chosen);
  return (
    <MenuLater
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
      load={loadMenu}
      menu={{ models, chosen }}
      onOpen={() => void refreshModels()}
    />
  );
}

const loadMenu = async (): Promise<typeof ModelMenu> => (await import("./ModelMenu")).ModelMenu;

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
