import { ArrowUp, Paperclip, Square } from "lucide-react";
import { type KeyboardEvent, type ReactNode, type Ref, useEffect, useImperativeHandle, useRef, useState } from "react";
import { useStore } from "zustand";
import { type Translate, useTranslate } from "../i18n";
import { type TextKey, texts } from "../i18n/texts";
import type { Question } from "../store/asking";
import { dropDraft, readDraft, writeDraft } from "../store/drafts";
import { notify } from "../store/notices";
import { IconButton } from "../ui/controls";
import { useMedia } from "../ui/hooks";
import { useFail } from "../ui/useFail";
import { AttachmentList } from "./AttachmentList";
import {
  addDocument,
  addPicture,
  attachments,
  attachmentsOf,
  clearAttachments,
  MAX_PICTURES,
  putAttachments,
} from "./attachments";
import { isImage } from "./images";
import { ThreadDocuments } from "./ThreadDocuments";
import { useAutoGrow } from "./useAutoGrow";
import "./composer.css";

export interface ComposerHandle {
  focus(): void;
  browse(): void;
  addFiles(files: readonly File[]): void;
}

interface ComposerProps {
  /** undefined: a conversation that has not begun. */
  readonly thread: string | undefined;
  readonly busy: boolean;
  /** Rejects where the question is nowhere kept, which it tells the reader: then it is put back. */
  readonly onSend: (question: Question) => Promise<void> | void;
  readonly onStop: () => void;
  /** The reader begins to write. */
  readonly onBegin: () => void;
  readonly onEditLast: () => void;
  /** Documents belong to a thread: one is made for them where there is none. */
  readonly threadForFiles: () => Promise<string>;
  readonly ref: Ref<ComposerHandle>;
}

/** Keyed by its thread: another conversation has its own draft. */
export function Composer({
  thread,
  busy,
  onSend,
  onStop,
  onBegin,
  onEditLast,
  threadForFiles,
  ref,
}: ComposerProps): ReactNode {
  const t = useTranslate(texts);
  const fail = useFail();
  const [text, setText] = useState(() => readDraft(thread));
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const touch = useMedia("(pointer: coarse)");
  const place = thread ?? "";
  const items = useStore(attachments, (state) => state.byThread[place]) ?? attachmentsOf(place);
  useAutoGrow(field, text);

  useEffect(() => {
    // On a phone the keyboard would cover what is to be read.
    if (!touch) field.current?.focus({ preventScroll: true });
  }, [touch]);

  const addFiles = (files: readonly File[]): void => {
    void attach(files, place, threadForFiles, t).catch(fail);
  };
  useImperativeHandle(ref, () => ({
    focus: () => field.current?.focus(),
    browse: () => picker.current?.click(),
    addFiles,
  }));

  const uploading = items.some(
    (item) => item.kind === "document" && item.document === undefined && item.status === "processing",
  );
  const ready = (text.trim() !== "" || items.some((item) => item.kind === "picture")) && !uploading;
  const send = async (): Promise<void> => {
    if (!ready || busy) return;
    const pictures = items.flatMap((item) =>
      item.kind === "picture" ? [{ type: "image_url", image_url: { url: item.url } }] : [],
    );
    setText("");
    dropDraft(thread);
    clearAttachments(place);
    try {
      await onSend({ text: text.trim(), parts: pictures });
    } catch {
      // What was written since then is not written over.
      setText((now) => now || text);
      if (!readDraft(thread)) writeDraft(thread, text);
      putAttachments(place, items);
    }
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    // 229: some input methods say that they compose only in this way.
    if (event.nativeEvent.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !touch) {
      event.preventDefault();
      void send();
    } else if (event.key === "ArrowUp" && text === "" && !event.altKey && !event.ctrlKey) {
      event.preventDefault();
      onEditLast();
    }
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <AttachmentList thread={place} items={items} />
      <textarea
        ref={field}
        id="chat-input"
        data-testid="chat-input"
        aria-label={t("messageLabel")}
        placeholder={t("placeholder")}
        rows={1}
        value={text}
        enterKeyHint={touch ? "enter" : "send"}
        onChange={(event) => {
          if (!text) onBegin();
          setText(event.target.value);
          writeDraft(thread, event.target.value);
        }}
        onKeyDown={onKeyDown}
        onPaste={(event) => {
          const files = [...event.clipboardData.files];
          if (!files.length) return;
          event.preventDefault();
          addFiles(files);
        }}
      />
      <div className="composer-row">
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          onChange={(event) => {
            addFiles([...(event.target.files ?? [])]);
            event.target.value = "";
          }}
        />
        <IconButton label={t("attach")} data-testid="attach-button" onClick={() => picker.current?.click()}>
          <Paperclip size={18} />
        </IconButton>
        {thread ? <ThreadDocuments thread={thread} /> : null}
        <span className="composer-space" />
        {busy ? (
          <button
            type="button"
            className="send stop"
            data-testid="cancel-button"
            aria-label={t("stop")}
            title={t("stop")}
            onClick={onStop}
          >
            <Square size={14} fill="currentColor" />
          </button>
        ) : (
          <button
            type="submit"
            className="send"
            data-testid="send-button"
            aria-label={t("send")}
            title={t("send")}
            disabled={!ready}
          >
            <ArrowUp size={19} />
          </button>
        )}
      </div>
    </form>
  );
}

async function attach(
  files: readonly File[],
  place: string,
  threadForFiles: () => Promise<string>,
  t: Translate<TextKey>,
): Promise<void> {
  const pictures = files.filter(isImage);
  const documents = files.filter((file) => !isImage(file));
  const room = MAX_PICTURES - attachmentsOf(place).filter((item) => item.kind === "picture").length;
  if (pictures.length > room) notify(t("tooMany", { n: MAX_PICTURES }));
  // With documents the conversation gets its thread, and the pictures go there, too.
  const target = documents.length ? await threadForFiles() : place;
  for (const file of pictures.slice(0, Math.max(0, room))) {
    await addPicture(target, file).catch(() => notify(t("imageTooLarge", { name: file.name }), { tone: "danger" }));
  }
  await Promise.all(documents.map((file) => addDocument(target, file)));
}
