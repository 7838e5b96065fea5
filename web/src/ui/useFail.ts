import { useCallback } from "react";
import { isUnreachable } from "../api/server";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { notify } from "../store/notices";
import { messageOf } from "./messageOf";

/** Tells the reader that what they wanted did not work, and why. */
export function useFail(): (error: unknown) => void {
  const t = useTranslate(texts);
  return useCallback(
    (error) => {
      const message = isUnreachable(error) ? t("offlineError") : messageOf(error);
      notify(t("failed", { message }), { tone: "danger" });
    },
    [t],
  );
}
