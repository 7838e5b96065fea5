import { CheckCircle2, CloudOff, LoaderCircle } from "lucide-react";
import type { Connection } from "headwater";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { useStore } from "zustand";
import { noteFailure, reachability } from "../api/server";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import type { Message } from "../api/types";
import type { Watched } from "../store/answers";
import { refreshThreads } from "../store/threads";
import { Button } from "../ui/controls";
import { useOnline } from "../ui/hooks";
import { estimateTokens } from "./pace";
import { useConnection, useWatched } from "./useAnswer";

const RESUMED_MS = 5000;

/** How the connection is, while it is not simply there. */
export function ConnectionBanner({ live }: { readonly live: Message | undefined }): ReactNode {
  const t = useTranslate(texts);
  const online = useOnline();
  const reachable = useStore(reachability, (state) => state.reachable);
  const watched = useWatched(live?.stream_id ?? null);
  const connection = useConnection(watched);
  const failed = watched?.stream.state.phase === "failed";
  const resumedAt = useResumed(watched, connection, failed);
  const tryNow = (): void => void refreshThreads().catch(noteFailure);

  if (!online || connection?.status === "offline")
    return <Banner tone="warning" icon={<CloudOff size={16} />} text={t("offline")} />;
  if (connection?.status === "reconnecting") {
    const text = connection.attempt > 1 ? t("reconnectingN", { n: connection.attempt }) : t("reconnecting");
    return <Banner tone="warning" icon={<LoaderCircle className="spinning" size={16} />} text={text} />;
  }
  if (!reachable) {
    return (
      <Banner tone="warning" icon={<CloudOff size={16} />} text={t("unreachable")}>
        <Button onClick={tryNow}>{t("tryNow")}</Button>
      </Banner>
    );
  }
  if (resumedAt !== undefined) {
    return <Banner tone="success" icon={<CheckCircle2 size={16} />} text={t("resumed", { n: resumedAt })} />;
  }
  return null;
}

/** For a moment after a connection came back: after about how many tokens the answer went on. */
function useResumed(
  watched: Watched | undefined,
  connection: Connection | undefined,
  failed: boolean,
): number | undefined {
  const [shown, setShown] = useState<number>();
  const lostAt = useRef<number>(undefined);
  const lost = connection?.status === "reconnecting" || connection?.status === "offline";
  const resumedAt = connection?.status === "open" || connection?.status === "closed" ? connection.resumedAt : undefined;
  useEffect(() => {
    const state = watched?.stream.state;
    if (lost && state) lostAt.current = estimateTokens(state.text.length + state.reasoning.length);
    if (lostAt.current === undefined || resumedAt === undefined) return undefined;
    if (!failed) setShown(lostAt.current);
    lostAt.current = undefined;
    return undefined;
  }, [watched, lost, resumedAt, failed]);
  useEffect(() => {
    if (failed) setShown(undefined); // it came back to be told that there is no more
  }, [failed]);
  useEffect(() => {
    if (shown === undefined) return undefined;
    const timer = setTimeout(() => setShown(undefined), RESUMED_MS);
    return () => clearTimeout(timer);
  }, [shown]);
  return shown;
}

interface BannerProps {
  readonly tone: "warning" | "success";
  readonly icon: ReactNode;
  readonly text: string;
  readonly children?: ReactNode;
}

function Banner({ tone, icon, text, children }: BannerProps): ReactNode {
  return (
    <div className={`banner ${tone}`} role="status" data-testid="connection-banner">
      <span aria-hidden="true">{icon}</span>
      <span>{text}</span>
      {children}
    </div>
  );
}
