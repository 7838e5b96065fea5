import { Menu as MenuIcon, PanelLeftOpen, SquarePen } from "lucide-react";
import type { ReactNode } from "react";
import type { Thread } from "../api/types";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { setPreferences } from "../settings/preferences";
import { useFirstWords } from "../store/firstWords";
import { goTo } from "../store/navigation";
import { setDrawer } from "../store/panels";
import { IconButton } from "../ui/controls";
import { ModelPicker } from "./ModelPicker";

interface TopBarProps {
  readonly thread: Thread | undefined;
  readonly narrow: boolean;
  readonly sidebar: boolean;
}

export function TopBar({ thread, narrow, sidebar }: TopBarProps): ReactNode {
  const t = useTranslate(texts);
  const begun = useFirstWords(thread?.id);
  return (
    <header className="top-bar">
      {narrow ? (
        <IconButton label={t("openSidebar")} onClick={() => setDrawer(true)}>
          <MenuIcon size={20} />
        </IconButton>
      ) : sidebar ? null : (
        <IconButton label={t("openSidebar")} onClick={() => setPreferences({ sidebar: true })}>
          <PanelLeftOpen size={18} />
        </IconButton>
      )}
      <ModelPicker />
      {thread ? (
        <h1 className="top-title" title={thread.title}>
          {thread.title || begun || t("untitled")}
        </h1>
      ) : (
        <span className="top-title" />
      )}
      {narrow || !sidebar ? (
        <IconButton label={t("newChat")} onClick={() => goTo(undefined)}>
          <SquarePen size={18} />
        </IconButton>
      ) : null}
    </header>
  );
}
