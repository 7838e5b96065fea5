r"""Recordings: one upstream answer as it arrived, byte for byte with its times, in a file of JSON lines.

The first line is the header, every other one a read of the socket::

    {"version":1,"protocol":"openai_chat","status":200,"headers":{},"content_type":"text/event-stream"}
    {"t_ms":312,"data":"data: {\"choices\":[…]}\n\n"}
    {"t_ms":340,"b64":"ZGF0YTog…"}

`t_ms` counts from the response head and never falls; `data` is UTF-8 text, `b64` is for bytes that are not. `protocol`
names a wire protocol. `cut` in the header means that the connection broke after the last read. For people only:
`model`, `recorded_at` (a date), `note`, and `request`, the body that was asked with. Pure.
"""

from __future__ import annotations

import base64

import msgspec

from ..errors import ProviderProtocolError
from ..events import JsonObject

VERSION = 1
# A security limit: recordings are held in memory while they play.
MAX_BYTES = 64 * 2**20


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """`headers` are the response's, with lower-case names and without the content type."""

    version: int
    protocol: str
    model: str = ""
    recorded_at: str = ""
    note: str = ""
    status: int = 200
    headers: dict[str, str] = {}
    content_type: str = ""
    cut: bool = False
    request: JsonObject | None = None


class _Line(msgspec.Struct, omit_defaults=True):
    t_ms: float
    data: str | None = None
    b64: str | None = None


class Read(msgspec.Struct, frozen=True):
    """One read: milliseconds since the response head, and its bytes."""

    t_ms: float
    data: bytes


class Recording(msgspec.Struct, frozen=True):
    header: Header
    reads: list[Read]


_decode_header = msgspec.json.Decoder(Header).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


def encode_recording(recording: Recording) -> bytes:
    """The file's content; `parse_recording` is the inverse."""
    lines = [_encode(recording.header), *(_encode(_line(read)) for read in recording.reads)]
    return b"\n".join(lines) + b"\n"


def _line(read: Read) -> _Line:
    try:
        return _Line(read.t_ms, data=read.data.decode())
    except UnicodeDecodeError:
        return _Line(read.t_ms, b64=base64.b64encode(read.data).decode())


def parse_recording(content: bytes, *, name: str) -> Recording:
    """Raises `ProviderProtocolError` that says which line of which recording is wrong."""
    lines = content.splitlines()
    try:
        header = _decode_header(lines[0] if lines else b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _invalid(name, 1, f"the header: {exc}") from exc
    if header.version != VERSION:
        raise _invalid(name, 1, f"version {header.version} is not known to this release")
    reads: list[Read] = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            reads.append(_read(line, name, number))
            if len(reads) > 1 and reads[-1].t_ms < reads[-2].t_ms:
                raise _invalid(name, number, "t_ms falls")
    return Recording(header, reads)


def _read(line: bytes, name: str, number: int) -> Read:
    try:
        parsed = _decode_line(line)
        if (parsed.data is None) == (parsed.b64 is None):
            raise _invalid(name, number, "exactly one of data and b64 is needed")
        if parsed.b64 is not None:
            return Read(parsed.t_ms, base64.b64decode(parsed.b64, validate=True))
        return Read(parsed.t_ms, (parsed.data or "").encode())
    except (msgspec.DecodeError, ValueError) as exc:
        raise _invalid(name, number, str(exc)) from exc


def _invalid(name: str, line: int, reason: str) -> ProviderProtocolError:
    error = ProviderProtocolError(f"the recording {name} is not valid, line {line}: {reason}")
    error.retryable = False
    return error
