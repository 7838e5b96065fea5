"""The seams of providers: a wire protocol (pure), a transport (bytes), and the provider that joins them.

Adding an upstream API is one file that implements `WireProtocol`, one registration and one run of
`tests/conformance/providers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from ..errors import ProviderError
from ..events import Event, JsonObject
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
        """Raises `UnsupportedField` for what this API cannot take, `InputError` for what nobody can."""
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
        """One attempt: it raises the `ProviderError` of whatever fails. Raises `InputError` as `WireProtocol.chat`."""
        ...

    async def close(self) -> None: ...


class Held(msgspec.Struct, frozen=True):
    """What a stream already holds of an answer that broke off.

    `text` is the first choice's. `facts`: all metadata told so far, merged. `position`: see `Positioned`; None after
    a crash. `resumable`: the answer is text alone (no tool call, no thinking, no second choice, no refusal).
    `interrupted`: this side stopped, not the upstream: the same generation would not have failed.
    """

    text: str
    facts: JsonObject
    position: int | None = None
    resumable: bool = True
    interrupted: bool = False


@runtime_checkable
class Positioned(Protocol):
    """A producer, or a decoder, of a protocol that numbers its events."""

    @property
    def position(self) -> int | None:
        """The upstream's number of the last event decoded."""
        ...


class Continuation(NamedTuple):
    """How an answer goes on. `exact`: the same generation, exactly where the log ends; what follows is only new.

    Otherwise it is another generation, asked to go on from `Held.text`; it may repeat that text or the white space
    at the seam. `echoes`: it is known to repeat the text (Mistral does).
    """

    producer: Producer
    exact: bool
    echoes: bool = False


@runtime_checkable
class SupportsContinuation(Protocol):
    """A provider that can go on with an answer that broke off."""

    def continuation(self, request: ChatRequest, model: str, held: Held) -> Continuation | None:
        """None where this model cannot, or this request must not (tools were called, a form was asked for)."""
        ...


@runtime_checkable
class SupportsPrefix(Protocol):
    """A wire protocol whose models go on with a text that the answer shall begin with.

    `echoes_prefix`: whether the answer repeats that text first.
    """

    @property
    def echoes_prefix(self) -> bool: ...

    def continued(self, request: ChatRequest, model: str, text: str) -> UpstreamRequest:
        """`text` has no white space at its end. Adds no instruction. Raises `UnsupportedField` where it cannot."""
        ...


@runtime_checkable
class SupportsReattach(Protocol):
    """A wire protocol whose server goes on generating without us, and whose answer can be asked for again."""

    def reattach(self, held: Held) -> tuple[UpstreamRequest, Decoder] | None:
        """The rest of the same answer. The decoder gives only what `held` lacks. None where nothing says which."""
        ...


@runtime_checkable
class SupportsCancel(Protocol):
    """A wire protocol whose server goes on generating without us until it is told to stop."""

    def cancel_request(self, facts: JsonObject) -> UpstreamRequest | None:
        """What stops the answer that a stream's metadata tells of. None where nothing says which, or it needs none."""
        ...


@runtime_checkable
class SupportsAbandon(Protocol):
    """A provider with such a protocol."""

    def abandon(self, facts: JsonObject) -> None:
        """Nobody wants the answer any more that a stream's metadata tells of. Returns at once; never raises."""
        ...
