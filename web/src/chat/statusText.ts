/** What is going on, in the reader's words. */

import type { AnswerState, Status } from "headwater";
import type { Language, Translate } from "../i18n";
import { ordinal } from "../i18n/format";
import type { TextKey } from "../i18n/texts";

const TARGETED = ["retrying", "fallback", "hedging", "continuing"] as const;
type Targeted = (typeof TARGETED)[number];

const isTargeted = (stage: string): stage is Targeted => TARGETED.some((each) => each === stage);

function word(data: Status["data"], name: string): string {
  const value = data?.[name];
  return typeof value === "string" ? value : "";
}

/** `provider/model`, as far as it is told. */
function targetOf(status: Status): string {
  return [word(status.data, "provider"), word(status.data, "model")].filter(Boolean).join(" · ");
}

export function statusText(state: AnswerState | undefined, t: Translate<TextKey>, language: Language): string {
  if (!state) return t("waiting");
  if (state.status) return stageText(state.status, t, language);
  const tool = state.toolCalls.at(-1);
  if (tool) return t("callingTool", { name: tool.name });
  if (state.text) return t("writing");
  return state.reasoning ? t("thinking") : t("waiting");
}

function stageText(status: Status, t: Translate<TextKey>, language: Language): string {
  const { stage, data } = status;
  if (stage === "queued") {
    const place = status.position === undefined ? "…" : ordinal(status.position, language);
    const provider = word(data, "provider");
    return provider ? t("queuedFor", { place, provider }) : t("queued", { place });
  }
  if (isTargeted(stage)) return t(stage, { target: targetOf(status) || status.message || "…" });
  if (stage === "searching" || stage === "generating" || stage === "recovering") return t(stage);
  if (stage === "searched") {
    const found = data?.["passages"];
    return t("searched", { n: typeof found === "number" ? found : 0 });
  }
  return status.message || t("waiting");
}
