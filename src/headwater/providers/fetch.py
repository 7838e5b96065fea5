"""A small whole HTTP answer: model lists, probes, cancel requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ..errors import ProviderError, ProviderProtocolError, ProviderTimeout
from .ports import Transport, UpstreamRequest

_FETCH_BYTES = 8 * 2**20


async def fetch(
    transport: Transport, request: UpstreamRequest, *, timeout_s: float
) -> tuple[int, Mapping[str, str], bytes]:
    """A small whole answer: status, headers, body. Raises `ProviderError`, `ProviderTimeout` after `timeout_s`."""
    receiver = _Fetch()
    exchange = transport.open(request, receiver)
    try:
        async with asyncio.timeout(timeout_s):
            return await receiver.answer
    except TimeoutError as exc:
        raise ProviderTimeout(f"the provider did not answer within {timeout_s:g} s") from exc
    finally:
        exchange.abort()


class _Fetch:
    """The receiver of a small whole body."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, Mapping[str, str], bytes]] = asyncio.get_running_loop().create_future()
        self._head: tuple[int, Mapping[str, str]] = (0, {})
        self._body = bytearray()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._head = status, headers

    def data(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > _FETCH_BYTES:
            self.lost(ProviderProtocolError(f"the provider's answer is larger than {_FETCH_BYTES} bytes"))

    def end(self) -> None:
        if not self.answer.done():
            self.answer.set_result((*self._head, bytes(self._body)))

    def lost(self, error: ProviderError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
