import { Activity, Keyboard, PanelLeftClose, Search, Settings, SquarePen, X } from "lucide-react";
import { type ReactNode, type Ref, useEffect, useState } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { goTo } from "../store/navigation";
import { openDialog, setDrawer } from "../store/panels";
import { IconButton } from "../ui/controls";
import { SearchResults } from "./SearchResults";
import { ThreadList } from "./ThreadList";
import "./sidebar.css";

interface SidebarProps {
  readonly searchRef?: Ref<HTMLInputElement>;
  readonly onClose: () => void;
}

export function Sidebar({ searchRef, onClose }: SidebarProps): ReactNode {
  const t = useTranslate(texts);
  const [query, setQuery] = useState("");
  const wanted = query.trim();
  return (
    <nav className="sidebar" aria-label={t("chats")}>
      <div className="sidebar-head">
        <a className="brand" href="#/" onClick={() => setDrawer(false)}>
          <Mark />
          <span>Headwater</span>
        </a>
        <IconButton label={t("closeSidebar")} onClick={onClose}>
          <PanelLeftClose size={18} />
        </IconButton>
      </div>
      <button
        type="button"
        className="new-thread"
        data-testid="new-thread"
        onClick={() => {
          goTo(undefined);
          setDrawer(false);
        }}
      >
        <SquarePen size={17} aria-hidden="true" />
        <span>{t("newChat")}</span>
      </button>
      <SearchField inputRef={searchRef} onChange={setQuery} />
      {wanted ? <SearchResults query={wanted} /> : <ThreadList />}
      <div className="sidebar-foot">
        <button
          type="button"
          className="foot-item"
          data-testid="settings-button"
          onClick={() => openDialog("settings")}
        >
          <Settings size={17} aria-hidden="true" />
          <span>{t("settings")}</span>
        </button>
        <a className="icon-button medium" href="./dashboard" aria-label={t("dashboard")} title={t("dashboard")}>
          <Activity size={17} />
        </a>
        <IconButton label={t("shortcuts")} onClick={() => openDialog("help")}>
          <Keyboard size={17} />
        </IconButton>
      </div>
    </nav>
  );
}

interface SearchFieldProps {
  readonly inputRef: Ref<HTMLInputElement> | undefined;
  readonly onChange: (query: string) => void;
}

function SearchField({ inputRef, onChange }: SearchFieldProps): ReactNode {
  const t = useTranslate(texts);
  const [text, setText] = useState("");
  useEffect(() => {
    // Not at each key: the server is asked for what is meant.
    const timer = setTimeout(() => onChange(text), text ? 180 : 0);
    return () => clearTimeout(timer);
  }, [text, onChange]);
  return (
    <div className="search-field" role="search">
      <Search size={15} aria-hidden="true" />
      <input
        ref={inputRef}
        type="search"
        data-testid="thread-search"
        placeholder={t("search")}
        aria-label={t("search")}
        value={text}
        maxLength={200}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape" && text) {
            event.stopPropagation();
            setText("");
          }
        }}
      />
      {text ? (
        <IconButton size="small" label={t("clearSearch")} onClick={() => setText("")}>
          <X size={14} />
        </IconButton>
      ) : null}
    </div>
  );
}

export function Mark({ size = 24 }: { readonly size?: number }): ReactNode {
  return (
    <svg className="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M6 12c3.3-3 6.7-3 10 0s6.7 3 10 0M6 18c3.3-3 6.7-3 10 0s6.7 3 10 0M6 24c3.3-3 6.7-3 10 0" />
    </svg>
  );
}
