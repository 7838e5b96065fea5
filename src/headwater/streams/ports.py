"""The other seams of the stream core: producers write, encoders format, sinks receive.

None of these knows the other's side: a producer never sees a viewer, an encoder never sees a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from ..errors import ProviderTimeout
from ..events import Event, JsonObject, Terminal, Usage
from .fold import Fold


class Writer(Protocol):
    """A producer's end of a stream. All methods must be called in the loop's thread.

    Terminal rules: write a `Done` (and a `Usage` before it where the provider told one) and return, or raise. A
    return without `Done` counts as `Done("stop")`; a missing `Usage` is estimated. Nothing may follow `Done`.
    """

    @property
    def fold(self) -> Fold:
        """The stream as written so far (committed or not): content seen, text, usage."""
        ...

    def write(self, events: Sequence[Event]) -> bool:
        """Queue events for the next commit; never blocks. False: `drain` before more. Raises `StreamEnded`."""
        ...

    def touch(self) -> None:
        """The upstream is alive though it sent no event (a comment, a ping): the silence watchdog starts anew."""
        ...

    def connected(self) -> None:
        """The upstream has accepted the request; from now on only its content is awaited."""
        ...

    async def drain(self) -> None:
        """Wait until the log has taken enough of what was written."""
        ...

    @property
    def control(self) -> Control:
        """For producers that make several attempts at one answer; others need none of it."""
        ...


class Watch(NamedTuple):
    """The watchdogs of one attempt, in place of the stream's. `fire` gets the error; the stream does not end."""

    first_token_timeout_s: float
    idle_timeout_s: float
    fire: Callable[[ProviderTimeout], None]


class Settlement(Protocol):
    """What a producer knows at the end of a stream, whatever ends it. Called once, by the writer; must not raise."""

    def usage(self, estimated: Usage) -> Usage:
        """In place of `estimated`, which covers the whole stream. Not called where a `Usage` was written."""
        ...

    def facts(self, usage: Usage, terminal: Terminal) -> JsonObject:
        """Becomes one `Metadata` event just before the terminal one."""
        ...


class Control(Protocol):
    """The part of a stream that only a producer with several attempts touches."""

    @property
    def first_content_s(self) -> float | None:
        """Loop time of the first content written by this process; None before it."""
        ...

    def watch(self, watch: Watch | None) -> None:
        """Begin to watch an attempt from now on; None: nothing is awaited from an upstream now."""
        ...

    def settle(self, settlement: Settlement) -> None:
        """Ask this one at the end. The last call counts."""
        ...

    def lend_slot(self, lent: bool) -> None:
        """Whether an upstream's slot is all that is waited for: meanwhile another stream may have this one's own."""
        ...

    async def history(self) -> list[Event]:
        """All events of the stream so far, once they are committed. Raises `LogError`, or `StreamEnded`."""
        ...


class Producer(Protocol):
    """What writes a stream. `run` is called once, in its own task.

    It ends by returning, or by raising a `HeadwaterError` (kept as the stream's typed error). On cancellation it
    must let go of its upstream before it awaits anything else: the caller's promise is 100 ms.
    """

    async def run(self, writer: Writer) -> None: ...


class Encoder(Protocol):
    """One stream in one wire format. Pure: the same event at the same seq always gives the same bytes.

    `encode` returns whole SSE frames (or nothing); an event that becomes several frames carries its cursor as
    `id:` on the last. Bytes may depend on the stream's `StreamView` (its `Fold` holds all events up to `seq`).
    """

    heartbeat: bytes

    def encode(self, seq: int, event: Event) -> bytes: ...

    def reset(self, reason: str) -> bytes:
        """Told to a viewer whose cursor is unknown, before the full replay."""
        ...


@runtime_checkable
class ReadsFold(Protocol):
    """An encoder whose frames tell what came before: the fold must hold every event up to `seq`, always.

    An ended stream is opened by its record alone, so a viewer with such an encoder reads its fold back first.
    """

    reads_fold: Literal[True]


@runtime_checkable
class EncodesRuns(Protocol):
    """An encoder whose frame for merged events depends on where they began, besides where they end."""

    def encode_run(self, first_seq: int, seq: int, event: Event) -> bytes:
        """As `encode`, for an event that stands for those from `first_seq` to `seq`."""
        ...


@runtime_checkable
class SupportsReconnect(Protocol):
    """An encoder with a word of its own for "come back"; it follows `retry:`. Whole frames, without an id."""

    def reconnect(self, retry_ms: int) -> bytes: ...


class StreamView(Protocol):
    """What an encoder may know of its stream. `created_ms`: Unix milliseconds; `model`: the public name."""

    @property
    def id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def created_ms(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def fold(self) -> Fold: ...


class EncoderFactory(Protocol):
    """Makes encoders. Equal factories share one encoder a stream, so it must be hashable (a frozen value)."""

    def __call__(self, view: StreamView) -> Encoder: ...

    def __hash__(self) -> int: ...


class Network(NamedTuple):
    """What the system has measured of a viewer's connection. `retransmissions`: packets sent again since the response
    began; `packets_lost`: of them those that the peer had not got already, as far as it tells.
    """

    rtt_s: float
    retransmissions: int
    packets_lost: int


@runtime_checkable
class SupportsNetwork(Protocol):
    """A sink that knows its connection."""

    def network(self) -> Network | None:
        """None where the system does not tell, or the connection is gone."""
        ...


@runtime_checkable
class Layer(Protocol):
    """A sink before another one, which goes on where it was when the one behind it changes."""

    def carry(self, inner: Sink) -> None:
        """Through `inner` from now on, which has been given what the one before it held."""
        ...


class Sink(Protocol):
    """Where one viewer's bytes go. All calls come from the loop's thread; none may raise or block."""

    @property
    def writable(self) -> bool:
        """False while the peer does not read fast enough. When it turns true, `on_writable` must be called."""
        ...

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None:
        """All was written: end the response cleanly."""
        ...

    def abort(self) -> None:
        """Cut the connection, as for a frozen peer."""
        ...

    def bind(self, on_writable: Callable[[], None]) -> None:
        """Called before the first write, and once more with a function that does nothing when the viewer is gone."""
        ...
