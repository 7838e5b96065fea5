import { Upload } from "lucide-react";
import { type ReactNode, type RefObject, useEffect, useRef } from "react";
import { useStore } from "zustand";
import { noteFailure } from "../api/server";
import { Composer, type ComposerHandle } from "../composer/Composer";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { ask, type Question, stopThread } from "../store/asking";
import { conversations, EMPTY, openConversation, reachMessage } from "../store/conversations";
import type { Place } from "../store/navigation";
import { threadList } from "../store/threads";
import { Button } from "../ui/controls";
import { useMedia } from "../ui/hooks";
import { messageOf } from "../ui/messageOf";
import { useFail } from "../ui/useFail";
import { ConnectionBanner } from "./ConnectionBanner";
import { Conversation, loadConversation } from "./Conversation";
import { EmptyState } from "./EmptyState";
import { EDIT_LAST } from "./events";
import { Loading } from "./Loading";
import { TopBar } from "./TopBar";
import { useDrop } from "./useDrop";
import { useAnswerOver, useWatched } from "./useAnswer";
import { useNewThread } from "./useNewThread";
import "./chat.css";

interface ChatPageProps {
  readonly place: Place;
  readonly narrow: boolean;
  readonly sidebar: boolean;
  readonly composer: RefObject<ComposerHandle | null>;
}

export function ChatPage({ place, narrow, sidebar, composer }: ChatPageProps): ReactNode {
  const t = useTranslate(texts);
  const fail = useFail();
  const { begin, beginning } = useNewThread();
  const { thread } = place;
  const conversation = useStore(conversations, (state) => (thread ? state.byThread[thread] : undefined)) ?? EMPTY;
  const listed = useStore(threadList, (state) => state.threads.find((each) => each.id === thread));
  const touch = useMedia("(pointer: coarse)");
  const { over: dropping, ...drop } = useDrop((files) => composer.current?.addFiles(files));

  useEffect(() => {
    if (!thread) return;
    void openConversation(thread).catch(noteFailure);
    void loadConversation();
  }, [thread]);
  useEffect(() => {
    document.title = listed?.title ? `${listed.title} · Headwater` : "Headwater";
  }, [listed?.title]);

  useReach(place, conversation.origin === "server");

  const live = conversation.messages.findLast((message) => message.status === "streaming");
  const watched = useWatched(live?.stream_id ?? null);
  const over = useAnswerOver(watched);
  const sending = conversation.pending !== undefined && conversation.pending.error === undefined;
  const busy = sending || (thread === undefined && beginning) || (live !== undefined && !over);

  const send = async (question: Question): Promise<void> => ask(thread ?? (await begin()), question);
  const sendOrFail = (question: Question): Promise<void> =>
    send(question).catch((error: unknown) => {
      fail(error);
      throw error;
    });
  const empty = !conversation.messages.length && !conversation.pending;
  const begun = thread === undefined || (conversation.origin === "server" && empty);

  return (
    <main className="chat" {...drop}>
      <TopBar thread={listed} narrow={narrow} sidebar={sidebar} />
      <ConnectionBanner live={live} />
      {begun ? (
        <EmptyState
          onAsk={(text) => void (busy || send({ text, parts: [] }).catch(fail))}
          onUpload={() => composer.current?.browse()}
        />
      ) : empty ? (
        <Opening error={conversation.error} onRetry={() => void openConversation(thread).catch(noteFailure)} />
      ) : (
        <Conversation
          key={thread}
          early={conversation.pending !== undefined}
          thread={thread}
          conversation={conversation}
          target={place.message}
          live={busy}
        />
      )}
      <div className="composer-frame">
        <Composer
          key={thread ?? ""}
          ref={composer}
          thread={thread}
          busy={busy}
          onSend={sendOrFail}
          onStop={() => thread && void stopThread(thread).catch(fail)}
          onBegin={() => void loadConversation()}
          onEditLast={() => dispatchEvent(new Event(EDIT_LAST))}
          threadForFiles={async () => thread ?? begin()}
        />
        <p className="composer-hint">{touch ? t("composerHintTouch") : t("composerHint")}</p>
      </div>
      {dropping ? (
        <div className="drop-zone" aria-hidden="true">
          <Upload size={28} />
          <span>{t("dropHere")}</span>
        </div>
      ) : null}
    </main>
  );
}

/** A message that the address names, as a hit of the search does, is fetched once: the reader may then go elsewhere. */
function useReach({ thread, message }: Place, known: boolean): void {
  const fail = useFail();
  const sought = useRef<string>(undefined);
  useEffect(() => {
    if (sought.current !== message) sought.current = undefined;
    if (!thread || !message || !known || sought.current === message) return;
    sought.current = message;
    void reachMessage(thread, message).catch(fail);
  }, [thread, message, known, fail]);
}

interface OpeningProps {
  readonly error: unknown;
  readonly onRetry: () => void;
}

function Opening({ error, onRetry }: OpeningProps): ReactNode {
  const t = useTranslate(texts);
  if (error === undefined) return <Loading />;
  return (
    <div className="opening">
      <div className="error-status" role="alert">
        <div>
          <strong>{t("failed", { message: messageOf(error) })}</strong>
        </div>
        <Button onClick={onRetry}>{t("retry")}</Button>
      </div>
    </div>
  );
}
