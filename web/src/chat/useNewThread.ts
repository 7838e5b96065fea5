import { useCallback, useRef, useState } from "react";
import { moveAttachments } from "../composer/attachments";
import { newThread } from "../store/asking";
import { moveDraft } from "../store/drafts";
import { goTo } from "../store/navigation";

interface NewThread {
  /** Makes the thread, once for all who ask while it is made; what was typed and attached goes along. */
  readonly begin: () => Promise<string>;
  readonly beginning: boolean;
}

export function useNewThread(): NewThread {
  const underWay = useRef<Promise<string>>(undefined);
  const [beginning, setBeginning] = useState(false);
  const begin = useCallback((): Promise<string> => {
    setBeginning(true);
    underWay.current ??= beginThread().finally(() => {
      underWay.current = undefined;
      setBeginning(false);
    });
    return underWay.current;
  }, []);
  return { begin, beginning };
}

async function beginThread(): Promise<string> {
  const thread = await newThread();
  moveDraft(undefined, thread);
  moveAttachments("", thread);
  goTo(thread, { replace: true });
  return thread;
}
