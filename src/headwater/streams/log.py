"""The log seam: what a stream log must do. Read this, run `tests/conformance/logs`, and a log is replaced.

A log stores segments (see `events`) and one `StreamRecord` a stream. It knows nothing of providers, viewers or
wire formats. All methods belong to one event loop; the log does its own I/O elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from ..errors import LogError
from ..events import Error, Event, JsonObject, Seq, StreamId, Usage

Durability: TypeAlias = Literal["memory", "commit", "fsync"]
Outcome: TypeAlias = Literal["done", "failed", "cancelled"]

FROM_START = Seq(-1)


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a stream ended; written with its terminal event, in the same commit.

    `metadata`: what all `Metadata` events add up to (who served it, attempts, cost).
    """

    status: Outcome
    finished_ms: int
    usage: Usage
    finish_reason: str | None = None
    error: Error | None = None
    metadata: JsonObject | None = None


class StreamRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a stream besides its events.

    `next_seq` is the seq that the next event will get, so the events held are `first_seq … next_seq-1`
    (`first_seq` > 0 after a trim). `owner` separates tenants ("" in single-user mode). `request` is an encoded
    `ChatRequest`, or empty for streams made from a generator. `boot` identifies the machine's boot at creation.
    """

    id: StreamId
    created_ms: int
    model: str = ""
    provider: str = ""
    dialect: str = "events"
    owner: str = ""
    linger_s: float = 0.0
    request: bytes = b""
    idempotency_key: str = ""
    fingerprint: str = ""
    boot: str = ""
    epoch: int = 1
    first_seq: int = 0
    next_seq: int = 0
    ended: Ended | None = None


class Append(msgspec.Struct, frozen=True, gc=False):
    """One stream's part of a group commit: `count` events in one encoded segment, the first at `expected_seq`.

    `create` makes the stream with this append (then `expected_seq` is 0); `ended` closes it for good.
    """

    stream: StreamId
    expected_seq: int
    count: int
    segment: bytes
    create: StreamRecord | None = None
    ended: Ended | None = None


class Slice(msgspec.Struct, frozen=True):
    """Events `first_seq …` in order, with the record as it stood at the same instant (one snapshot)."""

    record: StreamRecord
    first_seq: int
    events: list[Event]


class Query(msgspec.Struct, frozen=True):
    """Which records `find` returns, newest first. `before` pages by id. `owner=None` means every owner."""

    state: Literal["any", "unfinished", "finished"] = "any"
    owner: str | None = None
    idempotency_key: str | None = None
    before: StreamId | None = None
    limit: int = 100


class Log(Protocol):
    """Five methods. Whatever a method raises is a `LogError`, with the driver's error as its cause."""

    async def commit(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        """Make all appends durable as one group; they become readable together or not at all.

        Returns one outcome an append, in order: `None`, or why that stream was refused (`SeqConflict`,
        `StreamEnded` as a conflict, an existing id or idempotency key), which leaves the others untouched.
        Raises `LogUnavailable` when nothing was stored; the same group may then be committed again.
        One stream occurs at most once a group.
        """
        ...

    async def read(self, stream: StreamId, after: Seq, *, max_bytes: int) -> Slice | None:
        """Events with seq > `after` (`FROM_START`: all), about `max_bytes` of segments but at least one event
        where there is one. `None`: no such stream. Raises `LogCorrupt` for that stream's damage only.
        """
        ...

    async def get(self, stream: StreamId) -> StreamRecord | None: ...

    async def find(self, query: Query) -> list[StreamRecord]: ...

    async def close(self) -> None:
        """Finish what is committed and release everything. Idempotent."""
        ...


@runtime_checkable
class SupportsWatch(Protocol):
    """How a reader learns of new events without polling."""

    def watch(self, stream: StreamId, notify: Callable[[], None]) -> Callable[[], None]:
        """Call `notify` in the loop's thread after every commit that touches `stream`; returns the undo."""
        ...


@runtime_checkable
class SupportsTrim(Protocol):
    async def trim(self, stream: StreamId, before: Seq) -> None:
        """Forget events with seq < `before` (at most up to `next_seq`). Positions of the rest do not move."""
        ...


@runtime_checkable
class SupportsEpoch(Protocol):
    async def advance_epoch(self, stream: StreamId, *, boot: str = "") -> int:
        """Start a new epoch, because events that viewers saw may be gone; returns it. Unfinished streams only.

        `boot`, where given, takes the place of the record's: this boot has seen to what was lost before it.
        """
        ...


@runtime_checkable
class SupportsDelete(Protocol):
    async def delete(self, streams: Sequence[StreamId]) -> int:
        """Remove streams with all their events; returns how many there were."""
        ...


@runtime_checkable
class SupportsMaintenance(Protocol):
    async def compact(self) -> int:
        """Rewrite finished streams into their compact form; returns how many were."""
        ...

    async def expire(self, *, now_ms: int, max_age_s: float | None, max_bytes: int | None) -> int:
        """Delete the oldest finished streams above either bound; returns how many. Unfinished ones stay."""
        ...
