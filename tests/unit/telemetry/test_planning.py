"""The formulas of docs/how-to/plan-capacity.md, by hand."""

from __future__ import annotations

import msgspec
import pytest

from headwater.telemetry.planning import (
    DOCUMENTED_BASE_BYTES,
    DOCUMENTED_CHUNK_US,
    DOCUMENTED_STREAM_BYTES,
    SERIES,
    VIEWER_BYTES,
    Load,
    Node,
    load_of,
    plan_for,
)
from headwater.telemetry.series import MetricSeries, TimeSeries

MB = 1_000_000


def series(**values: list[float | None]) -> TimeSeries:
    steps = len(next(iter(values.values())))
    data = [MetricSeries(name, "1", {"value": values.get(name, [None] * steps)}) for name in SERIES]
    return TimeSeries("", 60 * steps, 60, [60 * step for step in range(steps)], data)


BUSY = series(
    chunks_per_s=[None, 0.0, 100.0, 400.0, 500.0],
    bytes_per_s=[None, 10.0, 20_000.0, 90_000.0, 100_000.0],
    cpu_cores=[None, 0.01, 0.02, 0.03, 0.06],
    memory_bytes=[None, 100 * MB, 105 * MB, 108 * MB, 110 * MB],
    streams=[None, 0, 50, 90, 100],
    viewers=[None, 0, 60, 100, 150],
)


def test_the_load_is_that_of_the_busiest_step_and_its_cost_that_of_the_busy_ones() -> None:
    load = load_of(BUSY, 240.0)
    assert load == Load(
        window_s=300,
        covered_s=240.0,
        chunks_per_s=500.0,
        bytes_per_s=100_000.0,
        streams=100,
        viewers=150,
        cpu_cores=0.06,
        chunk_us=(0.03 * 60 + 0.06 * 60) / (400 * 60 + 500 * 60) * 1e6,
        chunk_basis="measured",
        base_bytes=100 * MB,
        stream_bytes=10 * MB // 100,
        memory_basis="measured",
    )


def test_what_a_short_or_quiet_window_cannot_tell_is_documented() -> None:
    load = load_of(
        series(chunks_per_s=[2.0], cpu_cores=[0.01], memory_bytes=[100 * MB], streams=[1], viewers=[1]), 60.0
    )
    assert load is not None
    assert (load.chunk_us, load.chunk_basis) == (DOCUMENTED_CHUNK_US, "documented")
    assert (load.stream_bytes, load.memory_basis) == (DOCUMENTED_STREAM_BYTES, "documented")
    assert load.base_bytes == 100 * MB


def test_figures_of_a_release_that_did_not_look_at_the_process() -> None:
    load = load_of(series(chunks_per_s=[500.0], streams=[100]), 60.0)
    assert load is not None
    assert (load.chunk_basis, load.memory_basis) == ("documented", "documented")
    assert (load.base_bytes, load.bytes_per_s, load.viewers, load.cpu_cores) == (DOCUMENTED_BASE_BYTES, 0.0, 0, 0.0)


@pytest.mark.parametrize("chunks", [[None, None], [0.0, None]])
def test_without_a_stream_there_is_no_load(chunks: list[float | None]) -> None:
    assert load_of(series(chunks_per_s=chunks), 60.0) is None


def test_a_plan_multiplies_what_was_measured() -> None:
    load = load_of(BUSY, 240.0)
    assert load is not None
    plan = plan_for(load, Node(cores=4, memory_bytes=1000 * MB, utilisation=0.5), 100)
    assert (plan.streams, plan.viewers, plan.chunks_per_s) == (10_000, 15_000, 50_000.0)
    assert plan.cores == pytest.approx(5.0)
    assert plan.processes == 10  # 5 cores at 50 %
    assert plan.memory_bytes == 10 * 100 * MB + 10_000 * 100_000 + 5_000 * VIEWER_BYTES
    assert plan.bandwidth_bits_per_s == 100_000 * 100 * 8
    assert (plan.nodes, plan.bound) == (5, "memory")  # 2,110 MB in nodes of which 500 MB are planned for


LOAD = Load(60, 60, 100, 1000, 10, 10, 0.1, 100.0, "measured", 100 * MB, 100_000, "measured")


@pytest.mark.parametrize(
    ("changes", "node", "bound", "nodes"),
    [
        ({}, {}, "cpu", 1),
        ({"chunks_per_s": 1e5}, {}, "cpu", 9),  # 10 cores at 60 %: 17 processes, two a node
        ({"bytes_per_s": 1e9}, {}, "bandwidth", 14),
        ({"streams": 9000, "stream_bytes": 1}, {"max_streams": 1000}, "streams", 5),
        ({"viewers": 9000}, {"max_viewers": 100}, "viewers", 45),
    ],
)
def test_the_scarcest_decides(changes: dict[str, float], node: dict[str, int], bound: str, nodes: int) -> None:
    load = msgspec.structs.replace(LOAD, **changes)
    plan = plan_for(load, Node(**{"memory_bytes": 10**12, **node}), 1)
    assert (plan.bound, plan.nodes) == (bound, nodes)


@pytest.mark.parametrize(
    ("node", "growth"), [({}, 0), ({}, -1), ({"utilisation": 0.0}, 1), ({"utilisation": 1.1}, 1), ({"cores": 0}, 1)]
)
def test_what_cannot_be_divided_by_is_refused(node: dict[str, float], growth: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        plan_for(LOAD, Node(**node), growth)  # type: ignore[arg-type]
