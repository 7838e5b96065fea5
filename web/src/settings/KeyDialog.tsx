import { type ReactNode, useId, useState } from "react";
import { useStore } from "zustand";
import { keyStore, saveKey } from "../api/key";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { clearCache } from "../store/cache";
import { Button } from "../ui/controls";
import { Dialog } from "../ui/Dialog";
import "./settings.css";

/** Stays until there is a key: without one nothing here works. */
export function KeyDialog(): ReactNode {
  const t = useTranslate(texts);
  const refused = useStore(keyStore, (state) => state.refused);
  const [key, setKey] = useState("");
  const [remember, setRemember] = useState(false);
  const id = useId();
  const save = async (): Promise<void> => {
    await clearCache(); // the cache may be of another key's owner
    saveKey(key.trim(), remember);
    location.reload();
  };
  return (
    <Dialog title={t("keyTitle")} className="key" testId="key-dialog">
      <form
        className="dialog-body"
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim()) void save();
        }}
      >
        <p>{t("keyBody")}</p>
        <label htmlFor={id}>{t("keyLabel")}</label>
        <input
          id={id}
          type="password"
          autoComplete="current-password"
          spellCheck={false}
          value={key}
          aria-invalid={refused}
          aria-describedby={refused ? `${id}-error` : undefined}
          onChange={(event) => setKey(event.target.value)}
        />
        {refused ? (
          <p className="field-error" id={`${id}-error`} role="alert">
            {t("keyRefused")}
          </p>
        ) : null}
        <label className="check">
          <input type="checkbox" checked={remember} onChange={(event) => setRemember(event.target.checked)} />
          {t("keyRemember")}
        </label>
        <Button type="submit" tone="primary" disabled={!key.trim()}>
          {t("keySave")}
        </Button>
      </form>
    </Dialog>
  );
}
