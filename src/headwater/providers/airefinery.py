"""AI Refinery through its own SDK (`airefinery-sdk`, Python ≥ 3.12), for who needs what only the SDK has.

The plain HTTP preset `airefinery` is the better way to stream, because the SDK (read at version 1.33.2) loses things
that are put right here as far as its surface lets: its import and constructor block (they run in a thread); a comment
frame or a cut body ends its stream like a finished one (`ProviderTruncated`, unless every choice has a finish reason);
a finish reason that it does not know raises (the chunk is taken from the error). Reasoning is kept wherever the SDK
hands it out: in whole answers (`stream = false`), not in the streamed types of that version.
"""

from __future__ import annotations

import ast
import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import aiohttp
import msgspec

from ..errors import (
    ConfigError,
    InputError,
    ProducerFailed,
    ProviderError,
    ProviderProtocolError,
    ProviderTimeout,
    UnsupportedField,
)
from ..events import Event, JsonObject
from ..request import ChatRequest
from ..streams.ports import Producer, Writer
from .adapt_openai import CompletionAnswers
from .foreign import plain
from .options import ProviderOptions
from .transport_errors import connect_error, lost_error
from .wire.rejections import rejection, rejection_in_band
from .wire.tool_calls import ToolCalls

_log = logging.getLogger(__name__)

_DISTRIBUTION = "airefinery-sdk"
# Arguments of the SDK's own; a caller must not be able to set headers or time-outs through them.
_RESERVED = frozenset({"extra_body", "extra_headers", "messages", "model", "timeout"})
_INVALID_CHUNK = "Invalid chunk payload (strict streaming): "
_ERROR_PAYLOADS = ("Upstream error payload: ", "Upstream SSE error event: ")


class AIRefinery:
    """See `ports.Provider`. Raises `ConfigError` at once where the SDK is missing or Python is too old for it.

    `connect` makes the SDK's client from key, base URL and headers; it may block.
    """

    def __init__(self, options: ProviderOptions, *, connect: Callable[[ProviderOptions], Any] | None = None) -> None:
        if connect is None:
            check_sdk()
        self.name = options.name
        self._options = options
        self._connect = connect or _connect
        self._client: asyncio.Task[Any] | None = None

    async def client(self) -> Any:
        """The SDK's client, made once, in a thread. A failure is not kept: the next one asks again."""
        if self._client is None or (self._client.done() and self._client.exception() is not None):
            connecting = asyncio.to_thread(self._connect, self._options)
            self._client = asyncio.get_running_loop().create_task(connecting, name="connect airefinery-sdk")
        try:
            return await asyncio.shield(self._client)
        except Exception as exc:
            # The constructor asks the server about the key, and folds whatever happens into errors of its own.
            _log.warning("the AI Refinery SDK cannot start", exc_info=True)
            raise ProviderError(f"the AI Refinery SDK cannot start ({type(exc).__name__})", provider=self.name) from exc

    async def models(self) -> Sequence[str]:
        if self._options.table.models:
            return self._options.table.models
        client = await self.client()
        try:
            return [model.id for model in (await client.models.list()).data]
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise self.error(exc, begun=False) from exc

    def producer(self, request: ChatRequest, model: str) -> Producer:
        for name in request.params:
            if name in _RESERVED:
                raise UnsupportedField(f"the AI Refinery SDK cannot take {name}", param=name)
        options = request.params.get("stream_options") or {}
        if not isinstance(options, dict):
            raise InputError("stream_options must be an object", param="stream_options")
        arguments: JsonObject = {**request.params, "model": model, "messages": request.messages}
        arguments["stream"] = self._options.table.stream
        if self._options.table.stream:
            arguments["stream_options"] = {**options, "include_usage": True}
        else:
            arguments.pop("stream_options", None)
        return _Call(self, arguments)

    async def close(self) -> None:
        """Gives up a client that is still being made; the SDK opens a session for every request."""
        if self._client is not None and not self._client.done():
            self._client.cancel()

    def error(self, exc: Exception, *, begun: bool) -> ProviderError:
        """What the SDK raised, typed. `begun`: whether a chunk had come."""
        error = _typed(exc, secret=self._options.api_key, begun=begun)
        error.provider = self.name
        return error


