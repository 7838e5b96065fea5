"""The sans-IO decoder of OpenAI's Responses API: body bytes in, canonical events out.

The event of a response's end (`completed`, `incomplete`, `failed`, `cancelled`) makes the answer whole; a body that
ends before it is truncated, `[DONE]` or not. Events of kinds that are not known are passed over. Any chunking of the
bytes gives the same events. It must not know of HTTP or of sockets.

An answer that is re-attached to goes on exactly where the stream ends, in one of three ways: from the event after the
last one decoded; from the first event, with all up to that one decoded for what they mean but not told; or, where
nobody knows the last one (a crash), from the first event without the text that the stream holds.
"""

from __future__ import annotations

import msgspec

from ...errors import ProviderProtocolError, ProviderTruncated
from ...events import Done, Event, FinishReason, JsonObject
from ..ports import Held
from .lenient import decode_lenient, excerpt, is_json
from .rejections import is_error_object, rejection_in_band
from .responses_answer import DELTAS, ResponseAnswer
from .sse_or_json import SseOrJson

_DONE = b"[DONE]"
# The field whose text may be cut anywhere, also inside a character.
_PIECES = frozenset({"delta"})
_OURS = ("response.", "error")
_UNDER_WAY = frozenset({"queued", "in_progress"})
_OVER = frozenset({"completed", "incomplete", "failed", "cancelled"})


class _Event(msgspec.Struct, gc=False):
    """What events with a piece of text have; all others are decoded again, for what only they have."""

    type: str = ""
    sequence_number: int | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: object = None
    logprobs: object = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_any = msgspec.json.Decoder().decode


class ResponsesDecoder:
    """See `ports.Decoder`. Understands the SSE stream and, where a server ignores `stream`, the whole `response`.

    `position` is the `sequence_number` of the last event of which the stream holds everything; None before the first.
    `held`: what the stream has of an answer that is re-attached to.
    """

    __slots__ = ("_answer", "_body", "_ended", "_held", "_secret", "_until", "position")

    def __init__(self, *, secret: str = "", held: Held | None = None) -> None:
        self.position = held.position if held is not None else None
        self._secret = secret
        self._held = held
        self._body = SseOrJson()
        self._ended = False
        self._until = -1
        if held is None:
            self._answer = ResponseAnswer(secret=secret)
        elif held.position is None:
            self._answer = ResponseAnswer(secret=secret, known=held.facts, skip=len(held.text))
        elif held.resumable:
            self._answer = ResponseAnswer(secret=secret, known=held.facts, earlier=held.text)
        else:
            self._answer = ResponseAnswer(secret=secret, known=held.facts)
            self._until = held.position

    @property
    def pending(self) -> list[Event]:
        return self._answer.events

    def feed(self, data: bytes) -> list[Event]:
        answer = self._answer
        for payload in self._body.payloads(data):
            if self._ended:
                break
            try:
                event = _decode_event(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._undecoded(payload)
                continue
            found = DELTAS.get(event.type)
            delta = event.delta
            if found is None or type(delta) is not str:
                self._other(payload)
                continue
            inner = event.summary_index if found[1] == "summary_index" else event.content_index
            mark = len(answer.events)
            answer.delta((found[0], event.output_index, inner), delta, event.logprobs)
            self._reached(event.sequence_number, mark)
        return self._take()

    def close(self) -> list[Event]:
        if not self._ended and self._body.whole is not None:
            self._close_whole(bytes(self._body.whole))
        if not self._ended:
            raise ProviderTruncated("the provider's answer ended before it was finished")
        return self._take()

    def _take(self) -> list[Event]:
        events = self._answer.events
        if not events:
            return []  # not the list that is filled next
        self._answer.events = []
        return events

    def _reached(self, number: int | None, mark: int) -> None:
        """An event was decoded. What it told (from `mark` on) is dropped where the stream holds it already."""
        if number is None:
            return
        if number <= self._until:
            del self._answer.events[mark:]
        elif not self._answer.skip:
            self.position = number

    def _undecoded(self, payload: bytes) -> None:
        """A payload that is no strict event: the end mark, nothing at all, or what the lenient decoder must read."""
        text = payload.strip()
        if text == _DONE:
            raise ProviderTruncated("the provider's answer ended before it was finished")
        if text:
            self._answer.strict = False
            self._event(decode_lenient(payload, pieces=_PIECES), payload)

    def _other(self, payload: bytes) -> None:
        """An event without a piece of text, in full."""
        try:
            value = _decode_any(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = decode_lenient(payload)
        self._event(value, payload)

    def _event(self, value: object, payload: bytes) -> None:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(kind, str) or not kind.startswith(_OURS):
            self._stranger(value, kind, payload)
            return
        answer, mark = self._answer, len(self._answer.events)
        found, delta = DELTAS.get(kind), value.get("delta")
        if found is not None and isinstance(delta, str):
            output, inner = value.get("output_index"), value.get(found[1])
            place = (found[0], output if isinstance(output, int) else 0, inner if isinstance(inner, int) else 0)
            answer.delta(place, delta, value.get("logprobs"))
        else:
            answer.event(kind, value)
        number = value.get("sequence_number")
        self._reached(number if isinstance(number, int) else None, mark)
        if answer.reason is not None:
            self._finish(answer.reason)

    def _stranger(self, value: object, kind: object, payload: bytes) -> None:
        """JSON that is no event of a response: an error, something that other servers send between, or nonsense."""
        if is_error_object(value):
            raise rejection_in_band(value, secret=self._secret)
        if not isinstance(kind, str):
            raise ProviderProtocolError(f"the provider sent JSON that is no event: {excerpt(payload)}")

    def _close_whole(self, body: bytes) -> None:
        """A `response` object instead of a stream."""
        if not is_json(body):
            raise ProviderTruncated("the provider's answer ended before it was finished")
        value = decode_lenient(body)
        if not isinstance(value, dict) or value.get("object") != "response":
            if is_error_object(value):
                raise rejection_in_band(value, secret=self._secret)
            raise ProviderProtocolError(f"the provider sent JSON that is no response: {excerpt(body)}")
        self._whole(value)

    def _whole(self, response: JsonObject) -> None:
        held = self._held
        if held is not None:
            if not held.resumable:
                raise ProviderProtocolError("the provider answered with one object instead of the rest of a stream")
            self._answer = ResponseAnswer(secret=self._secret, known=held.facts, skip=len(held.text))
        self._answer.event("response.created", {"response": response})
        status = response.get("status")
        if status in _UNDER_WAY:
            raise ProviderTruncated("the provider answered with a response that is still under way")
        if not isinstance(status, str) or status not in _OVER:
            raise ProviderProtocolError("the provider answered with a response of an unknown status")
        self._finish(self._answer.end(response, status))

    def _finish(self, reason: FinishReason) -> None:
        answer = self._answer
        self._ended = True
        if answer.usage is not None:
            answer.events.append(answer.usage)
        answer.events.append(Done(reason))
