import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { useStore } from "zustand";
import { getWorkspace, setSystemPrompt } from "../api/conversations";
import { currentKey, forgetKey } from "../api/key";
import { noteFailure } from "../api/server";
import { currentChoice, type LanguageChoice, setLanguage, useLanguage, useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { clearCache } from "../store/cache";
import { forgetDrafts } from "../store/drafts";
import { modelStore } from "../store/models";
import { Button } from "../ui/controls";
import { Dialog } from "../ui/Dialog";
import { MAX_TOKENS, preferences, setPreferences, TEMPERATURE } from "./preferences";
import { currentTheme, setTheme, type Theme } from "./theme";
import { Field, NumberField, Segments, Toggle } from "./fields";
import "./settings.css";

export function SettingsDialog({ onClose }: { readonly onClose: () => void }): ReactNode {
  const t = useTranslate(texts);
  return (
    <Dialog title={t("settings")} onClose={onClose} className="settings" testId="settings-dialog">
      <div className="dialog-body">
        <section>
          <h3>{t("general")}</h3>
          <ThemeField />
          <LanguageField />
        </section>
        <section>
          <h3>{t("answers")}</h3>
          <AnswerFields />
          <SystemPromptField />
        </section>
        {currentKey() === undefined ? null : <KeyField />}
      </div>
    </Dialog>
  );
}

function ThemeField(): ReactNode {
  const t = useTranslate(texts);
  const [theme, setShown] = useState<Theme>(currentTheme);
  const choose = (wanted: Theme): void => {
    setTheme(wanted);
    setShown(wanted);
  };
  const choices = [
    { value: "system", label: t("themeSystem") },
    { value: "light", label: t("themeLight") },
    { value: "dark", label: t("themeDark") },
  ] as const;
  return <Segments label={t("theme")} value={theme} choices={choices} onChange={choose} />;
}

function LanguageField(): ReactNode {
  const t = useTranslate(texts);
  const id = useId();
  useLanguage();
  return (
    <Field label={t("language")} id={id}>
      <select id={id} value={currentChoice()} onChange={(event) => setLanguage(event.target.value as LanguageChoice)}>
        <option value="auto">{t("languageAuto")}</option>
        <option value="en" lang="en">
          English
        </option>
        <option value="fr" lang="fr">
          Français
        </option>
      </select>
    </Field>
  );
}

function AnswerFields(): ReactNode {
  const t = useTranslate(texts);
  const now = useStore(preferences);
  const models = useStore(modelStore, (state) => state.models);
  const id = useId();
  const known = models.some((model) => model.id === now.model);
  return (
    <>
      <Toggle
        label={t("streamingLabel")}
        hint={t("streamingHint")}
        on={now.streaming}
        onChange={(streaming) => setPreferences({ streaming })}
      />
      <Toggle
        label={t("followLabel")}
        hint={t("followHint")}
        on={now.follow}
        onChange={(follow) => setPreferences({ follow })}
      />
      <Field label={t("model")} id={id}>
        <select id={id} value={now.model} onChange={(event) => setPreferences({ model: event.target.value })}>
          <option value="">{t("modelAuto")}</option>
          {known || !now.model ? null : <option value={now.model}>{now.model}</option>}
          {models.map((model) => (
            <option key={model.id} value={model.id}>
              {model.id}
            </option>
          ))}
        </select>
      </Field>
      <NumberField
        label={t("temperature")}
        hint={t("temperatureHint")}
        value={now.temperature}
        bounds={TEMPERATURE}
        step={0.1}
        onChange={(temperature) => setPreferences({ temperature })}
      />
      <NumberField
        label={t("maxTokens")}
        hint={t("maxTokensHint")}
        value={now.maxTokens}
        bounds={MAX_TOKENS}
        step={1}
        onChange={(maxTokens) => setPreferences({ maxTokens })}
      />
    </>
  );
}

const SAVE_AFTER_MS = 600;

/** Kept at the server, so it is saved a moment after the last key, and when the dialog is closed. */
function SystemPromptField(): ReactNode {
  const t = useTranslate(texts);
  const id = useId();
  const [text, setText] = useState<string>();
  const [state, setState] = useState<"" | "saved" | "failed">("");
  const unsaved = useRef<string>(undefined);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const save = useRef(() => {
    const wanted = unsaved.current;
    if (wanted === undefined) return;
    unsaved.current = undefined;
    setSystemPrompt(wanted).then(
      () => setState("saved"),
      (error: unknown) => {
        noteFailure(error);
        unsaved.current ??= wanted;
        setState("failed");
      },
    );
  });
  useEffect(() => {
    getWorkspace().then((workspace) => setText((now) => now ?? workspace.system_prompt), noteFailure);
    const saveNow = save.current;
    return () => {
      clearTimeout(timer.current);
      saveNow();
    };
  }, []);
  const hint = state === "saved" ? t("saved") : state === "failed" ? t("offlineError") : t("systemPromptHint");
  return (
    <Field label={t("systemPrompt")} hint={hint} id={id} tall>
      <textarea
        id={id}
        rows={4}
        value={text ?? ""}
        disabled={text === undefined}
        placeholder={t("defaultValue")}
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          setText(event.target.value);
          setState("");
          unsaved.current = event.target.value;
          clearTimeout(timer.current);
          timer.current = setTimeout(() => save.current(), SAVE_AFTER_MS);
        }}
      />
    </Field>
  );
}

function KeyField(): ReactNode {
  const t = useTranslate(texts);
  const forget = (): void => {
    forgetKey();
    // The next reader of this browser must not see what this one did.
    forgetDrafts();
    void clearCache().then(() => location.reload());
  };
  return (
    <section>
      <h3>{t("keySection")}</h3>
      <Button tone="danger" onClick={forget}>
        {t("forgetKey")}
      </Button>
    </section>
  );
}