class _Call:
    """See `streams.ports.Producer`."""

    def __init__(self, provider: AIRefinery, arguments: JsonObject) -> None:
        self._provider = provider
        self._arguments = arguments

    async def run(self, writer: Writer) -> None:
        answers = CompletionAnswers(ToolCalls())
        try:
            async with aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    writer.connected()
                    await _write(writer, answers.take(chunk))
            events, done, usage = answers.finish()
        except ProducerFailed as exc:
            what = "the AI Refinery SDK gave what is no chunk"
            raise ProviderProtocolError(what, provider=self._provider.name) from exc
        except ProviderError as error:
            error.provider = self._provider.name
            raise
        await _write(writer, [*events, *([usage] if usage else []), done])

    async def _chunks(self) -> AsyncGenerator[JsonObject, None]:
        """Chunks as plain objects, or the whole answer as one. Closed with its iterator, the SDK's is closed too."""
        client = await self._provider.client()
        begun, unread = False, None
        try:
            answer = await client.chat.completions.create(**self._arguments)
            if not self._arguments["stream"]:
                yield plain(answer) or {}
                return
            async with aclosing(answer) as chunks:
                async for chunk in chunks:
                    begun = True
                    yield plain(chunk) or {}
        except (aiohttp.ClientError, TimeoutError, RuntimeError, ValueError) as exc:
            unread = _unread_chunk(exc)
            if unread is None:
                raise self._provider.error(exc, begun=begun) from exc
        if unread is not None:
            yield unread


async def _write(writer: Writer, events: list[Event]) -> None:
    if not events:
        writer.touch()
    elif not writer.write(events):
        await writer.drain()


def check_sdk(python: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raises `ConfigError` where the SDK cannot be used."""
    if python < (3, 12):
        have = ".".join(map(str, python))
        raise ConfigError(f'{_DISTRIBUTION} needs Python 3.12, this is {have}; type = "airefinery" needs no SDK')
    try:
        version(_DISTRIBUTION)
    except PackageNotFoundError:
        raise ConfigError(f'{_DISTRIBUTION} is not installed; type = "airefinery" needs no SDK') from None


def _connect(options: ProviderOptions) -> Any:
    """Blocks: importing the SDK takes seconds and may ask the network, and so may its constructor."""
    from air import AsyncAIRefinery  # type: ignore[import-not-found, unused-ignore]

    return AsyncAIRefinery(
        api_key=options.api_key, base_url=options.base_url, default_headers=dict(options.headers) or None
    )


def _unread_chunk(exc: Exception) -> JsonObject | None:
    """The chunk that the SDK refused to read: its error shows it, as Python writes a dict."""
    text = str(exc)
    chunk = _literal(text.removeprefix(_INVALID_CHUNK)) if text.startswith(_INVALID_CHUNK) else None
    return chunk if chunk is not None and isinstance(chunk.get("choices"), list) else None


def _literal(text: str) -> JsonObject | None:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _typed(exc: Exception, *, secret: str, begun: bool) -> ProviderError:
    match exc:
        case TimeoutError():
            return ProviderTimeout("the provider was silent for too long")
        case aiohttp.ClientResponseError():
            headers = {name.lower(): value for name, value in (exc.headers or {}).items()}
            return rejection(exc.status, headers, exc.message.encode(), secret=secret, now_s=time.time())
        case aiohttp.ClientConnectorError():
            return connect_error(exc.os_error, timeout_s=0.0)
        case aiohttp.ClientError():
            return lost_error(ConnectionResetError(), head_seen=begun)
        case _:
            return _told(exc, secret=secret)


def _told(exc: Exception, *, secret: str) -> ProviderError:
    """An error of the SDK's own, which shows what the provider said about it."""
    text = str(exc)
    for prefix in _ERROR_PAYLOADS:
        if text.startswith(prefix):
            payload = text.removeprefix(prefix)
            return rejection_in_band(_literal(payload) or _json(payload), secret=secret)
    return ProviderProtocolError(f"the AI Refinery SDK could not read the answer ({type(exc).__name__})")


def _json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
