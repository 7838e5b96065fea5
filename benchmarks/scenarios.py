"""What is measured: one function a scenario, each on fresh servers, each giving tables and budget figures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from . import targets
from .measure import Bench, Load, Verdict, drain, load, started, streaming
from .processes import BenchmarkError
from .workload import Plan

IDLE_VIEWERS = 10_000
IDLE_STREAMS = 20
IDLE_HEARTBEAT_S = 3
# One in ten is numbered, the others are " of": five characters on average, as tokens of English text have.
CATCHUP = Plan(tokens=1000, filler=9, interval_ms=2, burst=2)


class Figure(NamedTuple):
    """A measured budget of the design. `limit` is the first budget, `goal` the better one; `at_least` turns both."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    goal: float | None = None
    at_least: bool = False


class Table(NamedTuple):
    """Rows of cells under a title, with the budget figures they give and the checks that failed."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Sequence[Figure] = ()
    problems: Sequence[str] = ()
    raw: Any = None


def checks(bench: Bench) -> Table:
    """The harness sees what it must see: answers with a known fault, straight from the upstream."""
    rows, problems = [], []
    for fault in ("drop", "repeat", "swap", "count", "cut"):
        plan = Plan(fault=fault)
        bench.swarm.ask("open", port=bench.upstream_port, count=1, rate=100, plan=plan, timeout_s=5)
        verdict = drain(bench)
        rows.append((fault, str(verdict.lost), str(verdict.repeated), "; ".join(verdict.faults)))
        if verdict.clean:
            problems.append(f"the swarm does not see the fault {fault!r}")
    return Table(
        "Checks of the harness: faults made on purpose", ("fault", "lost", "repeated", "seen"), rows, (), problems
    )


def startup(bench: Bench) -> Table:
    """From exec to the first 200 of /health, on a new data directory each time."""
    times = []
    for _ in range(bench.runs):
        target = targets.headwater(bench.command, bench.upstream_port, bench.directory)
        start = time.monotonic()
        with target.start(bench.server_core, bench.directory) as process:
            target.wait(process)
            times.append(time.monotonic() - start)
    row = ("headwater", *(f"{value:.2f}" for value in (min(times), median(times), max(times))))
    figure = Figure("start-up to ready, embedded", median(times), "s", 1.5, 0.8)
    return Table("Start-up to /health 200 (s)", ("server", "min", "median", "max"), [row], [figure], (), times)


def events(bench: Bench) -> Table:
    """CPU and memory of `streams` × 20 events/s; Headwater and nginx alternate, the peers run once."""
    pair = [targets.headwater(bench.command, bench.upstream_port, bench.directory)]
    if proxy := targets.nginx(bench.upstream_port, bench.directory):
        pair.append(proxy)
    runs: dict[str, list[Load]] = {"direct": [load(bench, None, bench.streams, seconds=1.5)]}
    with started(bench, *pair) as servers:
        for _ in range(bench.runs):
            for server in servers:
                runs.setdefault(server.target.name, []).append(load(bench, server, bench.streams))
    for way, streams in (("queue", bench.streams), ("sdk", min(100, bench.streams))):
        with started(bench, targets.peer(way, bench.upstream_port)) as (server,):
            runs[server.target.name] = [load(bench, server, streams, seconds=2.5)]
    own = runs["headwater"]
    figures = [Figure("memory a stream with one viewer", own[0].kib_a_stream, "KiB", 60, 30)]
    if "nginx" in runs:
        ratio = median(ours.cpu_us / theirs.cpu_us for ours, theirs in zip(own, runs["nginx"], strict=True))
        figures.insert(0, Figure("CPU an event ÷ nginx, paired median", ratio, "×", 1.5, 1.1))
    figures.insert(0, Figure("CPU an event", median(run.cpu_us for run in own), "µs"))
    return _load_table("Events", runs, figures)


def metrics(bench: Bench) -> Table:
    """What counting costs: the same server with and without it, in turn."""
    on = targets.headwater(bench.command, bench.upstream_port, bench.directory)
    off = targets.headwater(bench.command, bench.upstream_port, bench.directory, HEADWATER_METRICS="false")
    runs: dict[str, list[Load]] = {}
    with started(bench, on, off._replace(name="metrics-off")) as servers:
        for turn in range(2 * bench.runs):
            # Whoever comes first in a pair must not always be the same.
            for server in servers if turn % 2 else reversed(servers):
                runs.setdefault(server.target.name, []).append(load(bench, server, bench.streams))
    pairs = list(zip(runs["headwater"], runs["metrics-off"], strict=True))
    ratio = median(counted.cpu_us / plain.cpu_us for counted, plain in pairs)
    added = median(counted.cpu_us - plain.cpu_us for counted, plain in pairs)
    figures = [
        Figure("CPU an event, metrics on ÷ off, paired median", ratio, "×", 1.05),
        Figure("CPU an event that metrics add, paired median", added, "µs", 1.5),
    ]
    return _load_table("Metrics", runs, figures)


def many(bench: Bench) -> Table:
    """Twice the streams: the promise is about the slowest percent."""
    pair = [targets.headwater(bench.command, bench.upstream_port, bench.directory)]
    if proxy := targets.nginx(bench.upstream_port, bench.directory):
        pair.append(proxy)
    with started(bench, *pair) as servers:
        runs = {server.target.name: [load(bench, server, 2 * bench.streams)] for server in servers}
    own = runs["headwater"][0]
    figures = [
        Figure(f"p99 added at {own.streams} streams × 20/s", own.p99_ms, "ms", 100),
        Figure("events/s delivered there", own.events_a_second, "/s", own.streams * 20 * 0.99, at_least=True),
    ]
    return _load_table("Many streams", runs, figures)


def first_token(bench: Bench) -> Table:
    """Short requests while `streams` × 20/s run: time to first token against the same requests straight upstream."""
    rows, problems, raw = [], [], {}
    figures: list[Figure] = []
    pair = [targets.headwater(bench.command, bench.upstream_port, bench.directory)]
    if proxy := targets.nginx(bench.upstream_port, bench.directory):
        pair.append(proxy)
    with started(bench, *pair) as servers:
        for server in servers:
            ports = [server.target.port, bench.upstream_port]
            plan = Plan(tokens=5, interval_ms=5)
            with streaming(bench, server.target.port, bench.streams):
                asked = bench.swarm.ask("ask", ports=ports, rate=40, seconds=bench.seconds, plan=plan, timeout_s=20)
            problems += _problems(server.target.name, drain(bench))
            through, direct = asked["first_token"]
            added = {name: through[name] - direct[name] for name in ("p50_ms", "p99_ms")}
            raw[server.target.name] = {"count": asked["count"], "through": through, "direct": direct, "added": added}
            cells = (*(through.values()), *(direct.values()), *added.values())
            rows.append((server.target.name, str(asked["count"]), *(f"{cell:.2f}" for cell in cells)))
            if server.target.name == "headwater":
                figures.append(Figure("first token added at half load, p50", added["p50_ms"], "ms", 3, 1))
                figures.append(Figure("first token added at half load, p99", added["p99_ms"], "ms", 20, 10))
    columns = ("server", "requests", "p50", "p99", "max", "direct p50", "p99", "max", "added p50", "p99")
    title = f"Time to first token (ms) beside {bench.streams} streams × 20/s"
    return Table(title, columns, rows, figures, problems, raw)


def request(bench: Bench) -> Table:
    """CPU of a whole one-token answer on a kept connection."""
    rate = 150
    pair = [targets.headwater(bench.command, bench.upstream_port, bench.directory)]
    if proxy := targets.nginx(bench.upstream_port, bench.directory):
        pair.append(proxy)
    costs: dict[str, list[float]] = {}
    whole: dict[str, list[float]] = {}
    problems: list[str] = []
    with started(bench, *pair) as servers:
        for server in servers * max(2, bench.runs - 1):
            before = server.process.usage().cpu_s
            plan = Plan(tokens=1, interval_ms=1)
            asked = bench.swarm.ask(
                "ask", ports=[server.target.port], rate=rate, seconds=bench.seconds / 2, plan=plan, timeout_s=20
            )
            spent_s = server.process.usage().cpu_s - before
            costs.setdefault(server.target.name, []).append(spent_s / asked["count"] * 1e3)
            whole.setdefault(server.target.name, []).append(asked["whole"][0]["p50_ms"])
            problems += _problems(server.target.name, drain(bench))
    rows = [
        (name, *(f"{value:.3f}" for value in (min(ms), median(ms), max(ms))), f"{median(whole[name]):.2f}")
        for name, ms in costs.items()
    ]
    figure = Figure("CPU a request (one-token stream)", median(costs["headwater"]), "ms", 1.5, 0.6)
    columns = ("server", "CPU min", "median", "max", "whole answer p50")
    return Table(f"One-token requests (ms), {rate}/s", columns, rows, [figure], problems, costs)


def catchup(bench: Bench) -> Table:
    """A finished 10,000-token answer read from its start."""
    target = targets.headwater(bench.command, bench.upstream_port, bench.directory)
    with started(bench, target) as (server,):
        opened = bench.swarm.ask("open", port=target.port, count=1, rate=10, plan=CATCHUP, timeout_s=10)
        problems = _problems("headwater", drain(bench, within_s=30))
        rows, raw = [], {}
        for dialect in ("events", "openai_chat"):
            before = server.process.usage().cpu_s
            read = bench.swarm.ask("fetch", port=target.port, stream=opened["streams"][0], dialect=dialect, times=9)
            cpu_ms = (server.process.usage().cpu_s - before) / 9 * 1e3
            problems += _problems(f"headwater {dialect}", drain(bench))
            raw[dialect] = {**read, "cpu_ms": cpu_ms}
            if read["tokens"] != CATCHUP.tokens:
                problems.append(f"headwater {dialect}: {read['tokens']} of {CATCHUP.tokens} tokens")
            times = read["ms"]
            cells = (*(f"{value:.1f}" for value in (min(times), median(times), max(times), cpu_ms)),)
            rows.append((dialect, *cells, str(read["frames"]), str(read["bytes"] // 1024)))
    figures = [
        Figure("catch-up of a 10,000-token answer", median(raw["openai_chat"]["ms"]), "ms", 20, 10),
        Figure("frames of that catch-up", raw["openai_chat"]["frames"], "frames", 5),
    ]
    columns = ("dialect", "min", "median", "max", "CPU", "frames", "KiB")
    return Table("Catch-up of a finished 10,000-token answer (ms)", columns, rows, figures, problems, raw)


def idle(bench: Bench) -> Table:
    """10,000 viewers on streams whose upstream is silent: what each holds, and what keeping it alive costs."""
    settings = {
        "HEADWATER_HEARTBEAT_S": str(IDLE_HEARTBEAT_S),
        "HEADWATER_IDLE_TIMEOUT_S": "600",
        "HEADWATER_MAX_CONNECTIONS": str(IDLE_VIEWERS + 100),
    }
    target = targets.headwater(bench.command, bench.upstream_port, bench.directory, **settings)
    with started(bench, target) as (server,):
        swarm, port = bench.swarm, target.port
        opened = swarm.ask("open", port=port, count=IDLE_STREAMS, rate=100, plan=Plan(tokens=1, hold=1), timeout_s=10)
        before = server.process.usage()
        start = time.monotonic()
        count = IDLE_VIEWERS - IDLE_STREAMS
        where = {"port": port, "streams": opened["streams"], "dialect": "events"}
        swarm.ask("watch", count=count, rate=2000, timeout_s=60, within_s=70, **where)
        attach_s = time.monotonic() - start
        attached = server.process.usage()
        swarm.ask("mark")
        time.sleep(2.5 * IDLE_HEARTBEAT_S)
        seen = swarm.ask("read")
        after = server.process.usage()
        problems = _problems("headwater", drain(bench, within_s=30))
    kib = (after.rss_kib - before.rss_kib) / count
    heartbeat_us = (after.cpu_s - attached.cpu_s) / max(1, seen["heartbeats"]) * 1e6
    attach_ms = (attached.cpu_s - before.cpu_s) / count * 1e3
    if seen["heartbeats"] < IDLE_VIEWERS:
        problems.append(f"only {seen['heartbeats']} heartbeats in {2.5 * IDLE_HEARTBEAT_S} s")
    cells = (f"{kib:.1f}", f"{attach_ms:.3f}", f"{attach_s:.1f}", str(seen["heartbeats"]), f"{heartbeat_us:.1f}")
    figure = Figure(f"memory an idle viewer, {IDLE_VIEWERS} held", kib, "KiB", None, 15)
    columns = ("viewers", "KiB each", "attach CPU ms", "all attached s", "heartbeats", "CPU µs a heartbeat")
    return Table("Idle viewers", columns, [(str(IDLE_VIEWERS), *cells)], [figure], problems, {"kib": kib})


def micro(bench: Bench) -> Table:
    """The pieces of the event path alone, in a process of their own on the server's core."""
    command = ["taskset", "-c", str(bench.server_core), sys.executable, "-m", "benchmarks.micro", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise BenchmarkError(f"micro: {done.stderr[-2000:]}")
    pieces = json.loads(done.stdout)
    rows = [(name, f"{us:.2f}") for name, us in pieces.items()]
    return Table("Pieces of the event path", ("piece", "µs"), rows, (), (), pieces)


def cancel(bench: Bench) -> Table:
    """From a cancel to the closed upstream connection, in a process of its own beside other answers."""
    command = ["taskset", "-c", str(bench.server_core), sys.executable, "-m", "benchmarks.cancel"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise BenchmarkError(f"cancel: {done.stderr[-2000:]}")
    states = json.loads(done.stdout)
    rows = [(state, *(f"{ms:.2f}" for ms in times.values())) for state, times in states.items()]
    slowest = max(times["p99"] for times in states.values())
    figure = Figure("cancel reaches the provider, slowest state's p99", slowest, "ms", 100)
    return Table(
        "Cancel to closed upstream connection (ms)", ("state", "p50", "p99", "max"), rows, [figure], (), states
    )


SCENARIOS: dict[str, Callable[[Bench], Table]] = {
    "checks": checks,
    "startup": startup,
    "events": events,
    "metrics": metrics,
    "many": many,
    "first-token": first_token,
    "request": request,
    "catchup": catchup,
    "idle": idle,
    "cancel": cancel,
    "micro": micro,
}


def _problems(name: str, verdict: Verdict) -> list[str]:
    if verdict.clean:
        return []
    return [f"{name}: {verdict.lost} lost, {verdict.repeated} repeated of {verdict.answers} answers, {verdict.faults}"]


def _load_table(title: str, runs: dict[str, list[Load]], figures: Sequence[Figure]) -> Table:
    rows, problems = [], []
    for name, loads in runs.items():
        middle = sorted(loads, key=lambda run: run.cpu_us)[len(loads) // 2]
        costs = [run.cpu_us for run in loads]
        verdicts = [run.verdict for run in loads]
        rows.append(
            (
                name,
                f"{middle.streams}",
                f"{middle.events_a_second:.0f}",
                "–" if name == "direct" else f"{median(costs):.1f}",
                "–" if len(loads) == 1 else f"{min(costs):.1f}…{max(costs):.1f}",
                "–" if name == "direct" else f"{middle.system_us:.1f}",
                "–" if name == "direct" else f"{loads[0].kib_a_stream:.0f}",
                f"{median(run.p50_ms for run in loads):.2f}",
                f"{median(run.p99_ms for run in loads):.2f}",
                f"{max(run.max_ms for run in loads):.1f}",
                f"{middle.events_a_read:.2f}",
                f"{sum(v.lost for v in verdicts)}/{sum(v.repeated for v in verdicts)}",
                f"{max(run.load_busy for run in loads):.0%}",
            )
        )
        for verdict in verdicts:
            problems += _problems(name, verdict)
        for run in loads:
            if run.lag_ms > 200:
                problems.append(
                    f"{name}: the mock upstream itself was {run.lag_ms:.0f} ms late; its latencies are no use"
                )
    columns = (
        "server",
        "streams",
        "events/s",
        "CPU µs/event",
        "min…max",
        "in kernel",
        "KiB/stream",
        "p50 ms",
        "p99",
        "max",
        "events/read",
        "lost/rep.",
        "load core",
    )
    raw = {name: [run._asdict() for run in loads] for name, loads in runs.items()}
    return Table(title, columns, rows, figures, problems, raw)
