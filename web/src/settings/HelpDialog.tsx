import type { ReactNode } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { Dialog } from "../ui/Dialog";
import { keysOf, SHORTCUTS } from "./shortcuts";
import "./settings.css";

const IN_THE_FIELD = [
  { label: "keySend", key: "Enter" },
  { label: "keyNewLine", key: "Enter", shift: true },
  { label: "keyEditLast", key: "ArrowUp" },
] as const;

export function HelpDialog({ onClose }: { readonly onClose: () => void }): ReactNode {
  const t = useTranslate(texts);
  return (
    <Dialog title={t("shortcuts")} onClose={onClose}>
      <dl className="dialog-body shortcuts">
        {[...SHORTCUTS, ...IN_THE_FIELD].map((shortcut) => (
          <div key={shortcut.label}>
            <dt>{t(shortcut.label)}</dt>
            <dd>
              {keysOf(shortcut).map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
