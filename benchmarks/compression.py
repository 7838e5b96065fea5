"""What compressing a stream saves and costs, by dialect and coding: `python -m benchmarks.compression`.

One answer of 1,000 words of this project's documentation, each an event, a frame and a write of its own, as they come
at 20 a second. Saved: of the bytes of the body. µs: CPU of compressing and flushing one event, the median of seven
runs. KiB: what one compressor holds after 100 events, by the growth of a process that makes 300 of them (Linux).
"""

from __future__ import annotations

import gc
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import psutil

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.events import StreamId, Text
from headwater.server.compression import CODINGS, Coding, Compression, CompressionSettings
from headwater.streams import Channel
from headwater.streams.fold import Fold
from headwater.streams.log import StreamRecord

WORDS = 1000
RUNS = 7
HELD, EVENTS_HELD = 300, 100
LEVELS: dict[str, Sequence[int]] = {"gzip": (1, 3, 6, 9), "zstd": (1, 2, 3, 4), "br": (2, 3, 4, 5)}
DOCS = Path(__file__).parent.parent / "docs"


class Counted:
    """A sink that counts."""

    writable = True

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self.bytes += len(data)

    def finish(self) -> None: ...
    def abort(self) -> None: ...
    def bind(self, on_writable: Callable[[], None]) -> None: ...


def frames(dialect: str) -> list[bytes]:
    prose = (DOCS / "explanation" / "architecture.md").read_text("utf-8")
    words = re.findall(r"[A-Za-z,.]+", prose)[:WORDS]
    record = StreamRecord(id=StreamId("01a21b98-534e-7539-8ef6-97b9739f0504"), created_ms=0, model="gpt-4o-mini")
    channel = Channel(record, Fold(), tail_bytes=32_768)
    encoder = DIALECTS[dialect].encoder(EncodeOptions())(channel)
    made = []
    for seq, word in enumerate(words, 1):
        event = Text(f" {word}")
        channel.fold.apply(event)
        made.append(encoder.encode(seq, event))
    return made


def settings(coding: Coding, level: int) -> CompressionSettings:
    name = "gzip" if coding == "deflate" else coding
    return CompressionSettings(**{f"compression_{name}_level": level})  # type: ignore[arg-type]


def measured(coding: Coding, level: int, pieces: list[bytes]) -> tuple[float, float]:
    """The share saved, and CPU µs an event."""
    times, sent = [], 0
    for _ in range(RUNS):
        counted = Counted()
        sink = Compression(settings(coding, level)).sink(coding, counted)
        start = time.process_time()
        for piece in pieces:
            sink.write(piece)
        times.append(time.process_time() - start)
        sink.finish()
        sent = counted.bytes
    return 1 - sent / sum(map(len, pieces)), median(times) / len(pieces) * 1e6


def held_kib(coding: Coding, level: int, pieces: list[bytes]) -> float:
    """Measured in a child, so that no earlier allocation is used again."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        compression = Compression(settings(coding, level))
        gc.collect()
        before = psutil.Process().memory_info().rss
        sinks = [compression.sink(coding, Counted()) for _ in range(HELD)]
        for sink in sinks:
            for piece in pieces[:EVENTS_HELD]:
                sink.write(piece)
        os.write(writing, b"%.1f" % ((psutil.Process().memory_info().rss - before) / HELD / 1024))
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as told:
        return float(told.read())


def main() -> None:
    """Print both tables, as Markdown."""
    print("| dialect | bytes an event | gzip | zstd | br | deflate |")
    print("|---|---|---|---|---|---|")
    usual = {"gzip": 1, "zstd": 1, "br": 3, "deflate": 1}
    for dialect in DIALECTS:
        pieces = frames(dialect)
        cells = [measured(coding, usual[coding], pieces) for coding in CODINGS]
        told = " | ".join(f"{100 * saved:.1f} %, {us:.1f} µs" for saved, us in cells)
        print(f"| `{dialect}` | {sum(map(len, pieces)) / len(pieces):.0f} | {told} |", flush=True)
    print("\n| coding | level | saved | µs an event | KiB a viewer |")
    print("|---|---|---|---|---|")
    pieces = frames("openai_chat")
    for name, levels in LEVELS.items():
        for level in levels:
            saved, us = measured(name, level, pieces)  # type: ignore[arg-type]
            kib = held_kib(name, level, pieces)  # type: ignore[arg-type]
            print(f"| {name} | {level} | {100 * saved:.1f} % | {us:.1f} | {kib:.0f} |", flush=True)


if __name__ == "__main__":
    main()
