"""What the upload of a 300-page PDF does to other answers: first tokens with and without one, in alternating rounds.

The server is a process of its own, with SQLite and its worker process; the model is the scripted upstream of the tests,
which answers at once. `python -m benchmarks.upload`. Needs the development packages.

On a machine with few cores any process costs the others something, at whatever priority. How much is shown by a third
kind of round: beside a process of the lowest priority that counts, for as long as reading the document takes.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from statistics import median, quantiles

import httpx
from fpdf import FPDF

from headwater.documents.worker import NICENESS
from tests.stack import Served, viewers_client
from tests.upstream import Upstream, prompt

PAGES = 300
ROUNDS = 4
# Answers that are begun in a round, so many a second, each of so many tokens at 20 a second.
ASKED, RATE, TOKENS = 200, 25, 40
_WORDS = [
    "ferry",
    "harbour",
    "crew",
    "ticket",
    "bicycle",
    "weather",
    "timetable",
    "captain",
    "island",
    "bridge",
    "rope",
    "signal",
    "lantern",
]


def pdf(pages: int) -> bytes:
    """A handbook that says nothing, with outline, 40 lines a page."""
    draw = random.Random(1)
    document = FPDF()
    document.set_font("helvetica", size=10)
    for page in range(pages):
        document.add_page()
        document.start_section(f"Chapter {page + 1}")
        for _ in range(40):
            document.cell(0, 6, " ".join(draw.choice(_WORDS) for _ in range(12)), new_x="LMARGIN", new_y="NEXT")
    return bytes(document.output())


async def first_token_s(client: httpx.AsyncClient, url: str, content: str) -> float:
    body = {"model": "scripted", "messages": [{"role": "user", "content": content}], "stream": True}
    began = time.perf_counter()
    first = 0.0
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        async for chunk in response.aiter_bytes():
            if not first and b'"content":"' in chunk.replace(b'"content":""', b""):
                first = time.perf_counter() - began
    return first


async def answers(client: httpx.AsyncClient, url: str) -> list[float]:
    """First-token times of a round."""
    content = prompt(tokens=TOKENS, delay_ms=50)
    tasks: list[asyncio.Task[float]] = []
    for _ in range(ASKED):
        tasks.append(asyncio.create_task(first_token_s(client, url, content)))
        await asyncio.sleep(1 / RATE)
    return await asyncio.gather(*tasks)


async def upload(client: httpx.AsyncClient, url: str, data: bytes, name: str) -> list[str]:
    """The stages that its progress told, once it is read."""
    headers = {"Content-Type": "application/pdf"}
    begun = await client.post(f"{url}/v1/documents", params={"name": name}, content=data, headers=headers)
    begun.raise_for_status()
    stream = begun.json()["data"][0]["stream_id"]
    stages: list[str] = []
    async with client.stream("GET", f"{url}/v1/streams/{stream}/events") as response:
        stages += [line async for line in response.aiter_lines() if '"type":"status"' in line]
    return stages


async def timed(work: Awaitable[list[str]]) -> tuple[float, list[str]]:
    began = time.perf_counter()
    result = await work
    return time.perf_counter() - began, result


async def count_for(busy_s: float) -> None:
    """A process of the priority that the reader of a document has, which does nothing but work."""
    code = f"import os, time\nos.nice({NICENESS})\nend = time.time() + {busy_s}\nwhile time.time() < end: pass"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await process.wait()


async def measure() -> None:
    data = pdf(PAGES)
    calm: list[float] = []
    beside: list[float] = []
    busy: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        async with Upstream() as upstream, viewers_client() as client, served_at(home, upstream) as served:
            await answers(client, served.url)
            for number in range(ROUNDS):
                calm += await answers(client, served.url)
                task = asyncio.create_task(timed(upload(client, served.url, data, f"book-{number}.pdf")))
                beside += await answers(client, served.url)
                took_s, stages = await task
                print(f"round {number + 1}: {PAGES} pages in {took_s:.1f} s, {len(stages)} steps told", flush=True)
                counting = asyncio.create_task(count_for(took_s))
                busy += await answers(client, served.url)
                await counting
    for name, values in (("alone", calm), ("beside an upload", beside), ("beside a busy process", busy)):
        print(f"{name:>21}: first token p50 {median(values) * 1000:.1f} ms, p99 {p99(values) * 1000:.1f} ms")
    for name, values in (("alone", calm), ("beside a busy process", busy)):
        print(f"p99 beside an upload ÷ {name}: {p99(beside) / p99(values):.2f}")


def served_at(home: str, upstream: Upstream) -> Served:
    return Served(Path(home), openai_url=upstream.openai_url)


def p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


if __name__ == "__main__":
    asyncio.run(measure())
    sys.exit(0)
