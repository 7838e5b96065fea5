"""`headwater plan`: from the load that a server has measured to what a larger one takes."""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

import msgspec
from rich.table import Table

from ..client import HeadwaterClient
from ..errors import ConfigError
from ..telemetry.figures import Summary
from ..telemetry.planning import SERIES, Load, Node, Plan, load_of, plan_for
from ..telemetry.series import TimeSeries
from .display import consoles
from .exits import FAILED, FINE
from .reaching import reach
from .stats import amount, seconds, size, span, step_of

# Fine enough to see the busiest minutes, and below the steps that a server answers.
STEPS = 1440
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class Order(NamedTuple):
    """What is planned for, as on the command line."""

    window: str
    growth: float
    cores: int
    memory: str
    bandwidth: str
    utilisation: float


def plan(order: Order, *, url: str, key: str, as_json: bool) -> int:
    """The exit code is 1 where nothing was measured to plan from. Raises `HeadwaterError`."""
    return asyncio.run(_plan(order, url, key, as_json=as_json))


async def _plan(order: Order, url: str, key: str, *, as_json: bool) -> int:
    window_s = seconds("--window", order.window)
    node = Node(
        cores=order.cores,
        memory_bytes=int(quantity("--memory", order.memory)),
        bandwidth_bits_per_s=quantity("--bandwidth", order.bandwidth),
        utilisation=order.utilisation,
    )
    out, notes = consoles()
    async with HeadwaterClient(url, key or None) as client:
        summary, series = await reach(_look(client, window_s), url)
    now = summary.now
    node = msgspec.structs.replace(node, max_streams=now.streams.limit, max_viewers=now.viewers.limit)
    load = load_of(series, summary.covered_s)
    if load is None:
        notes.print(f"nothing was streamed in the last {span(window_s)}: there is no load to plan from")
        return FAILED
    try:
        made = plan_for(load, node, order.growth)
    except ValueError as exc:
        raise ConfigError(f"no plan: {exc}") from exc
    if as_json:
        out.file.write(msgspec.json.encode(made).decode() + "\n")
    else:
        out.print(_load_table(load))
        out.print(_plan_table(made))
    return FINE


async def _look(client: HeadwaterClient, window_s: int) -> tuple[Summary, TimeSeries]:
    return await asyncio.gather(client.summary(window_s), client.series(SERIES, window_s, step_of(window_s, STEPS)))


def quantity(flag: str, text: str) -> float:
    """`4G`, `512MiB`, `2.5g`: thousands, or 1,024 with an i. Raises `ConfigError`."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise ConfigError(f"{flag} {text}: write it as 512M, 4GiB or 10G")
    unit = 1024.0 if found[3] else 1000.0
    return float(found[1]) * unit ** _POWERS[found[2].lower()]


def _load_table(load: Load) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_row("measured", f"{span(round(load.covered_s))} of {span(load.window_s)}; the busiest step had")
    table.add_row("", f"{load.streams:,} streams, {load.viewers:,} viewers, {amount(load.chunks_per_s)} chunks/s")
    table.add_row("", f"{size(load.bytes_per_s)}/s sent, {load.cpu_cores:.2f} cores")
    table.add_row("a chunk", f"{load.chunk_us:.0f} µs of CPU ({load.chunk_basis})")
    table.add_row("a stream", f"{size(load.stream_bytes)} ({load.memory_basis}); a process {size(load.base_bytes)}")
    return table


def _plan_table(plan: Plan) -> Table:
    node = plan.node
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_row(
        f"{plan.growth:g} × that",
        f"{plan.streams:,} streams, {plan.viewers:,} viewers, {amount(plan.chunks_per_s)} chunks/s",
    )
    table.add_row("CPU", f"{plan.cores:.2f} cores busy: {plan.processes:,} processes at {node.utilisation:.0%}")
    table.add_row("memory", size(plan.memory_bytes))
    table.add_row("bandwidth", f"{size(plan.bandwidth_bits_per_s / 8)}/s")
    each = f"{node.cores} cores, {size(node.memory_bytes)}, {node.bandwidth_bits_per_s / 1e9:g} Gbit/s each"
    table.add_row("nodes", f"{plan.nodes:,} ({each}); bound by {plan.bound}")
    return table
