"""From measured load to what it takes: cores, memory, bandwidth, nodes. docs/how-to/plan-capacity.md has the formulas.

Only what was measured is multiplied. What a figure rests on is told with it (`basis`), and where the window holds too
little to know, the documented figure of the documentation stands in and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from .series import TimeSeries

Basis: TypeAlias = Literal["measured", "documented"]
Bound: TypeAlias = Literal["cpu", "memory", "bandwidth", "streams", "viewers"]

SERIES = ("chunks_per_s", "bytes_per_s", "cpu_cores", "memory_bytes", "streams", "viewers")

# Below so many chunks the process's own idling, start-up and requests outweigh them.
ENOUGH_CHUNKS = 10_000
ENOUGH_STREAMS = 50
# What README and docs/explanation/performance.md have: an event at 500 streams, a stream with one viewer, a further
# viewer with its compressor, a process at rest.
DOCUMENTED_CHUNK_US = 31.0
DOCUMENTED_STREAM_BYTES = 53_000
VIEWER_BYTES = 22_000
DOCUMENTED_BASE_BYTES = 130_000_000
# A step counts for the cost of a chunk when it is at least so near to the busiest one.
_BUSY = 0.5


class Load(msgspec.Struct, frozen=True):
    """What a server did in a window, and what that cost it. The rates are those of the busiest step.

    `chunk_us`: CPU of the whole process by the chunks of content, over the busy steps. `stream_bytes`: what the process
    grew by from its smallest step to its largest, by the most streams at once. `base_bytes`: the smallest.
    """

    window_s: int
    covered_s: float
    chunks_per_s: float
    bytes_per_s: float
    streams: int
    viewers: int
    cpu_cores: float
    chunk_us: float
    chunk_basis: Basis
    base_bytes: int
    stream_bytes: int
    memory_basis: Basis


class Node(msgspec.Struct, frozen=True):
    """`utilisation`: how much of a core, of the memory and of the line may be planned for; the rest is for peaks."""

    cores: int = 2
    memory_bytes: int = 4 * 2**30
    bandwidth_bits_per_s: float = 1e9
    utilisation: float = 0.6
    max_streams: int = 2000
    max_viewers: int = 10_000


class Plan(msgspec.Struct, frozen=True):
    """For `growth` times the measured load. `processes`: one a core; `bound`: what the number of nodes comes from."""

    growth: float
    load: Load
    node: Node
    streams: int
    viewers: int
    chunks_per_s: float
    cores: float
    processes: int
    memory_bytes: int
    bandwidth_bits_per_s: float
    nodes: int
    bound: Bound


def load_of(series: TimeSeries, covered_s: float) -> Load | None:
    """From a series with all of `SERIES`; None where nothing was streamed in it."""
    values = {one.metric: one.values["value"] for one in series.data}
    chunks = values["chunks_per_s"]
    busiest = max(_known(chunks), default=0.0)
    if busiest <= 0:
        return None
    streams, viewers = (int(max(_known(values[name]), default=0)) for name in ("streams", "viewers"))
    chunk_us, chunk_basis = _chunk_us(values, busiest, series.step_s)
    memory = _known(values["memory_bytes"])
    grown = max(memory) - min(memory) if memory else 0
    measured = grown > 0 and streams >= ENOUGH_STREAMS
    return Load(
        window_s=series.window_s,
        covered_s=covered_s,
        chunks_per_s=busiest,
        bytes_per_s=max(_known(values["bytes_per_s"]), default=0.0),
        streams=streams,
        viewers=viewers,
        cpu_cores=max(_known(values["cpu_cores"]), default=0.0),
        chunk_us=chunk_us,
        chunk_basis=chunk_basis,
        base_bytes=int(min(memory)) if memory else DOCUMENTED_BASE_BYTES,
        stream_bytes=math.ceil(grown / streams) if measured else DOCUMENTED_STREAM_BYTES,
        memory_basis="measured" if measured else "documented",
    )


def plan_for(load: Load, node: Node, growth: float) -> Plan:
    """`growth`: how many times the measured load is to be served. Raises `ValueError` for what cannot be divided by."""
    if growth <= 0 or not 0 < node.utilisation <= 1 or node.cores < 1:
        raise ValueError("growth and cores must be above 0, utilisation above 0 and at most 1")
    streams, viewers = math.ceil(load.streams * growth), math.ceil(load.viewers * growth)
    chunks_per_s = load.chunks_per_s * growth
    cores = chunks_per_s * load.chunk_us / 1e6
    bandwidth = load.bytes_per_s * growth * 8
    processes = max(
        math.ceil(cores / node.utilisation),
        math.ceil(streams / node.max_streams),
        math.ceil(viewers / node.max_viewers),
        1,
    )
    memory = processes * load.base_bytes + streams * load.stream_bytes + max(viewers - streams, 0) * VIEWER_BYTES
    needs: dict[Bound, int] = {
        "cpu": math.ceil(math.ceil(cores / node.utilisation) / node.cores),
        "memory": math.ceil(memory / (node.memory_bytes * node.utilisation)),
        "bandwidth": math.ceil(bandwidth / (node.bandwidth_bits_per_s * node.utilisation)),
        "streams": math.ceil(streams / (node.max_streams * node.cores)),
        "viewers": math.ceil(viewers / (node.max_viewers * node.cores)),
    }
    bound = max(needs, key=lambda name: needs[name])
    return Plan(
        growth=growth,
        load=load,
        node=node,
        streams=streams,
        viewers=viewers,
        chunks_per_s=chunks_per_s,
        cores=cores,
        processes=processes,
        memory_bytes=memory,
        bandwidth_bits_per_s=bandwidth,
        nodes=max(needs[bound], 1),
        bound=bound,
    )


def _chunk_us(values: Mapping[str, Sequence[float | None]], busiest: float, step_s: int) -> tuple[float, Basis]:
    chunks = cpu_s = 0.0
    for rate, cores in zip(values["chunks_per_s"], values["cpu_cores"], strict=True):
        if rate is not None and cores is not None and rate >= busiest * _BUSY:
            chunks += rate * step_s
            cpu_s += cores * step_s
    if chunks < ENOUGH_CHUNKS or cpu_s <= 0:
        return DOCUMENTED_CHUNK_US, "documented"
    return cpu_s / chunks * 1e6, "measured"


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]
