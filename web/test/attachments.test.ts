import { emptyAnswer, type AnswerState, type AnswerStream } from "headwater";
import { beforeEach, describe, expect, it, vi } from "vitest";
import * as documents from "../src/api/documents";
import { client } from "../src/api/server";
import type { Document } from "../src/api/types";
import {
  addDocument,
  attachments,
  attachmentsOf,
  moveAttachments,
  removeAttachment,
} from "../src/composer/attachments";

const file = new File(["x"], "notes.md", { type: "text/markdown" });
const row = (fields: Partial<Document> = {}): Document => ({
  ...{
    id: "d1",
    thread_id: "t1",
    name: "notes.md",
    media_type: "text/markdown",
    status: "processing",
    stage: "upload",
  },
  ...{ error: null, stream_id: "s1", bytes: 1, pages: 0, passages: 0 },
  ...fields,
});

/** A stream whose events the test sends. */
function reading() {
  let state: AnswerState = emptyAnswer();
  let told = (): void => {};
  let end: (state: AnswerState) => void = () => {};
  const stream = {
    get state() {
      return state;
    },
    subscribe: (listener: () => void) => {
      told = listener;
      return () => {};
    },
    done: new Promise<AnswerState>((resolve) => (end = resolve)),
  } as unknown as AnswerStream;
  vi.spyOn(client, "follow").mockReturnValue(stream);
  return {
    tell: (changes: Partial<AnswerState>): void => {
      state = { ...state, ...changes };
      told();
    },
    end: (changes: Partial<AnswerState> = {}): void => end({ ...state, ...changes }),
  };
}

const only = () => attachmentsOf("t1")[0];

beforeEach(() => attachments.setState({ byThread: {} }));

describe("a document", () => {
  it("shows each stage with how far it is, and how much was found in it", async () => {
    vi.spyOn(documents, "uploadDocument").mockImplementation((_file, _thread, onProgress) => {
      onProgress(0.5);
      return Promise.resolve(row());
    });
    vi.spyOn(documents, "getDocument").mockResolvedValue(row({ status: "ready", passages: 7 }));
    const stream = reading();
    const done = addDocument("t1", file);
    expect(only()).toMatchObject({ stage: "upload", progress: 0.5 });
    await vi.waitFor(() => expect(client.follow).toHaveBeenCalled());
    stream.tell({ status: { type: "status", stage: "extraction", data: { progress: 0.25 } } });
    expect(only()).toMatchObject({ stage: "extraction", progress: 0.25, status: "processing" });
    stream.tell({ status: { type: "status", stage: "chunking" } });
    expect(only()).toMatchObject({ stage: "chunking", progress: undefined });
    stream.end();
    await done;
    expect(only()).toMatchObject({ status: "ready", passages: 7 });
  });

  it("that cannot be read says why", async () => {
    vi.spyOn(documents, "uploadDocument").mockResolvedValue(row());
    vi.spyOn(documents, "getDocument").mockResolvedValue(row());
    const stream = reading();
    const done = addDocument("t1", file);
    await vi.waitFor(() => expect(client.follow).toHaveBeenCalled());
    stream.end({ error: { type: "error", reason: "document_refused", message: "it is binary" } });
    await done;
    expect(only()).toMatchObject({ status: "failed", error: "it is binary" });
  });

  it("that does not arrive says why, and can be taken out", async () => {
    vi.spyOn(documents, "uploadDocument").mockRejectedValue(new Error("too large"));
    await addDocument("t1", file);
    const failed = only();
    expect(failed).toMatchObject({ status: "failed", error: "too large" });
    removeAttachment("t1", failed?.id ?? "");
    expect(attachmentsOf("t1")).toEqual([]);
  });

  it("that is taken out while it is sent is not sent on", async () => {
    vi.spyOn(documents, "uploadDocument").mockImplementation(
      (_file, _thread, _progress, signal) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")))),
    );
    const done = addDocument("t1", file);
    removeAttachment("t1", only()?.id ?? "");
    await done;
    expect(attachmentsOf("t1")).toEqual([]);
  });

  it("goes along when the conversation gets its thread", async () => {
    vi.spyOn(documents, "uploadDocument").mockRejectedValue(new Error("x"));
    await addDocument("", file);
    moveAttachments("", "t1");
    expect([attachmentsOf("").length, attachmentsOf("t1").length]).toEqual([0, 1]);
  });
});
