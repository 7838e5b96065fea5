"""The `replay` provider: recorded answers as models, played through the real decoders at any pace.

For demonstrations, tests and offline work. A recording `talk.jsonl` is the model `replay/talk`; `replay/welcome`
comes with the package, so that a machine without any key can stream at once. Playing is deterministic: the same
recording always gives the same events, so an answer that a crash cut off goes on where its log ends.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ..errors import (
    InputError,
    ProviderError,
    ProviderProtocolError,
    ProviderTruncated,
    ProviderUnreachable,
    UnknownModel,
)
from ..events import CONTENT_TYPES, Event, Metadata, Usage
from ..request import ChatRequest
from ..streams.ports import Producer, Writer
from .ports import Continuation, Held, WireProtocol
from .recordings import MAX_BYTES, Recording, parse_recording
from .wire.anthropic import Anthropic
from .wire.gemini import Gemini
from .wire.ollama import Ollama
from .wire.openai_chat import OpenAIChat
from .wire.responses import Responses

# By the name that a recording says; what is played needs no address and no key.
PROTOCOLS: Mapping[str, Callable[[], WireProtocol]] = {
    "anthropic": Anthropic,
    "azure": OpenAIChat,  # whose answers and errors are OpenAI's
    "gemini": Gemini,
    "ollama": Ollama,
    "openai_chat": OpenAIChat,
    "openai_responses": Responses,
}
SUFFIX = ".jsonl"
_MAX_PACE = 1000.0
_NAME = re.compile(r"\w[\w. +@-]*")


class Replay:
    """See `ports.Provider` and `ports.SupportsContinuation`.

    `directory` holds further recordings. `pace` is the speed: 1 as recorded, 2 twice as fast, 0 at once; a request's
    own parameter `pace` wins over it.
    """

    name = "replay"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        pace: float = 1.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._pace = pace
        self._sleep = sleep

    async def models(self) -> Sequence[str]:
        return [f"{self.name}/{stem}" for stem in await asyncio.to_thread(self._stems)]

    def producer(self, request: ChatRequest, model: str) -> Producer:
        """Raises `UnknownModel`, and `InputError` for a pace that is none. The content is read when it plays."""
        stem = model.removeprefix(f"{self.name}/")
        source = self._source(stem)
        return _Player(source, stem, self._pace_of(request), self._sleep)

    def continuation(self, request: ChatRequest, model: str, held: Held) -> Continuation | None:
        """The same producer: it finds in the stream what it need not write again.

        A recording that broke off would only break off there again.
        """
        return Continuation(self.producer(request, model), exact=True) if held.interrupted else None

    async def close(self) -> None:
        """Holds nothing."""

    def _pace_of(self, request: ChatRequest) -> float:
        pace = request.params.get("pace")
        if pace is None:
            return self._pace
        if isinstance(pace, bool) or not isinstance(pace, int | float) or not 0 <= pace <= _MAX_PACE:
            raise InputError(f"pace must be a number from 0 to {_MAX_PACE:g}", param="pace")
        return float(pace)

    def _stems(self) -> list[str]:
        """The operator's own recordings, then those that come with the package."""
        own: list[str] = []
        if self._directory is not None:
            try:
                own = sorted(path.stem for path in self._directory.iterdir() if path.suffix == SUFFIX)
            except OSError as exc:
                raise ProviderUnreachable(
                    f"the recordings cannot be listed: {exc.strerror}", provider=self.name
                ) from exc
        shipped = [each.name.removesuffix(SUFFIX) for each in _shipped().iterdir() if each.name.endswith(SUFFIX)]
        return [*own, *(stem for stem in sorted(shipped) if stem not in own)]

    def _source(self, stem: str) -> Traversable:
        """A name is a file's, never a path: it must not lead out of the directory (CWE-22)."""
        if _NAME.fullmatch(stem):
            for directory in (self._directory, _shipped()):
                if directory is not None and (file := directory.joinpath(f"{stem}{SUFFIX}")).is_file():
                    return file
        raise UnknownModel(f"there is no recording {stem[:100]!r}", param="model")


class _Player:
    """Plays one recording into one stream. See `streams.ports.Producer`."""

    def __init__(
        self, source: Traversable, name: str, pace: float, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._source = source
        self._name = name
        self._pace = pace
        self._sleep = sleep

    async def run(self, writer: Writer) -> None:
        try:
            recording = parse_recording(await asyncio.to_thread(self._content), name=self._name)
            await self._play(recording, writer)
        except ProviderError as error:
            error.provider = Replay.name
            raise

    def _content(self) -> bytes:
        try:
            with self._source.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as exc:
            raise ProviderUnreachable(f"the recording {self._name} cannot be read: {exc.strerror}") from exc
        if len(content) > MAX_BYTES:
            raise ProviderProtocolError(f"the recording {self._name} is larger than {MAX_BYTES} bytes")
        return content

    async def _play(self, recording: Recording, writer: Writer) -> None:
        header = recording.header
        make = PROTOCOLS.get(header.protocol)
        if make is None:
            raise ProviderProtocolError(f"the recording {self._name} names an unknown protocol")
        protocol = make()
        if not 200 <= header.status < 300:
            body = b"".join(read.data for read in recording.reads)
            raise protocol.error(header.status, {"content-type": header.content_type, **header.headers}, body)
        writer.connected()
        decoder = protocol.decoder()
        rest = _Rest(writer)
        clock = _Clock(self._pace, self._sleep)
        try:
            for read in recording.reads:
                if rest.reached:
                    await clock.until(read.t_ms)
                else:
                    clock.start_at(read.t_ms)
                if not rest.write(decoder.feed(read.data)):
                    await writer.drain()
            if header.cut:
                raise ProviderTruncated("the recording ends with a cut connection")
            rest.write(decoder.close())
        except ProviderError:
            rest.write(decoder.pending)
            raise


class _Rest:
    """Writes what a stream does not hold yet. Decoding is deterministic, so counting content events is exact."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._skip = writer.fold.content_events

    @property
    def reached(self) -> bool:
        """Whether the end of what the stream already held has been reached."""
        return self._skip == 0

    def write(self, events: Sequence[Event]) -> bool:
        missing = [event for event in events if self._is_missing(event)]
        return self._writer.write(missing) if missing else True

    def _is_missing(self, event: Event) -> bool:
        if self._skip:
            self._skip -= type(event) in CONTENT_TYPES
            return False
        if isinstance(event, Metadata):
            return not event.data.items() <= (self._writer.fold.served or {}).items()
        return not (isinstance(event, Usage) and self._writer.fold.usage is not None)


class _Clock:
    """Recorded time at a pace, counted from the first read that is played, so that waits do not add up to a drift."""

    def __init__(self, pace: float, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._pace = pace
        self._sleep = sleep
        self._time = asyncio.get_running_loop().time
        self.start_at(0)

    def start_at(self, t_ms: float) -> None:
        """It is `t_ms` now."""
        self._origin_ms = t_ms
        self._origin_s = self._time()

    async def until(self, t_ms: float) -> None:
        """Wait for recorded time `t_ms`; without a pace only let others run."""
        due_s = (t_ms - self._origin_ms) / 1000 / self._pace if self._pace else 0.0
        await self._sleep(max(0.0, self._origin_s + due_s - self._time()))


def _shipped() -> Traversable:
    return files(__package__).joinpath("transcripts")
