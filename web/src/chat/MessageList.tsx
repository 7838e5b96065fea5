import { ArrowDown } from "lucide-react";
import {
  type ReactNode,
  type RefObject,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { Virtualizer, type VirtualizerHandle } from "virtua";
import { noteFailure } from "../api/server";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { preferences } from "../settings/preferences";
import { type Conversation, loadOlder } from "../store/conversations";
import { Spinner } from "../ui/controls";
import { JUMP } from "./events";
import { TurnView } from "./TurnView";
import { turnsOf } from "./turns";
import { type FollowScroll, useFollow } from "./useFollow";
import { useOlder } from "./useOlder";
import "./messages.css";

export interface MessageListProps {
  readonly thread: string;
  readonly conversation: Conversation;
  readonly target: string | undefined;
  readonly live: boolean;
}

/** The turns of one conversation. Only those near the view are in the document, so that long ones stay fast. */
export function MessageList({ thread, conversation, target, live }: MessageListProps): ReactNode {
  const t = useTranslate(texts);
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualizerHandle>(null);
  const follow = useFollow(scroller, content);
  const { messages, pending, hasMore } = conversation;
  const turns = useMemo(() => turnsOf(messages, pending), [messages, pending]);
  const earlier = useMemo(() => turns.slice(0, -1), [turns]);
  const newest = turns.at(-1);
  const older = useOlder(
    turns,
    hasMore,
    useCallback(() => loadOlder(thread).catch(noteFailure), [thread]),
  );
  const asked = useAsked(pending?.key, follow);

  useTarget(target, turns, list, scroller, follow.letGo);
  useEffect(() => {
    addEventListener(JUMP, follow.jump);
    return () => removeEventListener(JUMP, follow.jump);
  }, [follow.jump]);

  return (
    <div className="messages-frame">
      <div ref={scroller} className="messages" role="log" aria-live="off" aria-label={t("conversation")} tabIndex={0}>
        <div ref={content} className="messages-content">
          {hasMore ? (
            <div className="older">
              {older.loading ? (
                <>
                  <Spinner /> {t("loadingOlder")}
                </>
              ) : (
                <button type="button" className="more" onClick={older.load}>
                  {t("loadOlder")}
                </button>
              )}
            </div>
          ) : null}
          <Virtualizer
            ref={list}
            scrollRef={scroller}
            shift={older.shift}
            startMargin={hasMore ? 56 : 0}
            onScroll={older.onScroll}
          >
            {earlier.map((turn) => (
              <div key={turn.key} className="turn">
                <TurnView turn={turn} thread={thread} last={false} />
              </div>
            ))}
          </Virtualizer>
          {/* Not virtual: while the reader scrolls up, a virtual list moves the view by what an item above has grown,
              and this one grows at its end. */}
          {newest ? (
            <div key={newest.key} className={asked ? "turn asked" : "turn"} data-last>
              <TurnView turn={newest} thread={thread} last />
            </div>
          ) : null}
        </div>
      </div>
      {follow.behind ? (
        <button
          type="button"
          className={live ? "jump live" : "jump"}
          data-testid="jump-to-latest"
          aria-label={t("jump")}
          title={t("jump")}
          onClick={follow.jump}
        >
          <ArrowDown size={18} />
        </button>
      ) : null}
    </div>
  );
}

/** A question that is asked here goes to the top of the view, with room below for its answer. */
function useAsked(pending: string | undefined, { hold, jump }: FollowScroll): boolean {
  const [asked, setAsked] = useState(pending !== undefined);
  useLayoutEffect(() => {
    if (pending === undefined) return;
    setAsked(true);
    if (preferences.getState().follow) jump();
    else hold();
  }, [pending, hold, jump]);
  return asked;
}

function useTarget(
  target: string | undefined,
  turns: ReturnType<typeof turnsOf>,
  list: RefObject<VirtualizerHandle | null>,
  scroller: RefObject<HTMLElement | null>,
  letGo: () => void,
): void {
  const reached = useRef<string>(undefined);
  useEffect(() => {
    if (!target || reached.current === target) return;
    const at = turns.findIndex(
      (turn) => turn.question?.id === target || turn.answers.some((answer) => answer.id === target),
    );
    if (at < 0) return;
    reached.current = target;
    letGo();
    if (at < turns.length - 1) list.current?.scrollToIndex(at, { align: "start" });
    else scroller.current?.querySelector("[data-last]")?.scrollIntoView();
  }, [target, turns, list, scroller, letGo]);
}
