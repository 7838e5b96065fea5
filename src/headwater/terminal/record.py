"""`headwater record`: one answer of a provider, shown while it arrives and kept as a recording.

No server is involved: the providers are found as `serve` finds them, and the answer runs through a hub of its own with
a log in memory, so that time-outs and errors are the usual ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..config import Settings, load_settings
from ..errors import ConfigError
from ..events import Done, JsonObject, Terminal
from ..following import follow_channel
from ..logs import open_log
from ..providers.call import HttpCall
from ..providers.discovery import transport_for
from ..providers.recorder import RecordingTransport
from ..providers.recordings import Recording, encode_recording
from ..providers.replay import SUFFIX
from ..request import ChatRequest
from ..runtime import open_registry, stream_settings
from ..streams import Hub, NewStream
from .display import Display, consoles
from .exits import FAILED, FINE, INTERRUPTED, MISUSED


class Options(NamedTuple):
    """`note` is for the recording's readers. `request` is a file with a chat completion's body, in OpenAI's form."""

    out: Path
    request: Path | None = None
    keep_request: bool = False
    note: str = ""
    force: bool = False
    config: str = ""


def record(model: str, prompt: str, options: Options) -> int:
    """Returns the exit code. Raises `ConfigError` for what keeps it from asking, and `HeadwaterError`."""
    display = Display(*consoles())
    _check_place(options)
    request = _request(model, prompt, options.request)
    if request is None:
        display.note("headwater: nothing to ask: give a prompt, a --request file, or a question on stdin")
        return MISUSED
    settings = load_settings(config=options.config or None)
    _make_directory(options.out.parent)
    try:
        with _failures_told_once(), asyncio.Runner() as runner:
            end, recording = runner.run(_record(settings, request, options, display))
    except KeyboardInterrupt:
        return INTERRUPTED
    if recording is None:
        display.note("nothing was recorded: no answer arrived")
    else:
        _write(options, recording)
        display.note(_summary(options.out, recording))
    return _exit_code(end)


def _exit_code(end: Terminal | None) -> int:
    if not isinstance(end, Done):
        return FAILED
    return INTERRUPTED if end.reason == "cancelled" else FINE


async def _record(
    settings: Settings, request: ChatRequest, options: Options, display: Display
) -> tuple[Terminal | None, Recording | None]:
    """How the answer ended, and what there is of it."""
    async with _upstream(settings, request) as upstream:
        end = await _answer(settings, upstream.call, display)
        return end, upstream.transport.recording(
            upstream.call.protocol.name,
            whole=isinstance(end, Done) and end.reason != "cancelled",
            keep_request=options.keep_request,
            model=upstream.model,
            recorded_at=datetime.now(UTC).date().isoformat(),
            note=options.note,
        )


class _Upstream(NamedTuple):
    """One attempt at the answer, the provider's own name of the model, and the transport that it all runs on."""

    call: HttpCall
    model: str
    transport: RecordingTransport


@asynccontextmanager
async def _upstream(settings: Settings, request: ChatRequest) -> AsyncIterator[_Upstream]:
    """The first target of the model, without a retry or a fallback.

    Raises `ConfigError`, `UnknownModel`, and `InputError` for what the provider cannot take.
    """
    transport = RecordingTransport(transport_for(os.environ, connect_timeout_s=settings.connect_timeout_s))
    registry = await open_registry(settings, transport)
    try:
        target = (await registry.resolve(request.model)).targets[0]
        call = target.provider.producer(request, target.model)
        if not isinstance(call, HttpCall):
            raise ConfigError(f"{target.provider.name} is not reached over HTTP: there is nothing to record")
        yield _Upstream(call, target.model, transport)
    finally:
        await registry.close()


async def _answer(settings: Settings, call: HttpCall, display: Display) -> Terminal | None:
    """Show the answer; a cancellation of this task stops it, and what had arrived stays."""
    log = await open_log("memory", settings.data_dir, "memory")
    hub = Hub(log, stream_settings(settings))
    await hub.start()
    try:
        channel = (await hub.create(NewStream(), call)).channel
        end = None
        try:
            async for event in follow_channel(hub, channel, None):
                display.show(event)
                end = event
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 -- a coroutine runs in one
            task.uncancel()
            await hub.cancel(channel.record.id, owner="")
            end = Done("cancelled")
        display.end_line()
        return end if isinstance(end, Terminal) else None
    finally:
        await hub.shutdown()
        await log.close()


def _request(model: str, prompt: str, path: Path | None) -> ChatRequest | None:
    """None where there is nothing to ask. A prompt is added to the file's messages; the file's model is not used."""
    body = _body(path)
    if not prompt and path is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    messages = body.pop("messages", [])
    if not isinstance(messages, list):
        raise ConfigError(f"{path}: messages must be an array")
    if prompt:
        messages.append({"role": "user", "content": prompt.encode("utf-8", "replace").decode()})
    for name in ("model", "stream", "stream_options"):
        body.pop(name, None)
    return ChatRequest(model, messages, body) if messages else None


def _body(path: Path | None) -> JsonObject:
    if path is None:
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=JsonObject)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not a request: {exc}") from exc


def _check_place(options: Options) -> None:
    """Before anything is asked, and paid for."""
    if options.out.suffix != SUFFIX:
        raise ConfigError(f"{options.out} could not be served, for want of {SUFFIX}: use --out {options.out}{SUFFIX}")
    if options.out.exists() and not options.force:
        raise ConfigError(f"{options.out} exists; --force replaces it")


def _make_directory(path: Path) -> None:
    """Before anything is asked, too: an answer that cannot be kept would be paid for in vain."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"cannot make the directory {path}: {exc.strerror}") from exc


@contextmanager
def _failures_told_once() -> Iterator[None]:
    """A server logs each stream that fails, for its operator; here the display has told it. Faults of ours stay."""
    logger = logging.getLogger("headwater.streams")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _write(options: Options, recording: Recording) -> None:
    try:
        with options.out.open("wb" if options.force else "xb") as file:
            file.write(encode_recording(recording))
    except OSError as exc:
        raise ConfigError(f"cannot write {options.out}: {exc.strerror}") from exc


def _summary(out: Path, recording: Recording) -> str:
    header, reads = recording.header, recording.reads
    size = sum(len(read.data) for read in reads)
    seconds = reads[-1].t_ms / 1000 if reads else 0.0
    parts = [f"{len(reads)} reads", f"{size:,} bytes", f"{seconds:.1f} s"]
    if not 200 <= header.status < 300:
        parts.insert(0, f"HTTP status {header.status}")
    if header.cut:
        parts.append("cut")
    return f"{out}: {', '.join(parts)}"
