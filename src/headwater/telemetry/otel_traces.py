"""Traces: one span a stream, made when it has ended, from what the recorder and the routes have noted anyway.

Nothing is done while it runs but to keep its ids: they are the caller's `traceparent` continued, or are derived from
the stream's own, so that viewers that come back can name a span that does not exist yet. Imported only where traces
are on: this needs the extra `otel`.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from ..events import Error
from ..log_context import TRACE_PARENT
from ..streams.channel import Channel, outcome
from ..streams.viewer import Viewer
from .calls import place_of
from .timeline import Mark, Timeline

# Ids of streams that viewers may still come back to.
MAX_REMEMBERED = 10_000
MAX_TEXT_CHARACTERS = 300
NS = 1_000_000_000

_propagator = TraceContextTextMapPropagator()


class Ids(RandomIdGenerator):
    """Random ones, unless the next span has its own."""

    def __init__(self) -> None:
        self.trace_id: int | None = None
        self.span_id: int | None = None

    def generate_trace_id(self) -> int:
        found, self.trace_id = self.trace_id, None
        return super().generate_trace_id() if found is None else found

    def generate_span_id(self) -> int:
        found, self.span_id = self.span_id, None
        return super().generate_span_id() if found is None else found


class _Stream(NamedTuple):
    """`parent`: of the request that began it; None: it begins a trace."""

    parent: SpanContext | None
    own: SpanContext


def make_provider(resource: Resource, *, sample: float) -> TracerProvider:
    """A caller's own decision to sample counts before `sample`, a share of the traces that begin here."""
    sampler = ParentBased(TraceIdRatioBased(sample))
    return TracerProvider(sampler, resource, shutdown_on_exit=False, id_generator=Ids())


