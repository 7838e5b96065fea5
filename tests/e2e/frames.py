"""What a page's main thread does, by Chromium's own trace: the time that each task takes on the processor.

Frames are late where a task takes long. How late also depends on what else the machine does, so the processor's time is
the page's own figure; the gaps between frames are told beside it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, NamedTuple

from playwright.async_api import CDPSession, Page

FRAME_MS = 50.0
_CATEGORIES = ["toplevel", "devtools.timeline"]
_TASK, _FRAME = "ThreadControllerImpl::RunTask", "FireAnimationFrame"
_PARTS = {"FireAnimationFrame": "script", "UpdateLayoutTree": "style", "Layout": "layout", "Paint": "paint"}
_READ_BYTES = 1 << 20
_TOLD = 6
# The task itself, and the parts of garbage collections, which are told as a whole.
_ASIDE = (_TASK, "V8.GC")


class Frames(NamedTuple):
    """`tasks_ms`: processor time of each task, `gaps_ms`: between frames, `parts_s`: where the time went.

    `long_tasks`: what each task that made a frame late consisted of.
    """

    tasks_ms: list[float]
    gaps_ms: list[float]
    parts_s: dict[str, float]
    heap_mb: float
    long_tasks: list[str]

    def __str__(self) -> str:
        tasks, gaps = sorted(self.tasks_ms), sorted(self.gaps_ms)
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.parts_s.items())
        return (
            f"longest task {tasks[-1]:.0f} ms of processor time, {_over(tasks)} over {FRAME_MS:.0f} ms "
            f"({sum(tasks) / 1000:.1f} s in all: {parts}); "
            f"frames {len(gaps)}, gap p99 {_at(gaps, 0.99):.0f} ms, longest {gaps[-1] if gaps else 0:.0f} ms, "
            f"{_over(gaps)} over {FRAME_MS:.0f} ms; heap {self.heap_mb:.0f} MB"
        ) + "".join(f"\n  {task}" for task in self.long_tasks)


def _over(values: list[float]) -> int:
    return sum(value > FRAME_MS for value in values)


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


@asynccontextmanager
async def traced(page: Page) -> AsyncIterator[list[Frames]]:
    """Traces what happens within; the list then holds the figures."""
    found: list[Frames] = []
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")
    config = {"includedCategories": _CATEGORIES}
    await session.send("Tracing.start", {"transferMode": "ReturnAsStream", "traceConfig": config})
    yield found
    events = await _events(session)
    await session.send("HeapProfiler.collectGarbage")
    metrics = {metric["name"]: metric["value"] for metric in (await session.send("Performance.getMetrics"))["metrics"]}
    await session.detach()
    found.append(figures(events, metrics["JSHeapUsedSize"] / 1e6))


async def _events(session: CDPSession) -> list[dict[str, Any]]:
    complete: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    session.on("Tracing.tracingComplete", lambda event: complete.set_result(event))
    await session.send("Tracing.end")
    handle = (await complete)["stream"]
    parts = []
    while True:
        part = await session.send("IO.read", {"handle": handle, "size": _READ_BYTES})
        parts.append(part["data"])
        if part["eof"]:
            break
    await session.send("IO.close", {"handle": handle})
    # Texts of the page may be cut within a character, which strict readers of JSON refuse.
    events: list[dict[str, Any]] = json.loads("".join(parts))["traceEvents"]
    return events


def figures(events: list[dict[str, Any]], heap_mb: float) -> Frames:
    """Of the busiest main thread: each page has one, in a process of its own."""
    names = {
        (e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    spans = [e for e in events if e.get("ph") == "X" and (e["pid"], e["tid"]) in names]
    busy: Counter[tuple[int, int]] = Counter()
    for span in spans:
        busy[span["pid"], span["tid"]] += span.get("tdur", 0)
    main = busy.most_common(1)[0][0] if busy else None
    spans = [span for span in spans if (span["pid"], span["tid"]) == main]
    starts = sorted(span["ts"] / 1000 for span in spans if span["name"] == _FRAME)
    parts: Counter[str] = Counter(dict.fromkeys(_PARTS.values(), 0))
    for span in spans:
        if span["name"] in _PARTS:
            parts[_PARTS[span["name"]]] += span.get("tdur", 0) / 1e6
    return Frames(
        tasks_ms=[span.get("tdur", 0) / 1000 for span in spans if span["name"] == _TASK] or [0.0],
        gaps_ms=[after - before for before, after in pairwise(starts)],
        parts_s=dict(parts),
        heap_mb=heap_mb,
        long_tasks=[_described(span, spans) for span in spans if span["name"] == _TASK and _ms(span) > FRAME_MS],
    )


def _ms(span: dict[str, Any]) -> float:
    """On the processor."""
    taken: float = span.get("tdur", 0) / 1000
    return taken


def _described(task: dict[str, Any], spans: list[dict[str, Any]]) -> str:
    """Its length, and the longest of what ran within it, with the script where there was one."""
    end = task["ts"] + task["dur"]
    within = [
        span for span in spans
        if task["ts"] <= span["ts"] and span["ts"] + span["dur"] <= end and not span["name"].startswith(_ASIDE)
    ]  # fmt: skip
    told = []
    for span in sorted(within, key=_ms, reverse=True)[:_TOLD]:
        data = span.get("args", {}).get("data", {})
        where = f" {data.get('functionName', '')}@{data.get('url', '')[-40:]}" if "url" in data else ""
        told.append(f"{span['name']}{where} {_ms(span):.0f}")
    return f"{_ms(task):.0f} ms: {', '.join(told)}"
