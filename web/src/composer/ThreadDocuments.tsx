import { FileText } from "lucide-react";
import { type ReactNode, useEffect, useState } from "react";
import { useStore } from "zustand";
import { documentsOfThread } from "../api/documents";
import { noteFailure } from "../api/server";
import type { Document } from "../api/types";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { MenuLater } from "../ui/MenuLater";
import { attachments } from "./attachments";
import type { DocumentsMenu } from "./DocumentsMenu";

const loadMenu = async (): Promise<typeof DocumentsMenu> => (await import("./DocumentsMenu")).DocumentsMenu;

/** What was uploaded to this conversation earlier: its answers may rest on it. */
export function ThreadDocuments({ thread }: { readonly thread: string }): ReactNode {
  const t = useTranslate(texts);
  const [documents, setDocuments] = useState<readonly Document[]>([]);
  const attached = useStore(attachments, (state) => state.byThread[thread]);
  useEffect(() => {
    let left = false;
    documentsOfThread(thread).then((page) => !left && setDocuments(page.data), noteFailure);
    return () => {
      left = true;
    };
    // Asked again when something was attached or sent.
  }, [thread, attached?.length]);
  // What is attached now stands above.
  const shown = documents.filter(
    (document) =>
      document.thread_id === thread &&
      !attached?.some((each) => each.kind === "document" && each.document === document.id),
  );
  if (!shown.length) return null;
  return (
    <MenuLater
      trigger={
        <button type="button" className="chip documents-chip" title={t("documentsOf")}>
          <FileText size={14} aria-hidden="true" />
          {t("documents", { n: shown.length })}
        </button>
      }
      load={loadMenu}
      menu={{ documents: shown }}
    />
  );
}
