"""Calls of providers since the process began, as OpenTelemetry's conventions for generative AI count them.

Histograms with the buckets that the conventions recommend, by provider and upstream model
(https://github.com/open-telemetry/semantic-conventions-genai). They are filled when a stream has ended, for only then
it is known who has answered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .bucket import OTHER
from .sketch import Sketch

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (
    1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
)  # fmt: skip
# Codes of errors are ours, but an application's own metadata may hold anything.
MAX_ERRORS = 40


class Histogram:
    """`counts`: values up to each bound, not cumulated; the last one: above all bounds. `total`: their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_sketch(self, values: Sketch) -> None:
        """Its values; one within 2 % of a bound may be on the other side of it."""
        up_to = [0, *values.count_up_to(self.bounds), values.count]
        self.counts = [
            count + after - before for count, before, after in zip(self.counts, up_to, up_to[1:], strict=False)
        ]
        self.total += values.total


class Place(NamedTuple):
    """Who is called: the provider's configured name, and the model by the provider's own name."""

    provider: str
    model: str


class CallFigures:
    """`durations` by what the call ended with: "" where it ended well, else a code, `cancelled` or `lost`."""

    __slots__ = ("completion_tokens", "durations", "first_chunk", "output_chunk", "prompt_tokens")

    def __init__(self) -> None:
        self.first_chunk = Histogram(SECONDS)
        self.output_chunk = Histogram(SECONDS)
        self.prompt_tokens = Histogram(TOKENS)
        self.completion_tokens = Histogram(TOKENS)
        self.durations: dict[str, Histogram] = {}

    def duration(self, error: str) -> Histogram:
        known = self.durations
        name = error if error in known or len(known) < MAX_ERRORS else OTHER
        return known.setdefault(name, Histogram(SECONDS))


class Calls:
    """By place. `limit`: how many there may be; what comes on top is counted under `OTHER`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.by_place: dict[Place, CallFigures] = {}

    def of(self, place: Place) -> CallFigures:
        known = self.by_place
        if place not in known and len(known) >= self._limit:
            place = Place(OTHER, OTHER)
        return known.setdefault(place, CallFigures())


class Gaps:
    """The times between the chunks of one stream's calls. A call without a known place is the first speaker's."""

    __slots__ = ("_parts", "_place")

    def __init__(self) -> None:
        self._parts: list[tuple[Place | None, Sketch]] = []
        self._place: Place | None = None

    def end_call(self, gaps: Sketch, *, then: Place | None = None) -> None:
        """A call is over, whose gaps these were; whoever is called `then` goes on with the answer."""
        self._parts.append((self._place, gaps))
        self._place = then

    def settle(self, calls: Calls, speaker: Place) -> None:
        for place, gaps in self._parts:
            calls.of(place or speaker).output_chunk.add_sketch(gaps)
        self._parts.clear()


def place_of(fact: Mapping[str, object]) -> Place | None:
    """As a fact or a status event names it; None where it does not."""
    provider, model = fact.get("provider"), fact.get("model")
    if isinstance(provider, str) and isinstance(model, str) and provider:
        return Place(provider, model)
    return None


def count_call(calls: Calls, attempt: Mapping[str, object], *, exact: bool) -> None:
    """One of `routing.ledger`'s facts. `exact`: whether its tokens are the provider's own count, or estimated."""
    place, outcome, duration_ms = place_of(attempt), attempt.get("outcome"), attempt.get("duration_ms")
    if place is None or not isinstance(outcome, str):
        return
    figures = calls.of(place)
    if isinstance(duration_ms, int | float):
        error = "" if outcome == "done" else str(attempt.get("reason") or outcome)
        figures.duration(error).add(duration_ms / 1000)
    if exact:
        for name in ("prompt_tokens", "completion_tokens"):
            if isinstance(tokens := attempt.get(name), int):
                getattr(figures, name).add(tokens)
