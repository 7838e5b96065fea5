"""What an application may hand over as a stream, and the producer made of it."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from ..errors import ProviderRejected
from ..providers.adapt import Adapter
from ..providers.foreign import field, plain
from ..providers.wire.rejections import rejection
from ..streams import Writer

Items: TypeAlias = AsyncIterable[Any]
Source: TypeAlias = Items | Callable[[], Items | Awaitable[Items]]


def check_source(source: object) -> None:
    """Raises `TypeError` for what cannot be iterated with `async for`, nor called to get such a thing."""
    if isinstance(source, AsyncIterable) or callable(source):
        return
    hint = ""
    if inspect.iscoroutine(source):
        source.close()
        hint = "; pass the function instead of its call, as in respond(lambda: ask(question))"
    raise TypeError(f"a stream is made of an async iterator or a function that returns one, not {type(source)!r}{hint}")


async def discard(source: Source) -> None:
    """Close an iterator that will not be used, because its stream exists already or could not be accepted."""
    if isinstance(source, AsyncIterable):
        await _close(source)


class SourceProducer:
    """Runs the application's iterator and writes what it yields. What it raises ends the stream in an error."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def run(self, writer: Writer) -> None:
        try:
            items = await _open(self._source)
            await self._write(items, writer)
        except Exception as exc:
            refused = _refused(exc)
            if refused is None:
                raise
            raise refused from exc

    async def _write(self, items: Items, writer: Writer) -> None:
        adapter = Adapter()
        try:
            async for item in items:
                if not writer.write(adapter.events(item)):
                    await writer.drain()
            writer.write(adapter.close())
        finally:
            await _close(items)


async def _open(source: Source) -> Items:
    if isinstance(source, AsyncIterable):
        return source
    opened: object = source()
    if inspect.isawaitable(opened):
        opened = await opened
    if not isinstance(opened, AsyncIterable):
        raise TypeError(f"the function given as a stream returned {type(opened)!r}, which is no async iterator")
    return opened


def _refused(exc: Exception) -> ProviderRejected | None:
    """An SDK's error for an HTTP status, told by its shape: the status, the answer's own text and `Retry-After` stay.

    The `status_code` beside the `response` tells it from the error of an HTTP client that the application uses for
    something else, whose text is nobody's business.
    """
    status, response = field(exc, "status_code"), field(exc, "response")
    if type(status) is not int or field(response, "status_code") != status:
        return None
    headers = {str(name).lower(): str(value) for name, value in getattr(response, "headers", {}).items()}
    body = msgspec.json.encode({"error": plain(field(exc, "body"))})
    return rejection(status, headers, body, secret=None, now_s=time.time())


async def _close(items: Items) -> None:
    """Generators have `aclose`, the streams of SDKs `close`."""
    close = getattr(items, "aclose", None) or getattr(items, "close", None)
    if close is not None:
        closing = close()
        if inspect.isawaitable(closing):
            await closing
