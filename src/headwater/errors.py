"""Every error that Headwater raises on purpose: one root, leaves that carry their facts.

    HeadwaterError
    ├── ConfigError                     a setting that cannot work; raised at start
    ├── InputError                400   the caller's request is wrong
    │   ├── UnsupportedField      400   the model's provider cannot take it
    │   ├── UnknownModel          404
    │   ├── UnknownRoute          404
    │   ├── UnknownStream         404   also for streams of another owner
    │   ├── UnknownItem           404   a workspace, thread, message, document, key or connection; also another tenant's
    │   ├── NameTaken             409   a slug that is in use
    │   ├── LimitReached          409   there are as many of these as the caller may have
    │   ├── MethodNotAllowed      405
    │   ├── StreamStillRunning    409
    │   ├── RouteFixed            409   it stands in the settings file
    │   ├── BodyTooLarge          413
    │   ├── DocumentRefused       422   its text cannot be had; 413 too large, 415 no type that is read
    │   └── IdempotencyMismatch   422   the key was used before with another body
    ├── AccessError               401   no key, or a wrong one
    │   ├── TokenRefused          401   a bearer token or a ticket that does not hold
    │   ├── OriginRefused         403   Host or Origin not allowed in single-user mode
    │   ├── ScopeMissing          403   the key or token may not do this
    │   ├── OrganizationRefused   403   the caller does not belong to the organisation that the request names
    │   └── AdminRequired         403   this key may not change what all callers share
    ├── Overloaded                503   try again after `retry_after_s`
    │   ├── QueueFull             429
    │   ├── RateLimited           429   the key's or the user's own limit a minute
    │   ├── QueueTimeout          503
    │   ├── TooManyConnections    503
    │   │   └── ConnectionLimit   429   the key's or the address's own number of connections
    │   └── ShuttingDown          503
    ├── ProviderError             502   the upstream failed
    │   ├── ProviderUnreachable   502   refused, reset before the head, DNS, TLS
    │   ├── ProviderRejected      4xx/5xx   an HTTP error status, kept
    │   ├── ProviderTimeout       504   a watchdog fired
    │   ├── ProviderProtocolError 502   bytes that are not the protocol
    │   └── ProviderTruncated     502   the body ended before the answer did
    ├── LogError                  503   the stream log cannot do it now
    │   ├── LogUnavailable        503   disk full, read-only, I/O error
    │   ├── LogInUse              503   another process owns the data directory
    │   ├── LogCorrupt            500   stored bytes that do not decode
    │   └── SeqConflict           409   `expected_seq` is not the log's next
    ├── RouteNotKept              503   the file of the routes cannot be written now
    ├── SwitchedOff               503   the settings have this part of the API switched off
    ├── StoreUnavailable          503   the database of the chat backend cannot do it now
    ├── StoreCorrupt              500   a stored row that does not open
    ├── ReaderFailed              503   the process that reads documents could not start, or was killed
    ├── IdentityUnavailable       503   the keys that tokens are checked with cannot be had now
    ├── BudgetExhausted           429   what the key or the user may spend in this period is spent
    ├── Interrupted               503   the server stopped, and the answer cannot be gone on with
    ├── ProducerFailed            500   the application's own generator raised
    ├── StreamLimit               500   a stream outgrew `max_stream_bytes`
    ├── StreamEnded               409   a write after the end
    ├── StreamReset               —     client side: the server replays from the start
    ├── StreamFailed              —     client side: the stream ended in `error`
    ├── ConnectionLost            —     client side: reconnects are used up
    ├── UnexpectedAnswer          500   client side: an answer that is not Headwater's
    └── FrameTooLarge             —     an SSE line or event above its bound

`http_status` is what an HTTP answer should carry, `code` is stable and for programs, `retryable` says whether
the same request may succeed later. Messages never hold a secret.
"""

from __future__ import annotations

from typing import ClassVar, Literal


