/** Fields of the settings: each with its name, and where it helps a hint. */

import { type ReactNode, useEffect, useId, useState } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";

interface FieldProps {
  readonly label: string;
  readonly id: string;
  readonly hint?: string | undefined;
  readonly tall?: boolean;
  readonly children: ReactNode;
}

export function Field({ label, id, hint, tall = false, children }: FieldProps): ReactNode {
  return (
    <div className={tall ? "field tall" : "field"}>
      <span className="field-words">
        <label htmlFor={id}>{label}</label>
        {hint ? (
          <small id={`${id}-hint`} role="status">
            {hint}
          </small>
        ) : null}
      </span>
      {children}
    </div>
  );
}

interface ToggleProps {
  readonly label: string;
  readonly hint: string;
  readonly on: boolean;
  readonly onChange: (on: boolean) => void;
}

export function Toggle({ label, hint, on, onChange }: ToggleProps): ReactNode {
  const id = useId();
  return (
    <Field label={label} hint={hint} id={id}>
      <input
        id={id}
        type="checkbox"
        role="switch"
        className="switch"
        checked={on}
        aria-describedby={`${id}-hint`}
        onChange={(event) => onChange(event.target.checked)}
      />
    </Field>
  );
}

interface SegmentsProps<T extends string> {
  readonly label: string;
  readonly value: T;
  readonly choices: readonly { readonly value: T; readonly label: string }[];
  readonly onChange: (value: T) => void;
}

export function Segments<T extends string>({ label, value, choices, onChange }: SegmentsProps<T>): ReactNode {
  const name = useId();
  return (
    <fieldset className="field segments-field">
      <legend>{label}</legend>
      <div className="segments">
        {choices.map((choice) => (
          <label key={choice.value} className={choice.value === value ? "segment on" : "segment"}>
            <input
              type="radio"
              className="visually-hidden"
              name={name}
              checked={choice.value === value}
              onChange={() => onChange(choice.value)}
            />
            {choice.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

interface NumberFieldProps {
  readonly label: string;
  readonly hint: string;
  readonly value: number | undefined;
  readonly bounds: { readonly least: number; readonly most: number };
  readonly step: number;
  readonly onChange: (value: number | undefined) => void;
}

export function NumberField({ label, hint, value, bounds, step, onChange }: NumberFieldProps): ReactNode {
  const t = useTranslate(texts);
  const id = useId();
  const [text, setText] = useState(value?.toString() ?? "");
  useEffect(() => setText((now) => (Number(now) === value ? now : (value?.toString() ?? ""))), [value]);
  const number = Number(text);
  const wrong = text !== "" && !(number >= bounds.least && number <= bounds.most);
  return (
    <Field label={label} hint={hint} id={id}>
      <input
        id={id}
        type="number"
        inputMode="decimal"
        min={bounds.least}
        max={bounds.most}
        step={step}
        placeholder={t("defaultValue")}
        value={text}
        aria-invalid={wrong}
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          const wanted = event.target.value;
          setText(wanted);
          if (wanted === "") onChange(undefined);
          else if (Number(wanted) >= bounds.least && Number(wanted) <= bounds.most) onChange(Number(wanted));
        }}
      />
    </Field>
  );
}
