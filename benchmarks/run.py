"""The runner: starts the load generators, runs the scenarios one after the other, prints and stores the figures."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .measure import Bench
from .processes import BenchmarkError, Generator
from .report import busy_cores, machine, render, render_figures
from .scenarios import SCENARIOS, Figure, Table

LIMIT_S = 600
DESCRIPTORS_NEEDED = 12_000


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(SCENARIOS)
    parser.add_argument(
        "--only", action="append", choices=SCENARIOS, metavar="NAME", help=f"one of: {names}; repeatable"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a measured window (4)")
    parser.add_argument(
        "--streams", type=int, default=500, help="streams at half load; `many` uses twice as many (500)"
    )
    parser.add_argument("--runs", type=int, default=3, help="how often a pair alternates (3)")
    parser.add_argument(
        "--tick-us", type=int, default=100, help="streams due within so many µs send in one burst (100)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured there")
    default = str(Path(sys.executable).with_name("headwater")) + " serve"
    parser.add_argument("--server", default=default, metavar="COMMAND", help="how to start Headwater (headwater serve)")
    return parser.parse_args(arguments)


def raise_descriptor_limit() -> None:
    """Soft limit up to the hard one, children included. Raises `BenchmarkError` when that is too low."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    if wanted < DESCRIPTORS_NEEDED:
        raise BenchmarkError(f"{wanted} file descriptors are too few: at least {DESCRIPTORS_NEEDED} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def cores() -> tuple[int, int, int]:
    """A core for the server, one for the upstream and one for the swarm; of two cores the last two share one."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise BenchmarkError("two cores are needed: one for the server, one for the load")
    return available[0], available[1], available[min(2, len(available) - 1)]


def run(options: argparse.Namespace) -> tuple[dict[str, Table], dict[str, str]]:
    """All chosen scenarios, each printed as soon as it is there."""
    server_core, upstream_core, swarm_core = cores()
    facts = machine(server_core, (upstream_core, swarm_core))
    facts["load average at start"] = f"{busy_cores():.2f}"
    print("\n".join(f"{name:>22}: {value}" for name, value in facts.items()), "\n", flush=True)
    tables: dict[str, Table] = {}
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name:
        directory = Path(name)
        # nginx's worker gives up root where it has it, and must still reach its directories.
        directory.chmod(0o755)
        with (
            Generator("upstream", str(options.tick_us), core=upstream_core, directory=directory) as upstream,
            Generator("swarm", core=swarm_core, directory=directory) as swarm,
        ):
            command = shlex.split(options.server)
            bench = Bench(
                upstream, swarm, directory, server_core, command, options.seconds, options.streams, options.runs
            )
            for scenario in options.only or SCENARIOS:
                start = time.monotonic()
                tables[scenario] = SCENARIOS[scenario](bench)
                print(render(tables[scenario]) + f"({time.monotonic() - start:.0f} s)\n", flush=True)
    return tables, facts


def write_json(path: Path, tables: dict[str, Table], facts: dict[str, str], figures: Sequence[Figure]) -> None:
    """Everything measured, for machines."""
    whole = {
        "machine": facts,
        "figures": [figure._asdict() for figure in figures],
        "scenarios": {name: {"problems": table.problems, "raw": table.raw} for name, table in tables.items()},
    }
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def _give_up(number: int, frame: FrameType | None) -> NoReturn:
    raise BenchmarkError(f"stopped by {signal.Signals(number).name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all answers whole, 1 lost, repeated or broken answers, 2 no figures."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _give_up)
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(LIMIT_S)
    start = time.monotonic()
    try:
        raise_descriptor_limit()
        tables, facts = run(options)
    except BenchmarkError as exc:
        print(f"no figures: {exc}", file=sys.stderr)
        return 2
    figures = [figure for table in tables.values() for figure in table.figures]
    problems = [problem for table in tables.values() for problem in table.problems]
    print(render_figures(figures))
    print(f"{time.monotonic() - start:.0f} s; load average now {busy_cores():.2f}. Every answer was checked for order,")
    print(f"loss and repeats: {'all whole' if not problems else f'{len(problems)} problems, marked ! above'}.")
    if options.json:
        write_json(options.json, tables, facts, figures)
    return 1 if problems else 0
