/**
 * Server-Sent Events from text, in any chunking: what a browser's EventSource dispatches.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html, sections 9.2.5 and 9.2.6. The shape is that of
 * eventsource-parser. Knows nothing of Headwater, does no I/O. Each character is looked at once: a line that comes in
 * many pieces costs no more than one that comes whole.
 */

export interface SseMessage {
  /** `message` where the stream named none. */
  event: string;
  data: string;
  /** The last id, which stays in force for messages that carry none. */
  id: string;
}

export interface ParserOptions {
  onEvent: (message: SseMessage) => void;
  /** The reconnection time that the server asks for, in milliseconds. */
  onRetry?: (ms: number) => void;
  onComment?: (text: string) => void;
  /** Without it, `feed` throws what it would be given. */
  onError?: (error: ParseError) => void;
  /**
   * A security limit, for one line and for the data of one event, in UTF-16 code units: without it a server that
   * never ends a line takes all memory. 8 Mi by default, which holds an image as base64.
   */
  maxEventBytes?: number;
}

export interface Parser {
  /**
   * Text of one body, in order, decoded without taking its byte order mark (`new TextDecoder("utf-8", {ignoreBOM:
   * true})`). After an event that is too large the rest is passed over until `reset`.
   */
  feed(text: string): void;
  /** The body ended: what no blank line ended is dropped, and another body begins. The last id stays in force. */
  reset(): void;
}

export class ParseError extends Error {
  override name = "ParseError";

  constructor(
    readonly type: "frame-too-large",
    message: string,
  ) {
    super(message);
  }
}

const DEFAULT_MAX = 8 * 2 ** 20;
/** Longer numbers are not a time any more. */
const RETRY = /^\d{1,15}$/;

export function createParser(options: ParserOptions): Parser {
  const { onEvent, onRetry, onComment, onError, maxEventBytes = DEFAULT_MAX } = options;
  let id = "";
  let partial: string, data: string | undefined, event: string, newId: string;
  let first: boolean, afterCr: boolean, broken: boolean;

  function reset(): void {
    partial = event = "";
    data = undefined;
    newId = id;
    first = true;
    afterCr = broken = false;
  }

  function feed(text: string): void {
    if (!text || broken) return;
    let at = 0;
    if (first) {
      first = false;
      if (text.startsWith("\uFEFF")) at = 1;
    }
    if (afterCr && text.startsWith("\n")) at = 1;
    afterCr = false;
    // Each is looked for again only when it was passed, so that a text without one costs a single search.
    let cr = text.indexOf("\r", at);
    let lf = text.indexOf("\n", at);
    while (cr >= 0 || lf >= 0) {
      const end = lf < 0 || (cr >= 0 && cr < lf) ? cr : lf;
      const line = partial + text.slice(at, end);
      partial = "";
      at = end + 1;
      if (end === cr) {
        if (at === text.length) afterCr = true;
        else if (at === lf) at++;
        cr = text.indexOf("\r", at);
      }
      if (lf >= 0 && lf < at) lf = text.indexOf("\n", at);
      if (line.length > maxEventBytes) return fail();
      take(line);
      if (broken) return;
    }
    partial += text.slice(at);
    if (partial.length > maxEventBytes) fail();
  }

  function take(line: string): void {
    if (!line) return dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") {
      data = data === undefined ? value : `${data}\n${value}`;
      if (data.length > maxEventBytes) fail();
    } else if (name === "event") event = value;
    else if (name === "id") {
      if (!value.includes("\0")) newId = value;
    } else if (name === "retry") {
      if (RETRY.test(value)) onRetry?.(+value);
    } else if (!name) onComment?.(value);
  }

  function dispatch(): void {
    id = newId;
    const message = data === undefined ? undefined : { event: event || "message", data, id };
    data = undefined;
    event = "";
    if (message) onEvent(message);
  }

  function fail(): void {
    broken = true;
    partial = "";
    data = undefined;
    const error = new ParseError("frame-too-large", `an SSE event is longer than ${maxEventBytes} characters`);
    if (!onError) throw error;
    onError(error);
  }

  reset();
  return { feed, reset };
}
