"""One viewer: an HTTP/1.1 client on a bare protocol that checks every token and cursor it receives.

It undoes the chunked coding and looks for marks (tokens, cursors), never at frames, so that it costs a few
microseconds a read. Some viewers keep their bytes: `transcript_fault` reads those afterwards as an SSE client would.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from array import array
from collections.abc import Callable
from typing import TypeAlias, cast

from .workload import FILLER, MARKS, TOKEN

_COMPLETION_TOKENS = re.compile(rb'"completion_tokens":\s*(\d+)')
_END = b"\r\n0\r\n\r\n"  # of a chunked body
_STREAM_ID = re.compile(rb"\r\nx-stream-id: *([^\r]+)", re.IGNORECASE)


class Window:
    """What all viewers of a swarm received since the last `clear`. Latencies are in microseconds."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.tokens = 0
        self.reads = 0
        self.bytes = 0
        self.heartbeats = 0
        self.latencies_us = array("q")


class Answer:
    """One response as far as it came. It was whole when `lost`, `repeated` and `fault` are all false at its end.

    `lost` and `repeated` count tokens against their own numbers and against the usage at the end; `fault` names
    anything else: a status, an error frame, a cursor that did not grow, a missing usage, `[DONE]` or end of body.
    """

    __slots__ = (
        "bytes",
        "claimed",
        "cursor",
        "done",
        "ended_us",
        "fault",
        "first_us",
        "frames",
        "lost",
        "needs_usage",
        "next_token",
        "on_end",
        "on_first",
        "repeated",
        "sent_us",
        "stream",
    )

    def __init__(self, on_first: Reaction | None, on_end: Reaction | None, *, needs_usage: bool) -> None:
        self.on_first = on_first
        self.on_end = on_end
        self.needs_usage = needs_usage
        self.stream = ""
        self.cursor = (0, -1)
        self.claimed = -1
        self.done = False
        self.fault = ""
        self.next_token = 0
        self.lost = 0
        self.repeated = 0
        self.frames = 0
        self.bytes = 0
        self.sent_us = 0
        self.first_us = 0
        self.ended_us = 0

    def settle(self) -> None:
        """The body is over: what should have come by now is missing for good."""
        if self.claimed >= 0:
            self.lost += max(0, self.claimed - self.next_token)
        if not self.fault and not self.done:
            self.fault = "no [DONE]"
        if not self.fault and self.claimed != self.next_token and (self.needs_usage or self.claimed >= 0):
            self.fault = f"usage says {self.claimed} tokens, the last was number {self.next_token - 1}"


Reaction: TypeAlias = Callable[[Answer], None]


