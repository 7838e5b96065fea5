"""Server-Sent Events as pure bytes: an encoder whose frames cannot be broken, and two incremental parsers.

The format is the WHATWG standard's (https://html.spec.whatwg.org/multipage/server-sent-events.html, sections 9.2.5
and 9.2.6). `Parser` is what a browser's EventSource does; `DataParser` yields only the `data` payloads, as bytes,
for provider decoders on the event path. Invariant: any chunking of the same bytes gives the same result.

This module must not know of cursors, events, dialects or HTTP; it does no I/O and reads no clock.
"""

from __future__ import annotations

import msgspec

from .errors import FrameTooLarge

# A security limit: without it a peer that never ends a line, or never ends an event, takes all memory. 8 MiB holds
# the largest single frames seen in practice (an image as base64 in one chunk) with room to spare.
MAX_FRAME_BYTES = 8 * 2**20

_BOM = b"\xef\xbb\xbf"
# As integers: `10 in data` is one memchr, a third of the cost of `b"\n" in data`.
_NUL, _LF, _CR = b"\0\n\r"
# Longer numbers are not a time any more, and int() of long text is slow (CVE-2020-10735).
_MAX_RETRY_DIGITS = 15


def frame(data: bytes, *, event: bytes | None = None, id: bytes | None = None) -> bytes:
    r"""One event, ended by its blank line: `event:` and `id:` where given, then `data:`.

    Line breaks (CR, LF, CRLF) in `data` begin another `data:` line, so a payload can never end its frame or forge
    a field (CWE-93); a receiver joins the lines with LF, so only LF survives unchanged. Raises `ValueError` for CR,
    LF or NUL in `event` or `id`, which have no such form.
    """
    if _LF in data or _CR in data:
        data = b"\ndata: ".join(_lines_of(data))
    if event is not None and (_LF in event or _CR in event or _NUL in event):
        raise ValueError("CR, LF or NUL in an SSE event name")
    if id is None:
        return b"data: %b\n\n" % data if event is None else b"event: %b\ndata: %b\n\n" % (event, data)
    if _LF in id or _CR in id or _NUL in id:
        raise ValueError("CR, LF or NUL in an SSE id")
    if event is None:
        return b"id: %b\ndata: %b\n\n" % (id, data)
    return b"".join((b"event: ", event, b"\nid: ", id, b"\ndata: ", data, b"\n\n"))


def comment(text: bytes) -> bytes:
    """A comment, which receivers ignore; line breaks in `text` begin another comment line."""
    return b": %b\n\n" % b"\n: ".join(_lines_of(text))


def retry(ms: int) -> bytes:
    """Tells receivers to wait `ms` milliseconds before they reconnect. Raises `ValueError` below 0."""
    if ms < 0:
        raise ValueError("a reconnection time is not negative")
    return b"retry: %d\n\n" % ms


def _lines_of(text: bytes) -> list[bytes]:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


class Message(msgspec.Struct, frozen=True):
    """A dispatched event.

    `event` is `message` where the stream named none. `id` is the last event id, which stays in force for events
    that carry none. `retry_ms` is the reconnection time that came with this very event.
    """

    event: str
    data: str
    id: str
    retry_ms: int | None = None


class _Lines:
    """Bytes of one body as they arrive → its lines. The partial line is a bytearray, so that tiny reads stay linear."""

    __slots__ = ("_after_cr", "_head", "_max_bytes", "partial")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._head: bytes | None = b""  # what may be the start of a byte order mark; None once that is decided
        self._after_cr = False
        self.partial = bytearray()

    def normalise(self, data: bytes) -> bytes:
        """The same bytes with LF as the only line break and without the body's byte order mark."""
        if self._head is not None:
            data = self._head + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._head = data
                return b""
            self._head = None
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if _CR in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def split(self, data: bytes) -> list[bytes]:
        """The lines that these normalised bytes complete, without their LF. Raises `FrameTooLarge`."""
        lines = data.split(b"\n")
        last = lines.pop()
        if lines and self.partial:
            lines[0] = bytes(self.partial) + lines[0]
            self.partial.clear()
        self.partial += last
        if len(self.partial) > self._max_bytes or (lines and len(max(lines, key=len)) > self._max_bytes):
            raise FrameTooLarge(f"an SSE line is longer than {self._max_bytes} bytes")
        return lines


