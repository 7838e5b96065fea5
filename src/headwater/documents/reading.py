"""Documents to text and passages, each in a process of its own (`worker`) that cannot outlive the call.

This is the package's public face for reading. It imports no format's library: those are the worker's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, assert_never

import msgspec

from ..errors import DocumentRefused, ReaderFailed
from .extraction.records import Progress, ReadLimits
from .splitting import Cut, Splitting
from .worker import (
    HEAD_BYTES,
    Advance,
    CutsPart,
    Finished,
    Message,
    Order,
    Refused,
    TextPart,
    frame,
    frame_length,
)

__all__ = ["Piece", "Progress", "ReadLimits", "Reading", "Splitting", "read_document"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_WORKER = "headwater.documents.worker"
_WRITE_BYTES = 256 * 1024
_STDERR_BYTES = 4_096
# What a worker that has closed its output gets to end by itself.
_EXIT_S = 1.0
# What Python needs to start; not the server's keys, which are in its environment.
_ENVIRONMENT = (
    "PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "SYSTEMROOT", "VIRTUAL_ENV",
)  # fmt: skip
# By these a library crashed in native code, as it does where memory ends and nobody looked.
_CRASHES = frozenset(
    getattr(signal, name) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL") if hasattr(signal, name)
)
_OUT_OF_CPU = getattr(signal, "SIGXCPU", None)

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Piece(msgspec.Struct, frozen=True):
    """A passage: `text == reading.text[start:end]`, in characters.

    `page` (from 1; None in formats without pages) and `section` ("Heading > Sub") are those of its first character.
    """

    text: str
    start: int
    end: int
    page: int | None = None
    section: str = ""


class Reading(msgspec.Struct, frozen=True):
    """`media_type` is the one found, not the one declared. `pages`: 0 in formats without. `pieces`: at least one."""

    text: str
    media_type: str
    pages: int
    pieces: list[Piece]


async def read_document(
    content: bytes,
    *,
    name: str,
    media_type: str = "",
    limits: ReadLimits,
    splitting: Splitting,
    on_progress: Callable[[Progress], None],
) -> Reading:
    """The worker is gone when this returns or raises, also where the caller is cancelled.

    `name` and `media_type` as the sender declared them; the content decides. `on_progress` is called at most 20 times a
    second, and with the last of each stage; what it raises ends the reading.
    Raises `DocumentRefused`, and `ReaderFailed` where the process cannot start or is killed.
    """
    if len(content) > limits.max_bytes:
        raise DocumentRefused(f"it has more than {limits.max_bytes} bytes", reason="too_large")
    order = Order(name, media_type, limits, splitting, len(content))
    clock = asyncio.timeout(limits.timeout_s)
    try:
        async with clock:
            return await _run(order, content, on_progress)
    except TimeoutError as exc:
        if not clock.expired():
            # The caller's own, of `on_progress`.
            raise
        raise _timed_out(limits) from exc


async def _run(order: Order, content: bytes, on_progress: Callable[[Progress], None]) -> Reading:
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _WORKER, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=_environment()
        )
    except OSError as exc:
        raise ReaderFailed(f"no process to read the document in: {exc.strerror}") from exc
    complaints = asyncio.ensure_future(_last_bytes(process))
    try:
        # Where it died before it heard all, its exit says why.
        with suppress(ConnectionError):
            await _tell(process, frame(order), content)
        reading = await _collect(process, order.limits, on_progress)
    finally:
        await _finish(process, complaints)
    if reading is None:
        raise _death(process.returncode or 0, complaints.result(), order.limits)
    return reading


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}


async def _tell(process: Process, order: bytes, content: bytes) -> None:
    """In slices, so that the transport never holds a second copy of the document."""
    stdin = _of(process.stdin)
    stdin.write(order)
    view = memoryview(content)
    for start in range(0, len(view), _WRITE_BYTES):
        stdin.write(view[start : start + _WRITE_BYTES])
        await stdin.drain()


async def _collect(process: Process, limits: ReadLimits, on_progress: Callable[[Progress], None]) -> Reading | None:
    """None: the worker ended, or said more than it may, before it had finished. Raises `DocumentRefused`."""
    parts: list[str] = []
    cuts: list[Cut] = []
    characters = 0
    while (message := await _receive(_of(process.stdout))) is not None:
        match message:
            case Advance():
                on_progress(message.progress)
            case TextPart():
                parts.append(message.text)
                characters += len(message.text)
            case CutsPart():
                cuts += message.cuts
            case Refused():
                _log.info("a document is refused: %s (%s)", message.reason, message.detail or message.message)
                raise DocumentRefused(message.message, reason=message.reason)
            case Finished():
                return _reading("".join(parts), cuts, message)
            case _:
                assert_never(message)
        # A worker that a document took over must not fill the server.
        if characters > limits.max_characters or len(cuts) > characters:
            break
    return None


async def _receive(stdout: asyncio.StreamReader) -> Message | None:
    """None at the end, and for what is no message."""
    try:
        length = frame_length(await stdout.readexactly(HEAD_BYTES))
        return _decoder.decode(await stdout.readexactly(length))
    except (asyncio.IncompleteReadError, ValueError):
        return None


def _reading(text: str, cuts: list[Cut], finished: Finished) -> Reading:
    pieces = [Piece(text[cut.start : cut.end], cut.start, cut.end, cut.page, cut.section) for cut in cuts]
    return Reading(text, finished.media_type, finished.pages, pieces)


async def _last_bytes(process: Process) -> bytes:
    """What it complains of at the end; it may complain without end."""
    stderr, kept = _of(process.stderr), b""
    while data := await stderr.read(_STDERR_BYTES):
        kept = (kept + data)[-_STDERR_BYTES:]
    return kept


async def _finish(process: Process, complaints: asyncio.Future[bytes]) -> None:
    """Kill it, and wait until it is gone. Shielded: a second cancellation must not leave a zombie."""
    await asyncio.shield(asyncio.ensure_future(_reap(process, complaints)))


async def _reap(process: Process, complaints: asyncio.Future[bytes]) -> None:
    if _of(process.stdout).at_eof():
        # It ends by itself, and its exit tells why. asyncio's `kill` may take that away from who waits for it (255).
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_S):
                await process.wait()
    with suppress(ProcessLookupError):
        process.kill()
    _of(process.stdin).close()
    # A pipe that is not read to its end keeps the transport, and some versions' `wait`.
    while await _of(process.stdout).read(_WRITE_BYTES):
        pass
    await complaints
    await process.wait()


def _death(exit_code: int, complaints: bytes, limits: ReadLimits) -> DocumentRefused | ReaderFailed:
    if -exit_code == _OUT_OF_CPU:
        return _timed_out(limits)
    _log.warning("the reader of a document ended with %d: %s", exit_code, complaints.decode(errors="replace"))
    if -exit_code in _CRASHES:
        return DocumentRefused("it makes the reader crash, and must be damaged", reason="damaged")
    return ReaderFailed("the process that read the document ended too early")


def _timed_out(limits: ReadLimits) -> DocumentRefused:
    return DocumentRefused(f"it could not be read in {limits.timeout_s:g} s", reason="timed_out")


def _of(pipe: T | None) -> T:
    """Every pipe was asked for, which the type does not know."""
    assert pipe is not None  # noqa: S101 -- for the type checker
    return pipe
