"""The sans-IO decoder of an OpenAI chat completion: body bytes in, canonical events out.

Invariants: any chunking of the bytes gives the same events; `Usage` and `Done` come last. It must not know of HTTP or
of sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import msgspec

from ...errors import ProviderProtocolError, ProviderTruncated
from ...events import Event, Text
from .lenient import decode_lenient, excerpt, is_json
from .openai_answer import OpenAIAnswer
from .openai_shapes import (
    Chunk,
    FirstChunk,
    GroqChunk,
    decode_chunk,
    decode_first_chunk,
    decode_groq_chunk,
)
from .rejections import is_error_object, rejection_in_band
from .repeated_frame import RepeatedFrame
from .sse_or_json import SseOrJson

_DONE = b"[DONE]"
_FRAME = b"data: \n\n"
# Fields whose text may be cut anywhere, also inside a character.
_PIECES = frozenset({"content", "reasoning_content", "reasoning", "refusal", "arguments", "text", "thinking"})


class OpenAIDecoder:
    """See `ports.Decoder`. Understands the SSE stream and, where a server ignores `stream`, the whole JSON answer."""

    __slots__ = (
        "_answer",
        "_between_frames",
        "_body",
        "_decode",
        "_ended",
        "_repeated",
        "_secret",
    )

    def __init__(self, *, secret: str = "") -> None:
        self._secret = secret
        self._answer = OpenAIAnswer()
        self._body = SseOrJson()
        self._repeated = RepeatedFrame()
        self._between_frames = True
        self._decode: Callable[[bytes], Chunk] = decode_first_chunk
        self._ended = False

    @property
    def pending(self) -> list[Event]:
        return self._answer.events

    def feed(self, data: bytes) -> list[Event]:
        if self._between_frames and (text := self._repeated.text_of(data)) is not None:
            return [text] if text.text else []
        payloads = self._body.payloads(data)
        answer = self._answer
        chunk = None
        for payload in payloads:
            if self._ended:
                break
            try:
                chunk = self._decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._undecoded(payload)
                continue
            choices = chunk.choices
            if type(choices) is not list or chunk.usage is not None or chunk.error is not None:
                self._besides(chunk, payload)
            if type(chunk) is not Chunk:
                self._special(chunk)
            for choice in choices or ():
                answer.choice(choice)
        self._between_frames = not self._body.sse.unterminated
        if chunk is not None and len(payloads) == 1 and self._repeated.learning:
            self._learn(data, payloads[0], chunk)
        return self._take()

    def _learn(self, data: bytes, payload: bytes, chunk: Chunk) -> None:
        """Remember a read that was one frame and meant one plain text."""
        events, choices = self._answer.events, chunk.choices
        if (
            type(chunk) is not FirstChunk
            and chunk.usage is None
            and isinstance(choices, list)
            and len(choices) == 1
            and choices[0].finish_reason is None
            and len(events) == 1
            and type(text := events[0]) is Text
            and text.logprobs is None
            and not text.refusal
            and len(data) == len(payload) + len(_FRAME)
        ):
            self._repeated.learn(data, text)

    def _take(self) -> list[Event]:
        events = self._answer.events
        if events:
            self._answer.events = []
        return events

    def close(self) -> list[Event]:
        if self._ended:
            return []
        if self._body.whole is not None:
            self._close_whole(bytes(self._body.whole))
        self._finish()
        return self._take()

    def _finish(self) -> None:
        self._answer.finish()
        self._ended = True
        self._repeated.forget()

    def _close_whole(self, body: bytes) -> None:
        """A `chat.completion` object: the answer of a server that ignored `stream`."""
        if not is_json(body):
            raise ProviderTruncated("the provider's answer ended before it was finished")
        try:
            chunk = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            chunk = self._salvage(body)
        self._chunk(chunk, body)

    def _undecoded(self, payload: bytes) -> None:
        """A payload that is no strict chunk: the end mark, nothing at all, or what the lenient decoder must read."""
        text = payload.strip()
        if text == _DONE:
            self._finish()
        elif text:
            self._chunk(self._salvage(payload), payload)

    def _salvage(self, payload: bytes) -> Chunk:
        value = decode_lenient(payload, pieces=_PIECES)
        if is_error_object(value):
            raise rejection_in_band(value, secret=self._secret)
        self._answer.strict = False
        self._repeated.forget()
        try:
            return msgspec.convert(value, _KINDS[self._decode])
        except msgspec.ValidationError as exc:
            raise ProviderProtocolError(f"the provider sent what is no chunk ({exc}): {excerpt(payload)}") from exc

    def _chunk(self, chunk: Chunk, payload: bytes) -> None:
        """What `feed` does in line for chunks of the strict decoder."""
        self._besides(chunk, payload)
        if type(chunk) is not Chunk:
            self._special(chunk)
        for choice in chunk.choices or ():
            self._answer.choice(choice)

    def _besides(self, chunk: Chunk, payload: bytes) -> None:
        """What a chunk has besides choices: an error, usage (the last one wins), or nothing that it should have."""
        if chunk.error:
            self._fail(chunk, chunk.error)
        if chunk.usage is not None:
            self._answer.usage = chunk.usage
            if chunk.timings:
                self._answer.facts = {"timings": chunk.timings}
        elif chunk.choices is msgspec.UNSET:
            value = decode_lenient(payload)
            if is_error_object(value):
                raise rejection_in_band(value, secret=self._secret)
            raise ProviderProtocolError(f"the provider sent JSON that is no chunk: {excerpt(payload)}")

    def _fail(self, chunk: Chunk, error: object) -> NoReturn:
        """Tell what the chunk still holds of the answer, then its error."""
        for choice in chunk.choices or ():
            choice.finish_reason = None
            self._answer.choice(choice)
        raise rejection_in_band(error, secret=self._secret)

    def _special(self, chunk: Chunk) -> None:
        """What only the first chunk, and Groq's, can hold besides."""
        facts = chunk.x_groq if isinstance(chunk, FirstChunk | GroqChunk) else None
        if isinstance(chunk, FirstChunk) and self._answer.first(chunk):
            self._decode = decode_chunk if facts is None else decode_groq_chunk
        if isinstance(facts, dict):
            if self._answer.usage is None:
                self._answer.usage = facts.get("usage")
            if error := facts.get("error"):
                self._fail(chunk, error)


_KINDS: dict[Callable[[bytes], Chunk], type[Chunk]] = {
    decode_first_chunk: FirstChunk,
    decode_chunk: Chunk,
    decode_groq_chunk: GroqChunk,
}
