import { Braces, FileText, Pencil, Trash2 } from "lucide-react";
import type { ReactNode } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { Menu, MenuItem, MenuSeparator } from "../ui/Menu";
import type { Triggered } from "../ui/MenuLater";

interface ThreadMenuProps extends Triggered {
  readonly onRename: () => void;
  readonly onSave: (form: "json" | "markdown") => void;
  readonly onRemove: () => void;
}

export function ThreadMenu({ onRename, onSave, onRemove, trigger }: ThreadMenuProps): ReactNode {
  const t = useTranslate(texts);
  return (
    <Menu trigger={trigger}>
      <MenuItem icon={<Pencil size={16} />} onSelect={onRename}>
        {t("rename")}
      </MenuItem>
      <MenuItem icon={<FileText size={16} />} onSelect={() => onSave("markdown")}>
        {t("exportMarkdown")}
      </MenuItem>
      <MenuItem icon={<Braces size={16} />} onSelect={() => onSave("json")}>
        {t("exportJson")}
      </MenuItem>
      <MenuSeparator />
      <MenuItem icon={<Trash2 size={16} />} danger onSelect={onRemove}>
        {t("remove")}
      </MenuItem>
    </Menu>
  );
}
