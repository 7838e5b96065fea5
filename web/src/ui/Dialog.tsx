/** The browser's own modal dialog: it keeps the focus inside, makes the rest inert, closes by Escape and gives the
 * focus back, and needs no styles of a library, which the page's policy would not let in.
 */

import { X } from "lucide-react";
import { type ReactNode, useId, useLayoutEffect, useRef } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { IconButton } from "./controls";

interface DialogProps {
  readonly title: string;
  readonly onClose?: (() => void) | undefined;
  readonly children: ReactNode;
  readonly className?: string;
  readonly testId?: string;
  /** Where the title is said elsewhere in the dialog. */
  readonly bare?: boolean;
}

export function Dialog({ title, onClose, children, className = "", testId, bare = false }: DialogProps): ReactNode {
  const t = useTranslate(texts);
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useLayoutEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    // While it is still in the document: one that is only taken out of it does not give the focus back.
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      className={`dialog ${className}`}
      data-testid={testId}
      aria-labelledby={bare ? undefined : heading}
      aria-label={bare ? title : undefined}
      onCancel={(event) => {
        // React decides whether it is open; without `onClose` it stays.
        event.preventDefault();
        onClose?.();
      }}
      onClick={(event) => {
        if (event.target === ref.current) onClose?.(); // the backdrop
      }}
    >
      <div className="dialog-inside">
        {bare ? null : (
          <header className="dialog-head">
            <h2 id={heading}>{title}</h2>
            {onClose ? (
              <IconButton label={t("close")} onClick={onClose}>
                <X size={18} />
              </IconButton>
            ) : null}
          </header>
        )}
        {children}
      </div>
    </dialog>
  );
}
