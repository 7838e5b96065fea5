"""One window of load on one server: what it delivered, what it took, and whether anything was wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from .processes import BenchmarkError, Generator, Process
from .targets import Target
from .workload import Plan

OPEN_A_SECOND = 250
SETTLE_S = 0.5
EVENTS_A_SECOND = 20
STREAMING = Plan(interval_ms=1000 // EVENTS_A_SECOND)


class Bench(NamedTuple):
    """What every scenario needs. `seconds` is the length of a window, `runs` how often a pair is repeated."""

    upstream: Generator
    swarm: Generator
    directory: Path
    server_core: int
    command: list[str]
    seconds: float
    streams: int
    runs: int

    @property
    def upstream_port(self) -> int:
        port: int = self.upstream.hello["port"]
        return port


class Running(NamedTuple):
    """A started server with what it used when it had answered a few requests and was idle again."""

    target: Target
    process: Process
    baseline_kib: int


class Verdict(NamedTuple):
    """The checks over all answers of one window."""

    answers: int
    lost: int
    repeated: int
    faults: dict[str, int]

    @property
    def clean(self) -> bool:
        return not (self.lost or self.repeated or self.faults)


class Load(NamedTuple):
    """One window. `lag_ms` is the worst lateness of the mock upstream, `load_busy` the generators' share of a core."""

    server: str
    streams: int
    events_a_second: float
    cpu_us: float
    system_us: float
    busy: float
    kib_a_stream: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    events_a_read: float
    bytes_an_event: float
    lag_ms: float
    load_busy: float
    verdict: Verdict


@contextmanager
def started(bench: Bench, *targets: Target) -> Iterator[list[Running]]:
    """The servers, each warmed up by a few answers."""
    with ExitStack() as stack:
        running = []
        for target in targets:
            process = stack.enter_context(target.start(bench.server_core, bench.directory))
            target.wait(process)
            plan = Plan(tokens=20, interval_ms=2)
            bench.swarm.ask("open", port=target.port, count=20, rate=100, plan=plan, timeout_s=20)
            verdict = drain(bench)
            if not verdict.clean:
                raise BenchmarkError(f"{target.name} fails at 20 short answers: {verdict}\n{_tail(process)}")
            running.append(Running(target, process, process.usage().rss_kib))
        yield running


def drain(bench: Bench, *, within_s: float = 15) -> Verdict:
    """Let every stream finish, close all viewers and judge their answers."""
    bench.upstream.ask("finish")
    return Verdict(**bench.swarm.ask("drain", timeout_s=within_s, within_s=within_s + 10))


@contextmanager
def streaming(bench: Bench, port: int, count: int) -> Iterator[None]:
    """`count` endless streams through `port`, all past their first token."""
    bench.swarm.ask("open", port=port, count=count, rate=OPEN_A_SECOND, plan=STREAMING, timeout_s=40)
    time.sleep(SETTLE_S)
    yield


def load(bench: Bench, running: Running | None, streams: int, *, seconds: float | None = None) -> Load:
    """One window of `streams` streams through a server, or straight to the upstream (`None`)."""
    upstream, swarm = bench.upstream, bench.swarm
    with streaming(bench, bench.upstream_port if running is None else running.target.port, streams):
        upstream.ask("stats")
        generators = upstream.usage().cpu_s + swarm.usage().cpu_s
        before = None if running is None else running.process.usage()
        swarm.ask("mark")
        start = time.monotonic()
        time.sleep(bench.seconds if seconds is None else seconds)
        seen = swarm.ask("read")
        took_s = time.monotonic() - start
        after = None if running is None else running.process.usage()
        generators = upstream.usage().cpu_s + swarm.usage().cpu_s - generators
        lag_ms = upstream.ask("stats")["lag_ms"]
    verdict = drain(bench)
    events = max(1, seen["tokens"])
    cpu_s = after.cpu_s - before.cpu_s if after and before else 0.0
    system_s = after.system_s - before.system_s if after and before else 0.0
    grown_kib = after.rss_kib - running.baseline_kib if after and running else 0
    return Load(
        server="direct" if running is None else running.target.name,
        streams=streams,
        events_a_second=seen["tokens"] / took_s,
        cpu_us=cpu_s / events * 1e6,
        system_us=system_s / events * 1e6,
        busy=cpu_s / took_s,
        kib_a_stream=grown_kib / streams,
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
        max_ms=seen["max_ms"],
        events_a_read=events / max(1, seen["reads"]),
        bytes_an_event=seen["bytes"] / events,
        lag_ms=lag_ms,
        load_busy=generators / took_s,
        verdict=verdict,
    )


def _tail(process: Process) -> str:
    return process.output.read_text(errors="replace")[-2000:]
