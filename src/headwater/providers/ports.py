"""The seams of providers: a wire protocol (pure), a transport (bytes), and the provider that joins them.

Adding an upstream API is one file that implements `WireProtocol`, one registration and one run of
`tests/conformance/providers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from ..errors import ProviderError
from ..events import Event
from ..request import ChatRequest
from ..streams.ports import Producer


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request to a provider. `url` is absolute; header names are lower-case."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes = b""


class Decoder(Protocol):
    """Bytes of one response body in, events out. Sans-IO: any chunking of the bytes gives the same events.

    `Usage` and `Done` are the last events, in this order, and come as soon as the protocol says that the answer is
    whole. Raises `ProviderRejected` (an error object in the body), `ProviderProtocolError` (bytes that are not
    the protocol) or `ProviderTruncated`; events decoded before the fault, in the same call, are in `pending` then.
    """

    @property
    def pending(self) -> list[Event]: ...

    def feed(self, data: bytes) -> list[Event]:
        """Events that these bytes complete; empty for a comment or half a frame."""
        ...

    def close(self) -> list[Event]:
        """The body ended. Raises `ProviderTruncated` where the answer is not whole."""
        ...


class WireProtocol(Protocol):
    """One upstream API: builds requests, makes decoders, understands its errors. Holds no connection."""

    name: str

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        """Raises `InputError` naming the field that this API cannot take."""
        ...

    def decoder(self) -> Decoder: ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The typed form of an HTTP error answer. Header names are lower-case; `body` may be cut or HTML."""
        ...

    def list_models(self) -> UpstreamRequest: ...

    def parse_models(self, body: bytes) -> list[str]:
        """Raises `ProviderProtocolError`."""
        ...


class Receiver(Protocol):
    """Gets one response, in the loop's thread, in this order: head, data …, then end or lost (exactly one)."""

    def head(self, status: int, headers: Mapping[str, str]) -> None: ...

    def data(self, chunk: bytes) -> None:
        """All of one read."""
        ...

    def end(self) -> None:
        """The body ended as HTTP says it should (last chunk, content-length reached, close-delimited EOF)."""
        ...

    def lost(self, error: ProviderError) -> None:
        """Refused, reset, cut inside the framing, or not HTTP. Never called after `abort`."""
        ...


class Exchange(Protocol):
    """One request under way."""

    def abort(self) -> None:
        """Close the upstream socket now; no callback follows. Idempotent, also after the end."""
        ...

    def pause(self) -> None:
        """Stop reading (a slow log); bytes then wait in the kernel."""
        ...

    def resume(self) -> None: ...


class Transport(Protocol):
    """HTTP towards providers, with kept-alive connections."""

    def open(self, request: UpstreamRequest, receiver: Receiver) -> Exchange:
        """Start the exchange; returns at once."""
        ...

    async def close(self) -> None: ...


class Provider(Protocol):
    """One configured upstream. `name` is shown to users; it holds no address and no secret."""

    name: str

    async def models(self) -> Sequence[str]:
        """Names it serves now. Raises `ProviderError`."""
        ...

    def producer(self, request: ChatRequest, model: str) -> Producer:
        """Raises `InputError` for what this provider cannot take."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class SupportsContinuation(Protocol):
    """A provider that can go on with an answer which a crash cut off, exactly where the log ends."""

    def continuation(self, request: ChatRequest, model: str) -> Producer:
        """Its `run` finds in `writer.fold` what the stream already holds, and writes only what follows."""
        ...
