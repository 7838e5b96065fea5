/** What goes with the next message of each thread: pictures, which are sent with it, and documents, which are uploaded
 * to the thread at once and read by the server while the reader types.
 */

import { createStore } from "zustand/vanilla";
import { deleteDocument, getDocument, uploadDocument } from "../api/documents";
import { client, noteFailure } from "../api/server";
import { messageOf } from "../ui/messageOf";
import { dataUrlOf } from "./images";

export const MAX_PICTURES = 8;

interface Common {
  readonly id: string;
  readonly name: string;
}

export interface Picture extends Common {
  readonly kind: "picture";
  readonly url: string;
}

export type Stage = "upload" | "extraction" | "chunking" | "vectorization";

export interface Upload extends Common {
  readonly kind: "document";
  readonly document: string | undefined;
  readonly stage: Stage;
  /** Of this stage, 0 to 1; undefined where it is not told. */
  readonly progress: number | undefined;
  readonly status: "processing" | "ready" | "failed";
  readonly passages: number;
  readonly error: string;
}

export type Attachment = Picture | Upload;

/** By thread; "" is the conversation that has none yet. */
export const attachments = createStore<{ readonly byThread: Readonly<Record<string, readonly Attachment[]>> }>(() => ({
  byThread: {},
}));

const NONE: readonly Attachment[] = [];
export const attachmentsOf = (thread: string): readonly Attachment[] => attachments.getState().byThread[thread] ?? NONE;

let last = 0;
const running = new Map<string, AbortController>();

function set(thread: string, how: (now: readonly Attachment[]) => readonly Attachment[]): void {
  attachments.setState(({ byThread }) => ({ byThread: { ...byThread, [thread]: how(byThread[thread] ?? NONE) } }));
}

function update(thread: string, id: string, changes: Partial<Upload>): void {
  set(thread, (now) =>
    now.map((each) => (each.id === id && each.kind === "document" ? { ...each, ...changes } : each)),
  );
}

export async function addPicture(thread: string, file: File): Promise<void> {
  const url = await dataUrlOf(file);
  set(thread, (now) => [...now, { kind: "picture", id: `a${++last}`, name: file.name, url }]);
}

/** Uploads, then follows the stream of its reading. Never throws: what went wrong stands in the attachment. */
export async function addDocument(thread: string, file: File): Promise<void> {
  const id = `a${++last}`;
  const controller = new AbortController();
  running.set(id, controller);
  const begun: Upload = {
    ...{ kind: "document", id, name: file.name, document: undefined, stage: "upload" },
    ...{ progress: 0, status: "processing", passages: 0, error: "" },
  };
  set(thread, (now) => [...now, begun]);
  try {
    const document = await uploadDocument(
      file,
      thread,
      (progress) => update(thread, id, { progress }),
      controller.signal,
    );
    update(thread, id, { document: document.id, progress: undefined });
    const failure = document.stream_id
      ? await followReading(thread, id, document.stream_id, controller.signal)
      : undefined;
    const read = await getDocument(document.id);
    update(thread, id, {
      status: failure === undefined && read.status !== "failed" ? "ready" : "failed",
      passages: read.passages,
      error: failure ?? read.error ?? "",
    });
  } catch (error) {
    if (controller.signal.aborted) return;
    noteFailure(error);
    update(thread, id, { status: "failed", error: messageOf(error) });
  } finally {
    running.delete(id);
  }
}

const STAGES: ReadonlySet<string> = new Set<Stage>(["upload", "extraction", "chunking", "vectorization"]);
const isStage = (stage: string): stage is Stage => STAGES.has(stage);

/** Answers why it could not be read, undefined where it was. */
async function followReading(
  thread: string,
  id: string,
  streamId: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const stream = client.follow(streamId, { signal });
  const stop = stream.subscribe(() => {
    const status = stream.state.status;
    if (!status || !isStage(status.stage)) return;
    const progress = status.data?.["progress"];
    update(thread, id, { stage: status.stage, progress: typeof progress === "number" ? progress : undefined });
  });
  try {
    return (await stream.done).error?.message;
  } finally {
    stop();
  }
}

/** A document that goes with no message is taken from the server as well. */
export function removeAttachment(thread: string, id: string): void {
  const found = attachmentsOf(thread).find((each) => each.id === id);
  running.get(id)?.abort();
  set(thread, (now) => now.filter((each) => each.id !== id));
  if (found?.kind === "document" && found.document) void deleteDocument(found.document).catch(noteFailure);
}

/** The conversation has got its thread: what was attached goes along. */
export function moveAttachments(from: string, to: string): void {
  const moved = attachmentsOf(from);
  set(from, () => NONE);
  putAttachments(to, moved);
}

/** Before those that are there. */
export function putAttachments(thread: string, items: readonly Attachment[]): void {
  set(thread, (now) => [...items, ...now]);
}

/** The message was sent: what is still being read goes on without being shown. */
export function clearAttachments(thread: string): void {
  set(thread, () => NONE);
}