class HeadwaterError(Exception):
    """Root of the tree. `message` is for people and safe to show to the caller."""

    http_status: int = 500
    code: ClassVar[str] = "internal_error"
    retryable: bool = False
    param: str | None = None
    retry_after_s: float | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigError(HeadwaterError):
    code = "bad_configuration"


class InputError(HeadwaterError):
    """The request is wrong. `param` names the field at fault where one is."""

    http_status = 400
    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnsupportedField(InputError):
    """Right for other providers, not for this one. `param` names the field or the part (`messages[0].content[1]`)."""

    code = "unsupported_parameter"


class UnknownModel(InputError):
    http_status = 404
    code = "model_not_found"


class UnknownRoute(InputError):
    http_status = 404
    code = "route_not_found"


class UnknownStream(InputError):
    http_status = 404
    code = "stream_not_found"


class UnknownItem(InputError):
    """`kind`: `workspace`, `thread`, `message`, `document`, `key` or `connection`. Another tenant's look the same.

    `message`: where a reference has its own words for it.
    """

    http_status = 404
    code = "not_found"

    def __init__(self, kind: str, *, param: str | None = None, message: str = "") -> None:
        super().__init__(message or f"no such {kind}", param=param or f"{kind}_id")
        self.kind = kind


class NameTaken(InputError):
    http_status = 409
    code = "name_taken"


class LimitReached(InputError):
    """`kind`: of what there are `most` already (`workspaces`, `threads`, `documents`)."""

    http_status = 409
    code = "limit_reached"

    def __init__(self, kind: str, most: int, *, message: str = "") -> None:
        super().__init__(message or f"there are {most} {kind} already")
        self.kind = kind
        self.most = most


class MethodNotAllowed(InputError):
    http_status = 405
    code = "method_not_allowed"


class StreamStillRunning(InputError):
    http_status = 409
    code = "stream_still_running"


class RouteFixed(InputError):
    http_status = 409
    code = "route_fixed"


class BodyTooLarge(InputError):
    http_status = 413
    code = "body_too_large"


RefusalReason = Literal[
    "unsupported_type",
    "too_large",
    "too_many_pages",
    "expands_too_much",
    "encrypted",
    "damaged",
    "timed_out",
    "no_text",
]


class DocumentRefused(InputError):
    """What a document's own bytes are to blame for; `reason` is for programs, and `message` follows the name of it."""

    http_status = 422
    code = "document_refused"

    def __init__(self, message: str, *, reason: RefusalReason, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.reason = reason
        self.http_status = {"unsupported_type": 415, "too_large": 413}.get(reason, self.http_status)


class IdempotencyMismatch(InputError):
    http_status = 422
    code = "idempotency_key_reused"


class AccessError(HeadwaterError):
    http_status = 401
    code = "invalid_api_key"


class OriginRefused(AccessError):
    http_status = 403
    code = "origin_refused"


class TokenRefused(AccessError):
    code = "invalid_token"


class ScopeMissing(AccessError):
    http_status = 403
    code = "insufficient_scope"


class OrganizationRefused(AccessError):
    http_status = 403
    code = "other_organization"


class AdminRequired(AccessError):
    http_status = 403
    code = "admin_required"


class Overloaded(HeadwaterError):
    """No room now. `retry_after_s` is a hint in seconds."""

    http_status = 503
    code = "overloaded"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Overloaded):
    http_status = 429
    code = "queue_full"


class RateLimited(Overloaded):
    """`code` is OpenAI's, so that its SDKs wait and come back."""

    http_status = 429
    code = "rate_limit_exceeded"


class QueueTimeout(Overloaded):
    code = "queue_timeout"


class TooManyConnections(Overloaded):
    code = "too_many_connections"


class ConnectionLimit(TooManyConnections):
    http_status = 429
    code = "connection_limit"


class ShuttingDown(Overloaded):
    code = "shutting_down"


