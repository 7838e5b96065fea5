/** Every failure as one class. `code` is for programs (docs/reference/errors.md), `message` for people. */

/** What a proxy or another server in front says without a code of Headwater's. */
const CODE_OF_STATUS: Record<number, string> = {
  400: "invalid_request",
  401: "invalid_api_key",
  403: "invalid_api_key",
  405: "method_not_allowed",
  413: "invalid_request",
  422: "invalid_request",
  429: "overloaded",
  503: "overloaded",
};

const RETRYABLE = new Set([0, 408, 425, 429, 502, 503, 504]);
/** Of these statuses, and yet another attempt would meet the same. */
const FINAL = new Set(["frame_too_large", "switched_off", "insufficient_quota"]);

export interface ErrorDetails {
  /** Of the HTTP answer; 0 where there was none. */
  status?: number;
  type?: string | undefined;
  param?: string | undefined;
  /** Seconds. */
  retryAfter?: number | undefined;
  cause?: unknown;
}

export class HeadwaterError extends Error {
  override name = "HeadwaterError";
  readonly status: number;
  readonly type: string | undefined;
  readonly param: string | undefined;
  readonly retryAfter: number | undefined;

  constructor(
    readonly code: string,
    message: string,
    { status = 0, type, param, retryAfter, cause }: ErrorDetails = {},
  ) {
    super(message, { cause });
    this.status = status;
    this.type = type;
    this.param = param;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return RETRYABLE.has(this.status) && !FINAL.has(this.code);
  }
}

/** The error that a response stands for, whatever its body is: Headwater's, NestJS's, HTML or nothing. Reads the body. */
export async function errorFrom(response: Response): Promise<HeadwaterError> {
  const { status, headers } = response;
  const retryAfter = seconds(headers.get("retry-after"));
  const code = CODE_OF_STATUS[status] ?? "unexpected_answer";
  return refusal(parsed(await response.text().catch(() => "")), code, status, retryAfter);
}

/** From the object that tells of it, or the one in its `error`; `code` and `status` where it does not tell its own. */
export function refusal(
  said: Record<string, unknown>,
  code: string,
  status: number,
  retryAfter?: number,
): HeadwaterError {
  const { error } = said;
  const told = isRecord(error) ? error : said;
  const message = text(told["message"]) ?? text(error) ?? `the server answered with HTTP status ${status}`;
  const [type, param] = [text(told["type"]), text(told["param"])];
  return new HeadwaterError(text(told["code"]) ?? code, message, { status, type, param, retryAfter });
}

/** The error that a failed `fetch`, or a body that broke off, stands for. */
export function lost(cause: unknown): HeadwaterError {
  return new HeadwaterError("connection_lost", "the server cannot be reached", { cause });
}

/** What is none of these is a fault of the caller's own code, which another attempt would meet again. */
export function isRetryable(error: unknown): error is HeadwaterError {
  return error instanceof HeadwaterError && error.retryable;
}

/** An answer that is not Headwater's. */
export function unexpected(what: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError("unexpected_answer", `the server ${what}`, { status: 500, cause });
}

/** For a parser's `onError`. */
export function tooLarge({ message }: Error): never {
  throw new HeadwaterError("frame_too_large", message);
}

function parsed(body: string): Record<string, unknown> {
  try {
    const found: unknown = JSON.parse(body);
    return isRecord(found) ? found : {};
  } catch {
    return {};
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value ? value : undefined;
}

/** `Retry-After` is a number of seconds, or a date (RFC 9110, 10.2.3). */
function seconds(value: string | null): number | undefined {
  if (!value) return undefined;
  const number = /^\d{1,9}$/.test(value) ? +value : (Date.parse(value) - Date.now()) / 1000;
  return number >= 0 ? number : undefined;
}
