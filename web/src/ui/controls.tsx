/** Buttons of the page. */

import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";

interface IconButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "aria-label" | "title"> {
  readonly label: string;
  readonly size?: "small" | "medium";
  readonly ref?: Ref<HTMLButtonElement> | undefined;
}

/** A picture only: what it does is its name for those who cannot see it, and its tooltip for those who can. */
export function IconButton({ label, size = "medium", className = "", children, ...rest }: IconButtonProps): ReactNode {
  return (
    <button type="button" className={`icon-button ${size} ${className}`} aria-label={label} title={label} {...rest}>
      {children}
    </button>
  );
}

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  readonly tone?: "primary" | "plain" | "danger";
}

export function Button({ tone = "plain", className = "", children, ...rest }: ButtonProps): ReactNode {
  return (
    <button type="button" className={`button ${tone} ${className}`} {...rest}>
      {children}
    </button>
  );
}

export function Spinner(): ReactNode {
  return <span className="spinner" aria-hidden="true" />;
}
