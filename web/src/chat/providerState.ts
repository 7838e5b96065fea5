import type { ModelChoice } from "../api/models";
import type { Translate } from "../i18n";
import type { TextKey } from "../i18n/texts";

/** How those are who serve a model, in the reader's words. */
export function stateText(model: ModelChoice | undefined, failed: boolean, t: Translate<TextKey>): string {
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
