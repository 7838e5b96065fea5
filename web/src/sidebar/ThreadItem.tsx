import { MoreHorizontal } from "lucide-react";
import { memo, type ReactNode, useEffect, useRef, useState } from "react";
import { exportPath } from "../api/conversations";
import { fetchFile } from "../api/server";
import type { Thread } from "../api/types";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { unwatch } from "../store/answers";
import { useFirstWords } from "../store/firstWords";
import { goTo } from "../store/navigation";
import { notify } from "../store/notices";
import { setDrawer } from "../store/panels";
import { deleteThreadSoon, renameThread, undoDelete } from "../store/threads";
import { IconButton } from "../ui/controls";
import { MenuLater } from "../ui/MenuLater";
import { saveFile } from "../ui/saveFile";
import { useFail } from "../ui/useFail";
import type { ThreadMenu } from "./ThreadMenu";

const loadMenu = async (): Promise<typeof ThreadMenu> => (await import("./ThreadMenu")).ThreadMenu;

interface ThreadItemProps {
  readonly thread: Thread;
  readonly open: boolean;
}

export const ThreadItem = memo(function ThreadItem({ thread, open }: ThreadItemProps): ReactNode {
  const t = useTranslate(texts);
  const fail = useFail();
  const [renaming, setRenaming] = useState(false);
  const begun = useFirstWords(thread.id);
  const title = thread.title || begun || t("untitled");

  const rename = (text: string): void => {
    setRenaming(false);
    if (text && text !== thread.title) void renameThread(thread.id, text).catch(fail);
  };
  const remove = (): void => {
    deleteThreadSoon(thread.id, fail);
    if (open) goTo(undefined);
    unwatch(thread.id);
    notify(t("removed", { title }), { action: { label: t("undo"), run: () => undoDelete(thread.id) } });
  };
  const save = (form: "json" | "markdown"): void =>
    void fetchFile(exportPath(thread.id, form))
      .then((response) => saveFile(response, form === "json" ? `${title}.json` : `${title}.md`))
      .catch(fail);

  if (renaming) {
    return (
      <li className="thread-item open">
        <RenameField title={thread.title} onDone={rename} onCancel={() => setRenaming(false)} />
      </li>
    );
  }
  return (
    <li className={open ? "thread-item open" : "thread-item"} data-testid="thread-item">
      <a
        href={`#/t/${thread.id}`}
        aria-current={open ? "page" : undefined}
        onClick={() => setDrawer(false)}
        title={title}
      >
        <span className="thread-title">{title}</span>
        {thread.live.length ? (
          <span className="live-badge">
            <span className="live-dot" aria-hidden="true" />
            <span className="visually-hidden">{t("live")}</span>
          </span>
        ) : null}
      </a>
      <MenuLater
        trigger={
          <IconButton size="small" className="thread-menu" label={t("actionsFor", { title })}>
            <MoreHorizontal size={16} />
          </IconButton>
        }
        load={loadMenu}
        menu={{ onRename: () => setRenaming(true), onSave: save, onRemove: remove }}
      />
    </li>
  );
});

interface RenameFieldProps {
  readonly title: string;
  readonly onDone: (title: string) => void;
  readonly onCancel: () => void;
}

function RenameField({ title, onDone, onCancel }: RenameFieldProps): ReactNode {
  const t = useTranslate(texts);
  const ref = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // After the menu that was closed has given the focus back to its button.
    const timer = setTimeout(() => ref.current?.select(), 0);
    return () => clearTimeout(timer);
  }, []);
  return (
    <input
      ref={ref}
      className="rename-field"
      aria-label={t("renameLabel")}
      defaultValue={title}
      maxLength={500}
      onBlur={(event) => onDone(event.target.value.trim())}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing) return;
        if (event.key === "Enter") onDone(event.currentTarget.value.trim());
        if (event.key === "Escape") {
          event.stopPropagation();
          onCancel();
        }
      }}
    />
  );
}