class Parser:
    """What a browser's EventSource dispatches, from bytes in any chunking.

    Feed the body's bytes in order, call `close` where the body ends; the next `feed` then begins another body, for
    which `last_event_id` and `retry_ms` stay in force, as they do for an EventSource that reconnects. After
    `FrameTooLarge` the parser must not be used further, and messages completed in that same call are lost: the
    caller drops the connection and resumes after `last_event_id` of the messages that it has.
    `max_line_bytes` and `max_event_bytes` (the data of one event) are security limits.
    """

    __slots__ = ("_data", "_event", "_id", "_lines", "_max_event_bytes", "_max_line_bytes", "_retry_ms", "_size",
                 "comments", "last_event_id", "retry_ms")  # fmt: skip

    def __init__(self, *, max_line_bytes: int = MAX_FRAME_BYTES, max_event_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._max_event_bytes = max_event_bytes
        self.comments = 0
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self.close()

    def close(self) -> None:
        """The body ended: an event that no blank line ended is dropped."""
        self._lines = _Lines(self._max_line_bytes)
        self._id = self.last_event_id
        self._clear()

    def _clear(self) -> None:
        self._data: list[bytes] = []
        self._size = 0
        self._event = b""
        self._retry_ms: int | None = None

    def feed(self, data: bytes) -> list[Message]:
        """Messages that these bytes complete. Raises `FrameTooLarge`."""
        messages: list[Message] = []
        for line in self._lines.split(self._lines.normalise(data)):
            if not line:
                self._dispatch(messages)
            elif line.startswith(b":"):
                self.comments += 1
            else:
                self._field(line)
        return messages

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            _check_event(self._size, self._max_event_bytes)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self.retry_ms = self._retry_ms = int(value)

    def _dispatch(self, messages: list[Message]) -> None:
        self.last_event_id = self._id
        if self._data:
            data = b"\n".join(self._data).decode(errors="replace")
            event = self._event.decode(errors="replace") or "message"
            messages.append(Message(event, data, self._id, self._retry_ms))
        self._clear()


class DataParser:
    """The `data` payloads of complete events as raw bytes; names, ids and `retry` are passed over.

    For provider decoders: it yields exactly the data of the messages that `Parser` does, not decoded, at a fraction
    of the cost, because a read of whole `data: …` frames with nothing else in them is only split at blank lines.
    Limits and obligations are those of `Parser`.
    """

    __slots__ = ("_data", "_fast_bytes", "_lines", "_max_event_bytes", "_max_line_bytes", "_open", "_size", "comments")

    def __init__(self, *, max_line_bytes: int = MAX_FRAME_BYTES, max_event_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._max_event_bytes = max_event_bytes
        # No line and no event within so few bytes can break a limit, so that they need not be checked one by one.
        self._fast_bytes = min(max_line_bytes, max_event_bytes)
        self.comments = 0
        self.close()

    def close(self) -> None:
        """The body ended: an event that no blank line ended is dropped (ask `unterminated` before)."""
        self._lines = _Lines(self._max_line_bytes)
        self._data: list[bytes] = []
        self._size = 0
        self._open = False

    @property
    def unterminated(self) -> bool:
        """Whether an incomplete line, or fields that no blank line has ended yet, were received."""
        return self._open or bool(self._lines.partial)

    def feed(self, data: bytes) -> list[bytes]:
        """Payloads of the events that these bytes complete. Raises `FrameTooLarge`."""
        payloads: list[bytes] = []
        data = self._lines.normalise(data)
        if self._open or self._lines.partial:
            end = self._event_end(data)
            self._lines_in(self._lines.split(data[:end]), payloads)
            data = data[end:]
        if len(data) <= self._fast_bytes:
            *blocks, data = data.split(b"\n\n")
            for block in blocks:
                end = block.find(_LF)
                if end < 0 and block.startswith(b"data: "):
                    payloads.append(block[6:])
                elif (
                    block.startswith(b"event: ")
                    and block.startswith(b"data: ", end + 1)
                    and block.find(_LF, end + 1) < 0
                ):
                    payloads.append(block[end + 7 :])
                else:
                    self._lines_in((block + b"\n").split(b"\n"), payloads)
        if data:
            self._lines_in(self._lines.split(data), payloads)
        return payloads

    def _event_end(self, data: bytes) -> int:
        """Where in `data` the event under way ends; its length where it does not."""
        if not self._lines.partial and data.startswith(b"\n"):
            return 1
        blank = data.find(b"\n\n")
        return len(data) if blank < 0 else blank + 2

    def _lines_in(self, lines: list[bytes], payloads: list[bytes]) -> None:
        for line in lines:
            if not line:
                if self._data:
                    payloads.append(b"\n".join(self._data))
                    self._data = []
                    self._size = 0
                self._open = False
            elif line.startswith(b":"):
                self.comments += 1
            else:
                self._open = True
                name, _, value = line.partition(b":")
                if name == b"data":
                    value = value.removeprefix(b" ")
                    self._data.append(value)
                    self._size += len(value) + 1
                    _check_event(self._size, self._max_event_bytes)


def _check_event(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise FrameTooLarge(f"the data of an SSE event is longer than {max_bytes} bytes")
