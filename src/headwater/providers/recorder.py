"""Keeping an upstream's answer as it arrives, with nothing of whoever asked for it.

`RecordingTransport` stands before any transport. What it keeps of a response: its bytes with their times, its status,
and the headers of a short list; never a cookie, never the request's headers. A server that repeats the caller's key in
its answer (some do, in the message of a 401) gets it recorded as stars.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from ..errors import ProviderError
from ..events import JsonObject
from .ports import Exchange, Receiver, Transport, UpstreamRequest
from .recordings import MAX_BYTES, VERSION, Header, Read, Recording

# What decides about retries, what a provider's support asks for, and the state of the limits.
_KEPT_HEADERS = frozenset(
    {
        "date",
        "openai-processing-ms",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "x-generation-id",
        "x-request-id",
        "x-should-retry",
    }
)
_KEPT_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-")
_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie")
# Shorter values ("none", "EMPTY") are no secrets, and would star out parts of ordinary words.
_MIN_SECRET_CHARACTERS = 8
# What one line of a recording costs besides its bytes, about.
_LINE_BYTES = 64


class RecordingTransport:
    """See `ports.Transport`. Passes everything to `inner`, which it closes too.

    `newest` is the newest exchange whose request had a body: asking for an answer has one; listing models, coming back
    to an answer and cancelling it have none.
    """

    def __init__(self, inner: Transport) -> None:
        self.newest: Tap | None = None
        self._inner = inner

    def open(self, request: UpstreamRequest, receiver: Receiver) -> Exchange:
        if not request.body:
            return self._inner.open(request, receiver)
        self.newest = Tap(request, receiver, asyncio.get_running_loop().time)
        return self._inner.open(request, self.newest)

    async def close(self) -> None:
        await self._inner.close()

    def recording(self, protocol: str, *, whole: bool, keep_request: bool = False, **people: str) -> Recording | None:
        """Of the newest exchange, see `Tap.recording`; None where there was none."""
        if self.newest is None:
            return None
        return self.newest.recording(protocol, whole=whole, keep_request=keep_request, **people)


class Tap:
    """See `ports.Receiver`. Hands everything on, and keeps it. `clock` is in seconds."""

    def __init__(self, request: UpstreamRequest, receiver: Receiver, clock: Callable[[], float]) -> None:
        self.full = False  # the limit is reached; later bytes are handed on only
        self._request = request
        self._receiver = receiver
        self._clock = clock
        self._began_s = 0.0
        self._head: tuple[int, Mapping[str, str]] | None = None
        self._reads: list[Read] = []
        self._cost_bytes = 0
        self._ended = False

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._head = status, headers
        self._began_s = self._clock()
        self._receiver.head(status, headers)

    def data(self, chunk: bytes) -> None:
        self._cost_bytes += 2 * len(chunk) + _LINE_BYTES
        self.full = self._cost_bytes > MAX_BYTES
        if not self.full:
            self._reads.append(Read(round((self._clock() - self._began_s) * 1000, 1), chunk))
        self._receiver.data(chunk)

    def end(self) -> None:
        self._ended = True
        self._receiver.end()

    def lost(self, error: ProviderError) -> None:
        self._receiver.lost(error)

    def recording(self, protocol: str, *, whole: bool, keep_request: bool = False, **people: str) -> Recording | None:
        """What has been kept so far; None before the response's head.

        `whole`: the answer was complete, also where its last bytes were not waited for. `people` are the header's
        fields `model`, `recorded_at` and `note`.
        """
        if self._head is None:
            return None
        status, headers = self._head
        secrets = _secrets(self._request.headers)
        header = Header(
            VERSION,
            protocol,
            **people,
            status=status,
            headers={name: value for name, value in headers.items() if _is_kept(name)},
            content_type=headers.get("content-type", ""),
            cut=self.full or not (self._ended or whole),
            request=_body_of(self._request, secrets) if keep_request else None,
        )
        return Recording(header, _starred(self._reads, secrets))


def _is_kept(name: str) -> bool:
    return name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIXES)


def _secrets(headers: Mapping[str, str]) -> list[bytes]:
    """Values of the request's headers that are keys, without their scheme."""
    values = (value.rpartition(" ")[2] for name, value in headers.items() if _SECRET_HEADER.search(name))
    return [value.encode() for value in values if len(value) >= _MIN_SECRET_CHARACTERS]


def _body_of(request: UpstreamRequest, secrets: Iterable[bytes]) -> JsonObject | None:
    """None for a body that is no JSON object."""
    try:
        return msgspec.json.decode(_without(request.body, secrets), type=JsonObject)
    except msgspec.DecodeError:
        return None


def _starred(reads: list[Read], secrets: Iterable[bytes]) -> list[Read]:
    """The reads without the secrets, also where one is cut in two by a read's end; no length changes."""
    body = b"".join(read.data for read in reads)
    clean = _without(body, secrets)
    if clean == body:
        return reads
    starred, at = [], 0
    for read in reads:
        starred.append(Read(read.t_ms, clean[at : at + len(read.data)]))
        at += len(read.data)
    return starred


def _without(data: bytes, secrets: Iterable[bytes]) -> bytes:
    for secret in secrets:
        data = data.replace(secret, b"*" * len(secret))
    return data
