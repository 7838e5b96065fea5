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
_DIGITS = frozenset(b"0123456789")
# Longer numbers are not a time any more, and int() of long text is slow (CVE-2020-10735).
_MAX_RETRY_DIGITS = 15


def frame(data: bytes, *, event: bytes | None = None, id: bytes | None = None) -> bytes:
    r"""One event, ended by its blank line: `event:` and `id:` where given, then `data:`.

    Line breaks (CR, LF, CRLF) in `data` begin another `data:` line, so a payload can never end its frame or forge
    a field (CWE-93); a receiver joins the lines with LF, so only LF survives unchanged. Raises `ValueError` for CR,
    LF or NUL in `event` or `id`, which have no such form.
    """
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_lines_of(data))
    if id is None:
        head = b"" if event is None else b"event: %b\n" % _checked(event)
    elif event is None:
        head = b"id: %b\n" % _checked(id)
    else:
        head = b"event: %b\nid: %b\n" % (_checked(event), _checked(id))
    return b"%bdata: %b\n\n" % (head, data)


def comment(text: bytes) -> bytes:
    """A comment, which receivers ignore; line breaks in `text` begin another comment line."""
    return b": %b\n\n" % b"\n: ".join(_lines_of(text))


def retry(ms: int) -> bytes:
    """Tells receivers to wait `ms` milliseconds before they reconnect. Raises `ValueError` below 0."""
    if ms < 0:
        raise ValueError("a reconnection time is not negative")
    return b"retry: %d\n\n" % ms


def _checked(value: bytes) -> bytes:
    if b"\n" in value or b"\r" in value or b"\0" in value:
        raise ValueError("CR, LF or NUL in a one-line SSE field")
    return value


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


class _LineFeed:
    """Bytes as they arrive → the same bytes with LF as the only line break and without the byte order mark."""

    __slots__ = ("_after_cr", "_start")

    def __init__(self) -> None:
        self._start: bytes | None = b""  # what may become a BOM; None once that is decided
        self._after_cr = False

    @property
    def holds_bytes(self) -> bool:
        return bool(self._start)

    def feed(self, data: bytes) -> bytes:
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return b""
            self._start = None
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data


class _Lines:
    """LF-only bytes → complete lines. The partial line is a bytearray, so tiny reads stay linear."""

    __slots__ = ("_max_bytes", "partial")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.partial = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Complete lines without their LF; what follows the last LF stays in `partial`. A line above the bound
        stays there too, for `check` to refuse once the lines before it are dealt with."""
        first, *others = data.split(b"\n")
        self.partial += first
        if not others:
            return []
        lines = [bytes(self.partial), *others]
        self.partial = bytearray(lines.pop())
        return lines