class StreamTraces:
    """See `streams.Observer`, all but `committed`. `timeline`: what was noted of a stream; asked when it has ended.

    `provider`: of `make_provider`.
    """

    def __init__(
        self,
        provider: TracerProvider,
        timeline: Callable[[str], Timeline | None],
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tracer = provider.get_tracer("headwater")
        self._ids = provider.id_generator
        self._timeline = timeline
        self._clock_ns = clock_ns
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._returned: dict[Viewer, tuple[SpanContext | None, str]] = {}

    # ------------------------------------------------------------------ while it runs

    def begun(self, channel: Channel) -> None:
        parent = _parent()
        trace_id, span_id = _own_ids(channel.id)
        if parent is not None:
            trace_id = parent.trace_id
        self._streams[channel.id] = _Stream(parent, SpanContext(trace_id, span_id, is_remote=False, trace_flags=_ON))
        while len(self._streams) > MAX_REMEMBERED:
            self._streams.popitem(last=False)

    def attached(self, viewer: Viewer, cursor: str | None, reset: str | None) -> None:
        if cursor:
            self._returned[viewer] = _parent(), reset or ""

    def left(self, viewer: Viewer) -> None:
        """One that had come back gets a span of its own, which names the stream's."""
        returned = self._returned.pop(viewer, None)
        if returned is None:
            return
        parent, reset = returned
        attributes: dict[str, AttributeValue] = {
            "headwater.stream.id": viewer.channel.id,
            "headwater.viewer.bytes": viewer.bytes,
            "headwater.viewer.cursor_known": not reset,
        }
        span = self._tracer.start_span(
            "resume stream",
            context=_context(parent),
            kind=SpanKind.SERVER,
            attributes=attributes,
            links=[Link(self._context_of(viewer.channel.id))],
            start_time=viewer.attached_ms * 1_000_000,
        )
        span.end(max(self._clock_ns(), viewer.attached_ms * 1_000_000))

    def _context_of(self, stream: str) -> SpanContext:
        known = self._streams.get(stream)
        if known is not None:
            return known.own
        trace_id, span_id = _own_ids(stream)
        return SpanContext(trace_id, span_id, is_remote=True, trace_flags=_ON)

    # ------------------------------------------------------------------ when it has ended

    def ended(self, channel: Channel) -> None:
        stream, timeline, terminal = self._streams.get(channel.id), self._timeline(channel.id), channel.terminal
        if stream is None or timeline is None or terminal is None:
            return
        marks = list(timeline.marks)
        last_ms = next((mark.at_ms for mark in reversed(marks) if mark.kind == outcome(terminal)), 0)
        began_ns = self._clock_ns() - last_ms * 1_000_000
        if isinstance(self._ids, Ids):
            self._ids.trace_id, self._ids.span_id = stream.own.trace_id, stream.own.span_id
        span = self._tracer.start_span(
            f"stream {channel.model}".rstrip(),
            context=_context(stream.parent),
            attributes=_attributes(channel),
            start_time=began_ns,
        )
        if isinstance(self._ids, Ids):
            # With a parent no trace id was taken, and whoever is next must have its own.
            self._ids.trace_id = None
        if span.is_recording():
            for mark in marks:
                told: dict[str, AttributeValue] = {"detail": mark.detail[:MAX_TEXT_CHARACTERS]} if mark.detail else {}
                span.add_event(mark.kind, told, began_ns + mark.at_ms * 1_000_000)
            within = trace.set_span_in_context(span)
            for part in _parts(channel, marks, last_ms):
                self._child(part, within, began_ns)
            if isinstance(terminal, Error):
                span.set_status(Status(StatusCode.ERROR, terminal.reason))
        span.end(began_ns + last_ms * 1_000_000)

    def _child(self, part: _Part, within: Context, began_ns: int) -> None:
        span = self._tracer.start_span(
            part.name, within, part.kind, part.attributes, start_time=began_ns + round(part.from_ms * 1_000_000)
        )
        if part.error:
            span.set_status(Status(StatusCode.ERROR, part.error))
        span.end(began_ns + round(max(part.from_ms, part.to_ms) * 1_000_000))


class _Part(NamedTuple):
    """A child of a stream's span. Milliseconds since acceptance."""

    name: str
    kind: SpanKind
    from_ms: float
    to_ms: float
    attributes: dict[str, AttributeValue]
    error: str = ""


def _parts(channel: Channel, marks: Sequence[Mark], last_ms: int) -> Iterator[_Part]:
    """Waiting, looking up and the calls of providers, as far as they were noted."""
    facts = channel.fold.served or {}
    duration_ms, first_ms, attempts = facts.get("duration_ms"), facts.get("first_token_ms"), facts.get("attempts")
    told = [one for one in attempts if isinstance(one, Mapping)] if isinstance(attempts, list) else []
    # The routes' times are since the producer's start, which ends with the stream.
    start_ms = max(0.0, last_ms - duration_ms) if isinstance(duration_ms, int | float) else float(last_ms)
    at = {mark.kind: mark.at_ms for mark in reversed(marks)}
    if "queued" in at:
        over_ms = next((mark.at_ms for mark in marks if mark.kind in _GOES_ON and mark.at_ms >= at["queued"]), last_ms)
        yield _Part("queue", SpanKind.INTERNAL, at["queued"], over_ms if not told else min(over_ms, start_ms), {})
    if "searching" in at:
        yield _Part("retrieval", SpanKind.INTERNAL, at["searching"], at.get("searched", last_ms), {})
    first = None if not isinstance(first_ms, int | float) else _spoke_at(told, first_ms)
    for number, attempt in enumerate(told):
        part = _call(attempt, start_ms)
        if part is not None:
            if number == first and isinstance(first_ms, int | float):
                part.attributes["gen_ai.response.time_to_first_chunk"] = (first_ms - float(attempt["began_ms"])) / 1000
            yield part


_GOES_ON = ("searching", "first_token", "retrying", "fallback", "failed", "cancelled", "done")


def _spoke_at(attempts: Sequence[Mapping[str, object]], first_ms: float) -> int | None:
    """Which attempt gave the first content: the one that was asked last before it, and has not lost a race."""
    before = [
        number
        for number, one in enumerate(attempts)
        if one.get("outcome") != "lost" and isinstance(began := one.get("began_ms"), int | float) and began <= first_ms
    ]
    return before[-1] if before else None


def _call(attempt: Mapping[str, object], start_ms: float) -> _Part | None:
    place, began_ms, took_ms = place_of(attempt), attempt.get("began_ms"), attempt.get("duration_ms")
    if place is None or not isinstance(began_ms, int | float) or not isinstance(took_ms, int | float):
        return None
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": place.provider,
        "gen_ai.request.model": place.model,
        "gen_ai.request.stream": True,
    }
    tokens = {"gen_ai.usage.input_tokens": "prompt_tokens", "gen_ai.usage.output_tokens": "completion_tokens"}
    for name, fact in tokens.items():
        if isinstance(number := attempt.get(fact), int):
            attributes[name] = number
    how = attempt.get("outcome")
    error = "" if how == "done" else str(attempt.get("reason") or how)
    if error:
        attributes["error.type"] = error
    name = f"chat {place.model}".rstrip()
    told = error if how == "failed" else ""
    return _Part(name, SpanKind.CLIENT, start_ms + began_ms, start_ms + began_ms + took_ms, attributes, told)


def _attributes(channel: Channel) -> dict[str, AttributeValue]:
    terminal, fold = channel.terminal, channel.fold
    told: dict[str, AttributeValue] = {
        "headwater.stream.id": channel.id,
        "headwater.stream.dialect": channel.record.dialect,
        "headwater.stream.chunks": fold.content_events,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": channel.model,
        "gen_ai.provider.name": channel.provider,
    }
    if terminal is not None:
        told["headwater.stream.outcome"] = outcome(terminal)
        told["error.type" if isinstance(terminal, Error) else "headwater.stream.reason"] = terminal.reason
    if fold.usage is not None:
        told["gen_ai.usage.input_tokens"] = fold.usage.prompt_tokens
        told["gen_ai.usage.output_tokens"] = fold.usage.completion_tokens
        told["headwater.usage.source"] = fold.usage.source
    return told


_ON = TraceFlags(TraceFlags.SAMPLED)


def _own_ids(stream: str) -> tuple[int, int]:
    """Random enough to sample by, which the beginning of a stream's id, a time, is not."""
    digest = hashlib.sha256(stream.encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1


def _parent() -> SpanContext | None:
    """Of the request that is being served; None where its header is missing or none."""
    header = TRACE_PARENT.get()
    if not header:
        return None
    found = trace.get_current_span(_propagator.extract({"traceparent": header})).get_span_context()
    return found if found.is_valid else None


def _context(parent: SpanContext | None) -> Context:
    """An empty one where there is no parent: whatever runs in this thread is none."""
    return trace.set_span_in_context(NonRecordingSpan(parent)) if parent is not None else Context()
