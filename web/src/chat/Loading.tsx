import type { ReactNode } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { Spinner } from "../ui/controls";

export function Loading(): ReactNode {
  const t = useTranslate(texts);
  return (
    <div className="opening">
      <p role="status">
        <Spinner /> {t("loading")}
      </p>
    </div>
  );
}
