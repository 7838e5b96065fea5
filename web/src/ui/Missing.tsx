import { Component, type ReactNode } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { Button } from "./controls";
import { Dialog } from "./Dialog";

/** In place of a dialog that could not be loaded. */
export function MissingPart({ onClose }: { readonly onClose?: (() => void) | undefined }): ReactNode {
  const t = useTranslate(texts);
  return (
    <Dialog title={t("missingPart")} onClose={onClose}>
      <div className="dialog-body">
        <Button tone="primary" onClick={() => location.reload()}>
          {t("reload")}
        </Button>
      </div>
    </Dialog>
  );
}

function Broken(): ReactNode {
  const t = useTranslate(texts);
  return (
    <main className="opening" role="alert">
      <p>{t("broken")}</p>
      <Button tone="primary" onClick={() => location.reload()}>
        {t("reload")}
      </Button>
    </main>
  );
}

interface BoundaryProps {
  readonly children: ReactNode;
}

/** A fault in the page is told, and nothing is lost by it: answers and drafts are kept elsewhere. */
export class Boundary extends Component<BoundaryProps, { readonly broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError(): { broken: boolean } {
    return { broken: true };
  }

  override render(): ReactNode {
    return this.state.broken ? <Broken /> : this.props.children;
  }
}
