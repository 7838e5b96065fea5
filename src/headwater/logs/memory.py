"""The log in memory: nothing survives the process, everything else holds as in the others.

Bounded: when it holds more than `max_bytes`, the oldest finished streams give way. Unfinished streams never do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

import msgspec

from ..errors import LogCorrupt, LogError, LogUnavailable, SeqConflict
from ..events import Seq, StreamId
from ..streams.log import Append, Ended, Query, Slice, StreamRecord
from .refusals import ENDED, TAKEN
from .segments import Piece, events_from, pack, unpack
from .watching import Watchers

DEFAULT_MAX_BYTES = 256 * 2**20


class _Held:
    """One stream. `created` is its record as it was created; what changes since is beside it."""

    __slots__ = ("bytes", "compact", "created", "ended", "epoch", "first_seq", "next_seq", "pieces")

    def __init__(self, created: StreamRecord) -> None:
        self.created = created
        self.epoch = created.epoch
        self.first_seq = 0
        self.next_seq = 0
        self.ended: Ended | None = None
        self.pieces: list[Piece] = []
        self.compact = False
        self.bytes = len(created.request)

    def record(self) -> StreamRecord:
        return msgspec.structs.replace(
            self.created, epoch=self.epoch, first_seq=self.first_seq, next_seq=self.next_seq, ended=self.ended
        )

    def matches(self, query: Query) -> bool:
        created = self.created
        return (
            (query.state == "any" or (self.ended is not None) == (query.state == "finished"))
            and (query.owner is None or created.owner == query.owner)
            and (query.idempotency_key is None or created.idempotency_key == query.idempotency_key)
            and (query.before is None or created.id < query.before)
        )

    def since(self, position: int, max_bytes: int) -> Iterable[Piece]:
        """Pieces that hold `position` and what follows, until `max_bytes` are reached."""
        index = max(0, bisect_right(self.pieces, position, key=lambda piece: piece.first_seq) - 1)
        size = 0
        for piece in self.pieces[index:]:
            if piece.first_seq + piece.events <= position:
                continue
            whole = unpack(piece) if self.compact else piece
            yield whole
            size += len(whole.data)
            if size >= max_bytes:
                return

    def replace_pieces(self, pieces: list[Piece], *, compact: bool) -> None:
        self.pieces = pieces
        self.compact = compact
        self.bytes = len(self.created.request) + sum(len(piece.data) for piece in pieces)


class MemoryLog:
    """A `Log` with every extra ability. `max_bytes`: bound on what finished streams may add up to, beside the rest."""

    def __init__(self, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._streams: dict[StreamId, _Held] = {}
        self._keys: dict[tuple[str, str], StreamId] = {}
        self._finished: dict[StreamId, None] = {}  # in the order in which they ended
        self._watchers = Watchers()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._closed = False

    async def commit(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        self._check_open()
        outcomes = [self._append(append) for append in appends]
        while self._bytes > self._max_bytes and self._finished:
            self._drop(next(iter(self._finished)))
        self._watchers.notify(a for a, outcome in zip(appends, outcomes, strict=True) if outcome is None)
        return outcomes

    async def read(self, stream: StreamId, after: Seq, *, max_bytes: int) -> Slice | None:
        self._check_open()
        held = self._streams.get(stream)
        if held is None:
            return None
        position = min(max(after + 1, held.first_seq), held.next_seq)
        try:
            events = events_from(held.since(position, max_bytes), position)
        except LogCorrupt as exc:
            raise LogCorrupt(f"stream {stream}: {exc.message}") from exc
        return Slice(held.record(), position, events)

    async def get(self, stream: StreamId) -> StreamRecord | None:
        self._check_open()
        held = self._streams.get(stream)
        return None if held is None else held.record()

    async def find(self, query: Query) -> list[StreamRecord]:
        self._check_open()
        found = sorted((id for id, held in self._streams.items() if held.matches(query)), reverse=True)
        return [self._streams[id].record() for id in found[: query.limit]]

    async def close(self) -> None:
        self._closed = True
        self._streams.clear()
        self._keys.clear()
        self._finished.clear()
        self._bytes = 0

    def watch(self, stream: StreamId, notify: Callable[[], None]) -> Callable[[], None]:
        return self._watchers.add(stream, notify)

    async def trim(self, stream: StreamId, before: Seq) -> None:
        self._check_open()
        held = self._streams.get(stream)
        if held is None or before <= held.first_seq:
            return
        held.first_seq = min(before, held.next_seq)
        self._bytes -= held.bytes
        kept = [piece for piece in held.pieces if piece.first_seq + piece.events > held.first_seq]
        held.replace_pieces(kept, compact=held.compact)
        self._bytes += held.bytes

    async def advance_epoch(self, stream: StreamId, *, boot: str = "") -> int:
        self._check_open()
        held = self._streams.get(stream)
        if held is None:
            raise SeqConflict(0, -1)
        if held.ended is not None:
            raise SeqConflict(held.next_seq, held.next_seq, ENDED)
        held.epoch += 1
        if boot:
            held.created = msgspec.structs.replace(held.created, boot=boot)
        return held.epoch

    async def delete(self, streams: Sequence[StreamId]) -> int:
        self._check_open()
        known = [stream for stream in dict.fromkeys(streams) if stream in self._streams]
        for stream in known:
            self._drop(stream)
        return len(known)

    async def compact(self) -> int:
        self._check_open()
        count = 0
        for stream in self._finished:
            held = self._streams[stream]
            if held.compact:
                continue
            try:
                packed = list(pack(held.pieces))
            except LogCorrupt:
                continue  # stays as it is: what is readable of it remains so
            self._bytes -= held.bytes
            held.replace_pieces(packed, compact=True)
            self._bytes += held.bytes
            count += 1
        return count

    async def expire(self, *, now_ms: int, max_age_s: float | None, max_bytes: int | None) -> int:
        self._check_open()
        finished = sorted((ended.finished_ms, id) for id in self._finished if (ended := self._streams[id].ended))
        oldest_ms = None if max_age_s is None else now_ms - max_age_s * 1000
        count = 0
        for finished_ms, stream in finished:
            too_old = oldest_ms is not None and finished_ms < oldest_ms
            too_much = max_bytes is not None and self._bytes > max_bytes
            if not (too_old or too_much):
                break
            self._drop(stream)
            count += 1
        return count

    def _append(self, append: Append) -> LogError | None:
        held = self._streams.get(append.stream)
        if append.create is not None:
            if held is not None:
                return SeqConflict(append.expected_seq, held.next_seq, TAKEN)
            if append.expected_seq != 0:
                return SeqConflict(append.expected_seq, -1)
            key = (append.create.owner, append.create.idempotency_key)
            if key[1] and key in self._keys:
                return SeqConflict(append.expected_seq, -1, TAKEN)
            held = self._streams[append.stream] = _Held(append.create)
            self._bytes += held.bytes
            if key[1]:
                self._keys[key] = append.stream
        elif held is None:
            return SeqConflict(append.expected_seq, -1)
        elif held.ended is not None:
            return SeqConflict(append.expected_seq, held.next_seq, ENDED)
        elif held.next_seq != append.expected_seq:
            return SeqConflict(append.expected_seq, held.next_seq)
        held.pieces.append(Piece(held.next_seq, append.count, append.segment))
        held.next_seq += append.count
        held.bytes += len(append.segment)
        self._bytes += len(append.segment)
        if append.ended is not None:
            held.ended = append.ended
            self._finished[append.stream] = None
        return None

    def _drop(self, stream: StreamId) -> None:
        held = self._streams.pop(stream)
        self._finished.pop(stream, None)
        self._bytes -= held.bytes
        if held.created.idempotency_key:
            del self._keys[held.created.owner, held.created.idempotency_key]

    def _check_open(self) -> None:
        if self._closed:
            raise LogUnavailable("the log is closed")
