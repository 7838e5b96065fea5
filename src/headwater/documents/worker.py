"""The process that reads one document and ends: `python -m headwater.documents.worker`.

It meets hostile files with libraries that may loop, swell or crash, so it runs apart, at low priority, within limits
of memory and CPU, cannot write files, open connections or start programs, and knows none of the server's secrets.
Its parent is `reading`.

Both directions are frames: four bytes of length, big-endian, then MessagePack. In: one `Order`, then the document as
so many bytes; afterwards the pipe stays open, and its end says that the parent is gone. Out: any number of `Advance`,
then either `Refused`, or parts of the text and of the cuts, and `Finished`. The text that a library's error has is
never told, as it may quote the document or a path.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import PurePath
from typing import BinaryIO

import msgspec

from ..errors import DocumentRefused, RefusalReason
from .extraction import extract
from .extraction.records import Progress, ReadLimits
from .splitting import Cut, Splitting, split

NICENESS = 19
PROGRESS_INTERVAL_S = 0.05
PART_CHARACTERS = 65_536
PART_CUTS = 1_000
# What a frame may be long; the longest have `PART_CUTS` sections of a few hundred characters.
MAX_FRAME_BYTES = 16 * 1024 * 1024
HEAD_BYTES = 4
# CPU seconds from the signal that ends the worker with `timed_out` to the one that nothing survives.
_CPU_GRACE_S = 2


class Order(msgspec.Struct, frozen=True):
    name: str
    media_type: str
    limits: ReadLimits
    splitting: Splitting
    content_bytes: int


class Advance(msgspec.Struct, frozen=True, tag=True):
    progress: Progress


class TextPart(msgspec.Struct, frozen=True, tag=True):
    text: str


class CutsPart(msgspec.Struct, frozen=True, tag=True):
    cuts: list[Cut]


class Finished(msgspec.Struct, frozen=True, tag=True):
    media_type: str
    pages: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """`detail` is for the server's log: the kind of a library's error and its place, nothing of the document."""

    reason: RefusalReason
    message: str
    detail: str = ""


Message = Advance | TextPart | CutsPart | Finished | Refused
Send = Callable[[Message], None]


def frame(message: Message | Order) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(HEAD_BYTES, "big") + data


def frame_length(head: bytes) -> int:
    """Of the frame's body. Raises `ValueError` for more than `MAX_FRAME_BYTES`."""
    length = int.from_bytes(head, "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError("a frame is too long")
    return length


def receive_order(source: BinaryIO) -> tuple[Order, bytes]:
    """Raises `EOFError` where the parent is gone before it said all."""
    order = msgspec.msgpack.decode(_read(source, frame_length(_read(source, HEAD_BYTES))), type=Order)
    return order, _read(source, order.content_bytes)


def _read(source: BinaryIO, length: int) -> bytes:
    data = source.read(length)
    if len(data) < length:
        raise EOFError
    return data


def work(order: Order, content: bytes, send: Send) -> None:
    """Never raises because of the document; the last message is `Finished` or `Refused`."""
    try:
        _read_and_split(order, content, send)
    except DocumentRefused as exc:
        send(Refused(exc.reason, exc.message, _place(exc.__cause__)))
    except MemoryError as exc:
        send(Refused("expands_too_much", "reading it takes more memory than is allowed", _place(exc)))
    except RecursionError as exc:
        send(Refused("damaged", "it is nested too deeply", _place(exc)))
    except Exception as exc:  # noqa: BLE001 -- the libraries raise anything for damaged files; the parent logs it
        send(Refused("damaged", "it is damaged, or not of the type that it seems to be", _place(exc)))


def _read_and_split(order: Order, content: bytes, send: Send) -> None:
    report = Throttle(send)
    extracted = extract(content, name=order.name, media_type=order.media_type, limits=order.limits, report=report)
    cuts = split(extracted, order.splitting, report)
    for start in range(0, len(extracted.text), PART_CHARACTERS):
        send(TextPart(extracted.text[start : start + PART_CHARACTERS]))
    for start in range(0, len(cuts), PART_CUTS):
        send(CutsPart(cuts[start : start + PART_CUTS]))
    send(Finished(extracted.media_type, len(extracted.pages)))


def _place(exc: BaseException | None) -> str:
    if exc is None:
        return ""
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{type(exc).__name__} at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


class Throttle:
    """Sends a stage's first progress, its last, and between them at most one in `PROGRESS_INTERVAL_S`."""

    def __init__(self, send: Send, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock_s = clock_s
        self._stage = ""
        self._next_s = 0.0

    def __call__(self, progress: Progress) -> None:
        now_s = self._clock_s()
        if progress.stage == self._stage and progress.done < progress.total and now_s < self._next_s:
            return
        self._stage, self._next_s = progress.stage, now_s + PROGRESS_INTERVAL_S
        self._send(Advance(progress))


def resource_limits(limits: ReadLimits) -> dict[str, tuple[int, int]]:
    """Names of the module `resource` → (soft, hard)."""
    cpu_s = max(int(limits.timeout_s), 1)
    return {
        "RLIMIT_AS": (limits.max_memory_bytes, limits.max_memory_bytes),
        "RLIMIT_CPU": (cpu_s, cpu_s + _CPU_GRACE_S),
        "RLIMIT_FSIZE": (0, 0),
        "RLIMIT_CORE": (0, 0),
    }


_FORBIDDEN = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "shutil.", "ctypes.dlopen")


def forbid(event: str, _arguments: tuple[object, ...]) -> None:
    """An audit hook (PEP 578): what no format needs. A second wall, not the first: native code passes it."""
    if event.startswith(_FORBIDDEN):
        raise PermissionError(event)


def _confine(limits: ReadLimits) -> None:  # pragma: no cover -- runs in the worker, which can write no coverage
    if sys.platform != "win32":
        import resource

        os.nice(NICENESS)
        for name, (soft, hard) in resource_limits(limits).items():
            kind = getattr(resource, name)
            _, highest = resource.getrlimit(kind)
            if highest != resource.RLIM_INFINITY:
                soft, hard = min(soft, highest), min(hard, highest)
            try:
                resource.setrlimit(kind, (soft, hard))
            except (OSError, ValueError):
                # macOS refuses RLIMIT_AS; the parent's time limit is left.
                continue
    sys.addaudithook(forbid)


def _end_with_parent() -> None:  # pragma: no cover -- runs in the worker
    os.read(0, 1)
    os._exit(1)


def main() -> None:  # pragma: no cover -- runs in the worker
    import logging

    # What libraries print or warn of must not stand between the frames, nor fill the log with a document's text.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.disable()
    try:
        order, content = receive_order(sys.stdin.buffer)
    except EOFError:
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _confine(order.limits)

    def send(message: Message) -> None:
        output.write(frame(message))
        output.flush()

    try:
        work(order, content, send)
    except BrokenPipeError:
        os._exit(1)
    # At once: taking down what a large document made takes a second.
    os._exit(0)


if __name__ == "__main__":  # pragma: no cover
    main()