class Viewer(asyncio.Protocol):
    """One connection; one answer at a time. `on_first` is called at a first token, `on_end` when no more will come."""

    __slots__ = ("_body_ended", "_chunks", "_frame", "_in_body", "_pieces", "_transport", "_window", "answer", "kept")

    def __init__(self, window: Window, *, keep: bool = False, check_at_end: bool = False) -> None:
        """`keep` for `transcript_fault`; `check_at_end` where the checks would be a part of the time measured."""
        self._window = window
        self._transport: asyncio.Transport | None = None
        self._chunks = b""  # bytes that do not complete a chunk yet
        self._frame = b""  # text that does not complete a frame yet
        self._in_body = False
        self._body_ended = False
        self.answer: Answer | None = None
        self._pieces: list[bytes] | None = [] if check_at_end else None
        self.kept: list[bytes] | None = [] if keep else None

    def request(
        self,
        data: bytes,
        *,
        on_first: Reaction | None = None,
        on_end: Reaction | None = None,
        needs_usage: bool = True,
    ) -> None:
        """Send a whole request; the connection must be `usable`."""
        assert self._transport is not None
        assert self.answer is None
        self._chunks = self._frame = b""
        self._in_body = self._body_ended = False
        self.answer = Answer(on_first, on_end, needs_usage=needs_usage)
        self.answer.sent_us = time.monotonic_ns() // 1000
        self._transport.write(data)

    @property
    def usable(self) -> bool:
        """Connected and idle."""
        return self._transport is not None and not self._transport.is_closing() and self.answer is None

    def close(self) -> None:
        """Cut the connection without a word; the answer under way is given up, not counted as a fault."""
        self.answer = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports implement the interface without inheriting from it.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.answer is not None:
            self.answer.fault = self.answer.fault or f"connection lost after {self.answer.next_token} tokens"
            self._end(self.answer)

    def data_received(self, data: bytes) -> None:
        now_us = time.monotonic_ns() // 1000
        answer = self.answer
        if answer is None:
            return
        self._window.reads += 1
        self._window.bytes += len(data)
        answer.bytes += len(data)
        if self._pieces is not None:
            self._pieces.append(data)
            if not b"".join(self._pieces[-len(_END) :]).endswith(_END):
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
        if self._chunks:
            data = self._chunks + data
            self._chunks = b""
        if not self._in_body:
            data = self._read_head(answer, data)
        body = self._dechunk(data) if self._in_body else b""
        if body:
            self._check(answer, body, now_us)
        if self._body_ended:
            answer.ended_us = now_us
            self._end(answer)

    def _read_head(self, answer: Answer, data: bytes) -> bytes:
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            self._chunks = data
            return b""
        if head.startswith(b"HTTP/1.1 200") and b"chunked" in head.lower():
            found = _STREAM_ID.search(head)
            answer.stream = found.group(1).decode() if found else ""
            self._in_body = True
        else:
            answer.fault = f"{head[:40].decode('latin-1')!r} {rest[:200].decode('latin-1')!r}"
            self._body_ended = True
            if self._transport is not None:
                self._transport.abort()
        return rest

    def _dechunk(self, data: bytes) -> bytes:
        """The payload of the whole chunks in `data`; the rest waits."""
        parts = []
        start = 0
        while (line_end := data.find(b"\r\n", start)) >= 0:
            size = int(data[start:line_end], 16)
            end = line_end + 2 + size
            if len(data) < end + 2:
                break
            parts.append(data[line_end + 2 : end])
            start = end + 2
            if size == 0:
                self._body_ended = True
                break
        self._chunks = data[start:]
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def _check(self, answer: Answer, body: bytes, now_us: int) -> None:
        if self.kept is not None:
            self.kept.append(body)
        if self._frame:
            body = self._frame + body
        end = body.rfind(b"\n\n") + 2
        if end != len(body):
            self._frame = body[end:] if end > 1 else body
            body = body[:end] if end > 1 else b""
        else:
            self._frame = b""
        answer.frames += body.count(b"\n\n")
        self._check_marks(answer, body, now_us)
        if b'"error":{' in body and not answer.fault:
            answer.fault = f"error frame {body[:300]!r}"
        found = _COMPLETION_TOKENS.search(body) if b'"completion_tokens"' in body else None
        if found:
            answer.claimed = int(found.group(1))
        if b"[DONE]" in body or b"event: done\n" in body:
            answer.done = True
        if b": hb\n" in body:
            self._window.heartbeats += body.count(b": hb\n")

    def _check_marks(self, answer: Answer, body: bytes, now_us: int) -> None:
        note = self._window.latencies_us.append
        marks = MARKS.findall(body)
        for epoch, cursor_seq, number, sent_us in marks:
            if not number:
                cursor = (int(epoch), int(cursor_seq))
                if cursor <= answer.cursor:
                    answer.fault = answer.fault or f"cursor {cursor} after {answer.cursor}"
                answer.cursor = cursor
                continue
            note(now_us - int(sent_us))
            self._window.tokens += 1
            seq = int(number)
            if seq < answer.next_token:
                answer.repeated += 1
                continue
            answer.lost += seq - answer.next_token
            answer.next_token = seq + 1
        if not answer.first_us and answer.next_token:
            answer.first_us = now_us
            if answer.on_first is not None:
                answer.on_first(answer)

    def _end(self, answer: Answer) -> None:
        answer.settle()
        self.answer = None
        if answer.on_end is not None:
            answer.on_end(answer)


def transcript_fault(body: bytes) -> str:
    """Why a whole OpenAI-dialect body is not what a client library needs; empty where it is."""
    text = ""
    frames = [frame for frame in body.split(b"\n\n") if frame and not frame.startswith(b":")]
    for frame in frames:
        data = [line[6:] for line in frame.split(b"\n") if line.startswith(b"data: ")]
        if len(data) != 1:
            return f"a frame with {len(data)} data lines: {frame[:200]!r}"
        if data[0] == b"[DONE]":
            continue
        try:
            chunk = json.loads(data[0])
            text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            return f"{type(exc).__name__} {exc} in {data[0][:200]!r}"
    text = text.replace(FILLER, "")
    numbers = [int(number) for number, _ in TOKEN.findall(text.encode())]
    if numbers != list(range(len(numbers))) or len(text) != 24 * len(numbers):
        return f"the text is not the tokens 0…{len(numbers) - 1}"
    return "" if body.endswith(b"data: [DONE]\n\n") else "the body does not end with [DONE]"
