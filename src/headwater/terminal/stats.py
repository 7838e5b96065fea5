"""`headwater stats`: a server's figures on the terminal, with how they went over the window."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..client import HeadwaterClient
from ..errors import ConfigError
from ..telemetry.alerts import Alert
from ..telemetry.figures import Duration, Summary
from ..telemetry.series import TimeSeries
from .display import consoles, printable
from .exits import FINE, INTERRUPTED
from .reaching import reach

REFRESH_S = 2.0
# Of the window, as many as there is room for beside the longest line.
MOST_STEPS, FEWEST_STEPS = 60, 10
TEXT_COLUMNS = 60
SERIES = (
    *("streams", "viewers", "streams_per_s", "error_rate", "tokens_per_s", "bytes_per_s"),
    *("first_token_ms", "chunk_gap_ms", "cpu_cores", "memory_bytes"),
)

_BARS = "▁▂▃▄▅▆▇█"
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WINDOW = re.compile(r"(\d+)([smhd]?)")


class Figures(msgspec.Struct, frozen=True):
    """What one look at a server gives."""

    summary: Summary
    series: TimeSeries
    alerts: Sequence[Alert]


def stats(*, url: str, key: str, window: str, as_json: bool, watch: bool) -> int:
    """Raises `HeadwaterError`, and `ConfigError` for a window that is none."""
    window_s = seconds("--window", window)
    try:
        return asyncio.run(_stats(url, key, window_s, as_json=as_json, watch=watch))
    except KeyboardInterrupt:
        return INTERRUPTED


def seconds(flag: str, text: str) -> int:
    """`90`, `15m`, `12h`, `30d`. Raises `ConfigError`."""
    found = _WINDOW.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ConfigError(f"{flag} {text}: write it as 90, 15m, 12h or 30d")
    return int(found[1]) * _UNITS_S[found[2] or "s"]


async def _stats(url: str, key: str, window_s: int, *, as_json: bool, watch: bool) -> int:
    out, _ = consoles()
    async with HeadwaterClient(url, key or None) as client:
        steps = min(max(out.width - TEXT_COLUMNS, FEWEST_STEPS), MOST_STEPS)
        step_s = step_of(window_s, steps)
        figures = await reach(look(client, window_s, step_s), url)
        if as_json:
            out.file.write(msgspec.json.encode(figures).decode() + "\n")
            return FINE
        if not watch or not out.is_terminal:
            out.print(shown(figures, url))
            return FINE
        with Live(shown(figures, url), console=out, screen=True, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(REFRESH_S)
                live.update(shown(await look(client, window_s, step_s), url), refresh=True)


async def look(client: HeadwaterClient, window_s: int, step_s: int) -> Figures:
    summary, series, alerts = await asyncio.gather(
        client.summary(window_s), client.series(SERIES, window_s, step_s), client.alerts()
    )
    return Figures(summary, series, alerts)


def step_of(window_s: int, steps: int) -> int:
    """Seconds, for at most so many steps; above five minutes whole minutes, which is what is kept."""
    step_s = math.ceil(window_s / steps)
    return step_s if window_s <= 300 else 60 * math.ceil(step_s / 60)


# ---------------------------------------------------------------------- how it looks


def shown(figures: Figures, url: str) -> RenderableType:
    summary = figures.summary
    now, totals, rates = summary.now, summary.totals, summary.rates
    head = Text(f"{url} · last {span(summary.window_s)}", style="bold")
    head.append(f" ({span(round(summary.covered_s))} measured)", style="dim")
    table = Table.grid(padding=(0, 2))
    for style in ("", "cyan", ""):
        table.add_column(style=style, no_wrap=True)
    lines: Sequence[tuple[str, str, str]] = (
        ("streams", "streams", f"{now.streams.active:,} of {now.streams.limit:,} · {now.streams.queued:,} queued"),
        ("viewers", "viewers", f"{now.viewers.active:,} of {now.viewers.limit:,} · {totals.resumed:,} resumed"),
        ("started", "streams_per_s", f"{totals.started:,} · {totals.done:,} done · {totals.cancelled:,} cancelled"),
        ("failed", "error_rate", f"{totals.failed:,} · {percent(rates.error_rate)}"),
        ("tokens/s", "tokens_per_s", f"{amount(rates.tokens_per_s)} · {totals.completion_tokens:,} in all"),
        ("sent", "bytes_per_s", f"{size(rates.bytes_per_s)}/s · {size(totals.sent_bytes)} in all"),
        ("first token", "first_token_ms", quantiles(summary.durations.first_token)),
        ("chunk gap", "chunk_gap_ms", quantiles(summary.durations.chunk_gap)),
        ("CPU", "cpu_cores", f"{amount(rates.cpu_cores)} cores"),
        ("memory", "memory_bytes", size(now.memory_bytes)),
    )
    series = {one.metric: one.values for one in figures.series.data}
    for label, name, told in lines:
        values = series[name]
        table.add_row(label, sparkline(values.get("value") or values.get("p95") or []), told)
    parts: list[RenderableType] = [head, table]
    parts += [_providers(summary)] if any(provider.attempts for provider in summary.providers) else []
    parts += [_models(summary)] if summary.models else []
    parts += [Text(f"! {printable(alert.message)}", style="red") for alert in figures.alerts]
    return Group(*parts)


def _providers(summary: Summary) -> Table:
    table = Table("provider", "circuit", "calls", "failed", "first token", box=None, header_style="dim")
    for provider in summary.providers:
        if provider.attempts:
            failed = f"{provider.failures:,} · {percent(provider.error_rate)}"
            told = (provider.circuit or "gone", f"{provider.attempts:,}", failed, quantiles(provider.first_token))
            table.add_row(printable(provider.provider), *told)
    return table


def _models(summary: Summary) -> Table:
    table = Table("model", "answers", "tokens", "cost", box=None, header_style="dim")
    for model in summary.models[:10]:
        cost = " + ".join(f"{money.amount:.4f} {printable(money.currency)}" for money in model.cost)
        table.add_row(printable(model.model), f"{model.streams:,}", f"{model.completion_tokens:,}", cost)
    return table


def sparkline(values: Sequence[float | None]) -> str:
    """A character a step, from 0 to the largest; a step that was not measured is a blank."""
    most = max((value for value in values if value is not None), default=0.0)
    return "".join(
        " " if value is None else _BARS[min(int(value / most * len(_BARS)), len(_BARS) - 1) if most > 0 else 0]
        for value in values
    )


def quantiles(duration: Duration) -> str:
    if not duration.count:
        return "–"
    return f"p50 {amount(duration.p50)} · p95 {amount(duration.p95)} · p99 {amount(duration.p99)} ms"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def amount(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def size(count: float | None) -> str:
    """Bytes, in thousands."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def span(seconds: int) -> str:
    """The largest unit that it is two or more of."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or seconds == length:
            return f"{round(seconds / length)} {unit}"
    return f"{seconds} s"
