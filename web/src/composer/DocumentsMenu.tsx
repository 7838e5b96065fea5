import { AlertCircle, FileText } from "lucide-react";
import type { ReactNode } from "react";
import type { Document } from "../api/types";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { openDocument } from "../store/panels";
import { Menu, MenuItem, MenuLabel } from "../ui/Menu";
import type { Triggered } from "../ui/MenuLater";

interface DocumentsMenuProps extends Triggered {
  readonly documents: readonly Document[];
}

export function DocumentsMenu({ documents, trigger }: DocumentsMenuProps): ReactNode {
  const t = useTranslate(texts);
  return (
    <Menu align="start" trigger={trigger}>
      <MenuLabel className="menu-label">{t("documentsOf")}</MenuLabel>
      {documents.map((document) => (
        <MenuItem
          key={document.id}
          icon={document.status === "failed" ? <AlertCircle size={16} /> : <FileText size={16} />}
          onSelect={() => openDocument(document.id, document.name)}
        >
          {document.name}
        </MenuItem>
      ))}
    </Menu>
  );
}
