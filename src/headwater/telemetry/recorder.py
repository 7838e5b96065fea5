"""Counts what happens to streams and viewers: the `Observer` of the hub.

On the event path it appends one number a batch. All else is read off folds and viewers when `sample` and `take` are
called, some times a second.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from ..events import CONTENT_TYPES, TERMINAL_TYPES, Error, Event, Status, Text
from ..streams.channel import Channel, outcome
from ..streams.log import Outcome
from ..streams.ports import Network, SupportsNetwork
from ..streams.viewer import Viewer
from .bucket import MAX_NAMES, Bucket
from .calls import Calls, Gaps, Place, count_call, place_of
from .sketch import keys_of
from .timeline import MAX_REMEMBERED, Timeline, Timelines
from .track import Recorded, Track

# Connections whose round trip is looked at in a second, some microseconds each; another part of them the next time.
NETWORKS_A_SECOND = 50

# Times between chunks, and streams that have any, that are counted in one go: about a millisecond.
GAPS_AT_ONCE = 500
STREAMS_AT_ONCE = 50

_STAGES = {"retrying": "retries", "fallback": "fallbacks", "hedging": "hedges", "continuing": "continuations"}


class _Live:
    """A stream that is produced here. `last_s`: when content was last seen; `chunks`, `text_bytes`: counted so far.

    `gaps`: between deliveries, those of the track. `broke_s`: when content was last seen of a call that broke off; None
    once another one has gone on.
    """

    __slots__ = (
        "broke_s", "call_gaps", "channel", "chunks", "committed", "ended_s", "gaps", "is_new", "last_s", "text_bytes",
        "texts", "timeline", "track",
    )  # fmt: skip

    def __init__(self, channel: Channel, now: float, now_ms: float) -> None:
        self.channel = channel
        self.timeline = Timeline(now)
        self.is_new = channel.record.next_seq == 0
        self.track = Track(now, now_ms, whole=self.is_new)
        self.gaps = self.track.gaps
        self.committed = False
        self.last_s: float | None = None
        self.broke_s: float | None = None
        self.ended_s = now
        self.call_gaps = Gaps()
        # What an earlier process wrote is not counted again.
        self.chunks = channel.fold.content_events
        self.texts = channel.fold.texts
        self.text_bytes = channel.fold.text_bytes


class _Watching:
    """A viewer, and what of it is counted already. `track`: of its stream, where that is recorded here.

    `network`: reads its connection's; None where the sink does not tell.
    """

    __slots__ = ("bytes", "network", "packets_lost", "retransmissions", "track")

    def __init__(self, sink: object, track: Track | None) -> None:
        self.bytes = 0
        self.network = network_reader(sink)
        self.track = track
        self.retransmissions = 0
        self.packets_lost = 0


class _EndedTrack:
    __slots__ = ("ended_s", "outcome", "track")

    def __init__(self, track: Track, ended_s: float, outcome: Outcome) -> None:
        self.track = track
        self.ended_s = ended_s
        self.outcome = outcome

    def recorded(self) -> Recorded:
        return self.track.recorded(self.ended_s, self.outcome)


class Recorder:
    """See `streams.Observer`. `clock`: the loop's time, which is also what its methods are told as `now`.

    `unsaved`: ended streams whose figures have changed since they were taken from here. `calls`: of providers, since
    the beginning; `max_labels`: by how many names.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        clock_ms: Callable[[], float] = lambda: time.time_ns() / 1_000_000,
        *,
        max_labels: int = MAX_NAMES,
    ) -> None:
        self.bucket = Bucket()
        self.calls = Calls(max_labels)
        self.unsaved: dict[str, Recorded] = {}
        self._clock = clock
        self._clock_ms = clock_ms
        self._taken_s = clock()
        self._live: dict[str, _Live] = {}
        self._viewers: dict[Viewer, _Watching] = {}
        self._gaps: list[float] = []
        self._ended = Timelines()
        self._ended_tracks: OrderedDict[str, _EndedTrack] = OrderedDict()
        self._turn = 0

    # ------------------------------------------------------------------ now

    @property
    def streams(self) -> int:
        return len(self._live)

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def states(self) -> dict[str, int]:
        """Streams by their state."""
        return dict(Counter(live.channel.status for live in self._live.values()))

    def timeline(self, stream: str) -> Timeline | None:
        """Of a stream that is produced here, or was lately."""
        live = self._live.get(stream)
        return live.timeline if live is not None else self._ended.get(stream)

    def recorded(self, stream: str) -> Recorded | None:
        """Of a stream that is produced here, or was lately."""
        live = self._live.get(stream)
        if live is not None:
            now = self._clock()
            self._count_chunks(live, now)
            self._count_gaps(live)
            live.track.roll(now)
            return live.track.recorded(now)
        ended = self._ended_tracks.get(stream)
        return None if ended is None else ended.recorded()

    # ------------------------------------------------------------------ Observer

    def begun(self, channel: Channel, now: float) -> None:
        record = channel.record
        self._live[channel.id] = _Live(channel, now, self._clock_ms() if record.next_seq else record.created_ms)
        self._note_peaks()

    def committed(self, channel: Channel, events: Sequence[Event], now: float) -> None:
        live = self._live.get(channel.id)
        if live is None:
            return
        last = live.last_s
        if last is not None and len(events) == 1 and type(events[0]) is Text:
            live.gaps.append(now - last)
            live.last_s = now
        else:
            self._look(live, events, now)

    def _look(self, live: _Live, events: Sequence[Event], now: float) -> None:
        """A batch that is not just the next piece of text."""
        if not live.committed:
            self._first_commit(live, now)
        has_content = False
        for event in events:
            kind = type(event)
            if kind in CONTENT_TYPES:
                has_content = True
            elif kind is Status:
                self._stage(live, event, now)  # type: ignore[arg-type]
            elif kind in TERMINAL_TYPES:
                live.ended_s = now
        if has_content:
            if live.last_s is not None:
                live.gaps.append(now - live.last_s)
            elif live.broke_s is not None:
                # What viewers waited for at the seam is no gap of either call.
                waited_s = now - live.broke_s
                self._gaps.append(waited_s)
                live.track.open.gaps.add(waited_s)
                live.broke_s = None
            elif live.is_new:
                self.bucket.timings.first_token.add(now - live.timeline.began_s)
                live.timeline.mark(now, "first_token")
            live.last_s = now

    def _first_commit(self, live: _Live, now: float) -> None:
        live.committed = True
        if live.is_new:
            self.bucket.counts.started += 1
            self.bucket.timings.setup.add(now - live.timeline.began_s)
        else:
            self.bucket.counts.recovered += 1
        live.timeline.mark(now, "started" if live.is_new else "recovered")

    def _stage(self, live: _Live, event: Status, now: float) -> None:
        name = _STAGES.get(event.stage)
        if name is not None:
            counts = self.bucket.counts
            setattr(counts, name, getattr(counts, name) + 1)
        # An application's own events may hold anything.
        data = event.data if isinstance(event.data, Mapping) else {}
        if name == "continuations":
            # Also where the one before has given nothing.
            self._count_gaps(live)
            live.call_gaps.end_call(live.track.end_call(), then=place_of(data))
            if live.last_s is not None:
                live.broke_s, live.last_s = live.last_s, None
        parts = [data.get("provider"), data.get("model"), data.get("reason")]
        live.timeline.mark(now, event.stage, " ".join(str(part) for part in parts if part))

    def ended(self, channel: Channel) -> None:
        live = self._live.pop(channel.id, None)
        terminal = channel.terminal
        if live is not None:
            self._count_gaps(live)
        if live is None or terminal is None or not live.committed:
            return
        self._count_chunks(live, live.ended_s)
        how = outcome(terminal)
        counts = self.bucket.counts
        setattr(counts, how, getattr(counts, how) + 1)
        if isinstance(terminal, Error):
            self.bucket.fail(terminal.reason)
        if live.is_new:
            self.bucket.timings.duration.add(live.ended_s - live.timeline.began_s)
        self._settle(live)
        live.timeline.mark(live.ended_s, how, terminal.reason)
        self._ended.keep(channel.id, live.timeline)
        live.track.roll(live.ended_s)
        ended = self._ended_tracks[channel.id] = _EndedTrack(live.track, live.ended_s, how)
        if len(self._ended_tracks) > MAX_REMEMBERED:
            self._ended_tracks.popitem(last=False)
        self.unsaved[channel.id] = ended.recorded()

    def attached(self, viewer: Viewer, cursor: str | None, reset: str | None) -> None:
        stream = viewer.channel.id
        track = self._track(stream)
        self._viewers[viewer] = _Watching(viewer.sink, track)
        self._note_peaks()
        counts = self.bucket.counts
        counts.attached += 1
        if track is not None:
            track.open.attached += 1
            track.open.returned += bool(cursor)
            self._changed(stream)
        kind = "attached"
        if cursor:
            kind = "resumed" if reset is None else "reset"
            counts.resumed += reset is None
            counts.reset += reset is not None
        self._mark_viewer(viewer, kind, reset or "")

    def left(self, viewer: Viewer) -> None:
        seen = self._viewers.pop(viewer, None)
        if seen is None:
            return
        counts = self.bucket.counts
        counts.sent_bytes += viewer.bytes - seen.bytes
        counts.left_early += viewer.channel.terminal is None
        self._look_at(seen)
        if viewer.parting == "lost":
            counts.drops += 1
            if seen.track is not None:
                seen.track.open.drops += 1
        self._changed(viewer.channel.id)
        self._mark_viewer(viewer, "left", "")

    def _track(self, stream: str) -> Track | None:
        live = self._live.get(stream)
        if live is not None:
            return live.track
        ended = self._ended_tracks.get(stream)
        return None if ended is None else ended.track

    def _changed(self, stream: str) -> None:
        """Who comes or goes after a stream's end changes what is kept of it."""
        ended = self._ended_tracks.get(stream)
        if ended is not None:
            self.unsaved[stream] = ended.recorded()

    def _look_at(self, seen: _Watching) -> None:
        """At its connection: the round trip of now, and what was sent again since the last time."""
        network = None if seen.network is None else seen.network()
        if network is None:
            return
        again = network.retransmissions - seen.retransmissions
        lost = max(0, network.packets_lost - seen.packets_lost)
        seen.retransmissions, seen.packets_lost = network.retransmissions, network.packets_lost
        self.bucket.timings.rtt.add(network.rtt_s)
        self.bucket.counts.retransmissions += again
        self.bucket.counts.packets_lost += lost
        if seen.track is not None:
            slot = seen.track.open
            slot.rtt.add(network.rtt_s)
            slot.retransmissions += again
            slot.packets_lost += lost

    def _mark_viewer(self, viewer: Viewer, kind: str, detail: str) -> None:
        timeline = self.timeline(viewer.channel.id)
        if timeline is not None:
            timeline.mark(self._clock(), kind, detail)

    # ------------------------------------------------------------------ what a stream's end tells

    def _settle(self, live: _Live) -> None:
        channel = live.channel
        usage, facts = channel.fold.usage, channel.fold.served or {}
        if usage is not None:
            counts = self.bucket.counts
            counts.prompt_tokens += usage.prompt_tokens
            counts.completion_tokens += usage.completion_tokens
        if channel.model:
            model = self.bucket.model(channel.model)
            model.streams += 1
            if usage is not None:
                model.prompt_tokens += usage.prompt_tokens
                model.completion_tokens += usage.completion_tokens
            cost = facts.get("cost")
            if isinstance(cost, Mapping) and isinstance(amount := cost.get("amount"), int | float):
                currency = str(cost.get("currency", ""))
                model.costs[currency] = model.costs.get(currency, 0.0) + amount
        attempts = facts.get("attempts")
        if isinstance(attempts, list):
            told = [one for one in attempts if isinstance(one, Mapping)]
            speaker = self._attempts(told, facts.get("first_token_ms"))
            for attempt in told:
                count_call(self.calls, attempt, exact=usage is not None and usage.source == "exact")
            if speaker is not None:
                live.call_gaps.end_call(live.track.end_call())
                live.call_gaps.settle(self.calls, speaker)

    def _attempts(self, attempts: Sequence[Mapping[str, object]], first_token_ms: object) -> Place | None:
        """As `routing.ledger` tells them; who gave the first content.

        A call that was cancelled, or lost a race, says nothing of its provider.
        """
        spoke: Mapping[str, object] | None = None
        for attempt in attempts:
            how = attempt.get("outcome")
            if how in ("done", "failed"):
                part = self.bucket.provider(str(attempt.get("provider", "")))
                part.attempts += 1
                part.failures += how == "failed"
            began_ms = attempt.get("began_ms")
            if how != "lost" and isinstance(first_token_ms, float) and isinstance(began_ms, float):
                # Whoever was asked last before the first content came has given it.
                spoke = attempt if began_ms <= first_token_ms else spoke
        if spoke is not None and isinstance(first_token_ms, float):
            waited_ms = first_token_ms - float(str(spoke["began_ms"]))
            self.bucket.provider(str(spoke.get("provider", ""))).first_token.add(waited_ms / 1000)
            if (speaker := place_of(spoke)) is not None:
                self.calls.of(speaker).first_chunk.add(waited_ms / 1000)
            return speaker
        return None

    # ------------------------------------------------------------------ off the event path

    def sample(self) -> None:
        """Look at what runs; call it some times a second."""
        now = self._clock()
        for live in self._live.values():
            if live.channel.fold.content_events != live.chunks:
                self._count_chunks(live, now)

    def _count_chunks(self, live: _Live, now: float) -> None:
        fold = live.channel.fold
        more = fold.content_events - live.chunks
        if more:
            self.bucket.counts.chunks += more
            counts, slot = self.bucket.counts, live.track.open
            texts, text_bytes = fold.texts - live.texts, fold.text_bytes - live.text_bytes
            counts.texts += texts
            counts.text_bytes += text_bytes
            slot.texts += texts
            slot.text_bytes += text_bytes
            live.chunks, live.texts, live.text_bytes = fold.content_events, fold.texts, fold.text_bytes
            live.timeline.add(now, more)

    def _count_gaps(self, live: _Live) -> None:
        self._gaps += live.track.untold()

    def sweep(self) -> Iterator[None]:
        """Do the most of `take` in steps, so that others are served between them."""
        some: list[_Live] = []
        gaps = 0
        for stream, live in list(self._live.items()):
            if stream not in self._live:
                continue
            some.append(live)
            gaps += len(live.gaps) - live.track.told
            if gaps >= GAPS_AT_ONCE or len(some) == STREAMS_AT_ONCE:
                self._count(some)
                some, gaps = [], 0
                yield

    def take(self, queued: int) -> Bucket:
        """What happened since the last time. `queued`: streams that wait for a slot."""
        bucket = self.bucket
        now = self._clock()
        bucket.covered_s, self._taken_s = now - self._taken_s, now
        busy = []
        for viewer, seen in self._viewers.items():
            if viewer.bytes != seen.bytes:
                bucket.counts.sent_bytes += viewer.bytes - seen.bytes
                seen.bytes = viewer.bytes
                busy.append(seen)
        self._turn += 1
        step = -(-len(busy) // NETWORKS_A_SECOND) or 1
        for seen in busy[self._turn % step :: step]:
            self._look_at(seen)
        self._count(self._live.values())
        bucket.peaks.queued = max(bucket.peaks.queued, queued)
        self.bucket = Bucket()
        self._note_peaks()  # what goes on is of the next second, too
        return bucket

    def _count(self, lives: Collection[_Live]) -> None:
        """What some streams did, and close those of their slots that are over.

        Gaps together, whose keys, the dear part, are then known to each stream, too.
        """
        gaps, self._gaps = self._gaps, []
        parts = []
        for live in lives:
            track = live.track
            if len(track.gaps) > track.told:
                parts.append((track, len(gaps)))
                gaps += track.untold()
        keys = keys_of(gaps)
        self.bucket.timings.chunk_gap.add_all(gaps, keys)
        for track, start in parts:
            track.keys += keys[start : start + len(track.gaps) - len(track.keys)]
        now = self._clock()
        for live in lives:
            # Before their slot closes.
            self._count_chunks(live, now)
            live.track.roll(now)

    def _note_peaks(self) -> None:
        peaks = self.bucket.peaks
        peaks.streams, peaks.viewers = max(peaks.streams, self.streams), max(peaks.viewers, self.viewers)


def network_reader(sink: object) -> Callable[[], Network | None] | None:
    """Ask once for a viewer: looking through a protocol costs more than the answer."""
    return sink.network if isinstance(sink, SupportsNetwork) else None


def network_of(viewer: Viewer) -> Network | None:
    """None where its sink, or the system, does not tell."""
    reader = network_reader(viewer.sink)
    return None if reader is None else reader()