class ProviderError(HeadwaterError):
    """The upstream failed. `provider` is the configured name, never an address with credentials."""

    http_status = 502
    code = "provider_error"
    retryable = True

    def __init__(self, message: str, *, provider: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.provider = provider
        self.retry_after_s = retry_after_s


class ProviderUnreachable(ProviderError):
    code = "provider_unreachable"


class ProviderRejected(ProviderError):
    """The upstream answered with an error, as an HTTP status or inside a 200.

    `http_status` keeps the upstream's own status, so that SDKs decide about retries as if they spoke to it.
    """

    code = "provider_rejected"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        provider: str = "",
        upstream_code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, provider=provider, retry_after_s=retry_after_s)
        self.http_status = status if 400 <= status <= 599 else 502
        self.retryable = self.http_status in (408, 409, 425, 429) or self.http_status >= 500
        self.upstream_code = upstream_code
        self.param = param


class ProviderTimeout(ProviderError):
    http_status = 504
    code = "provider_timeout"


class ProviderProtocolError(ProviderError):
    code = "provider_protocol_error"


class ProviderTruncated(ProviderError):
    code = "provider_truncated"


class LogError(HeadwaterError):
    http_status = 503
    code = "log_error"
    retryable = True


class LogUnavailable(LogError):
    code = "log_unavailable"


class LogInUse(LogError):
    code = "log_in_use"


class LogCorrupt(LogError):
    http_status = 500
    code = "log_corrupt"
    retryable = False


class SeqConflict(LogError):
    """`expected` was not the log's next seq, which is `actual` (-1: no such stream).

    `why` replaces the message where another fact refused the write: the stream has ended, its key is taken.
    """

    http_status = 409
    code = "seq_conflict"
    retryable = False

    def __init__(self, expected: int, actual: int, why: str = "") -> None:
        super().__init__(why or f"expected seq {expected}, but the log's next is {actual}")
        self.expected = expected
        self.actual = actual


class RouteNotKept(HeadwaterError):
    """A change of the routes that would be lost at the next start, and was not made."""

    http_status = 503
    code = "route_not_kept"
    retryable = True


class SwitchedOff(HeadwaterError):
    http_status = 503
    code = "switched_off"


class StoreUnavailable(HeadwaterError):
    http_status = 503
    code = "store_unavailable"
    retryable = True


class StoreCorrupt(HeadwaterError):
    """Damaged, another row's, or of a key that is not in the ring. `message` names table and row, never a text."""

    code = "store_corrupt"


class IdentityUnavailable(HeadwaterError):
    http_status = 503
    code = "identity_unavailable"
    retryable = True


class BudgetExhausted(HeadwaterError):
    """`retry_after_s`: until the period ends; None for a budget without periods. `code` is OpenAI's."""

    http_status = 429
    code = "insufficient_quota"

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ReaderFailed(HeadwaterError):
    """Not the document's fault, as far as can be known."""

    http_status = 503
    code = "reader_failed"
    retryable = True


class Interrupted(HeadwaterError):
    http_status = 503
    code = "interrupted"
    retryable = True


class ProducerFailed(HeadwaterError):
    code = "producer_failed"


class StreamLimit(HeadwaterError):
    code = "stream_too_large"


class StreamEnded(HeadwaterError):
    http_status = 409
    code = "stream_ended"


class StreamReset(HeadwaterError):
    """The server does not know the cursor and replays from the start. `reason` is the server's."""

    code = "stream_reset"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the server replays the stream from its start: {reason}")
        self.reason = reason


class StreamFailed(HeadwaterError):
    """The stream ended in `error`; `reason` is that event's."""

    code = "stream_failed"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConnectionLost(HeadwaterError):
    code = "connection_lost"
    retryable = True


class UnexpectedAnswer(HeadwaterError):
    """HTML, another API's JSON, or an error status whose body names no code; `http_status` keeps an error status."""

    code = "unexpected_answer"

    def __init__(self, message: str, *, status: int = 500) -> None:
        super().__init__(message)
        self.http_status = status if 400 <= status <= 599 else 500
        self.retryable = self.http_status in (408, 425, 429, 502, 503, 504)


class FrameTooLarge(HeadwaterError):
    code = "frame_too_large"
