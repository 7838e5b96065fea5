"""A configured upstream over HTTP: which of its wire protocols takes a request, and how an answer goes on."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from ..errors import ProviderError, UnsupportedField
from ..events import JsonObject
from ..request import ChatRequest
from ..streams.ports import Producer
from .call import ERROR_BODY_BYTES, ERROR_BODY_TIMEOUT_S, HttpCall
from .fetch import fetch
from .ports import (
    Continuation,
    Decoder,
    Held,
    SupportsCancel,
    SupportsPrefix,
    SupportsReattach,
    Transport,
    UpstreamRequest,
    WireProtocol,
)

_logger = logging.getLogger(__name__)

_PART = re.compile(r"messages\[(\d+)\]\.content\[(\d+)\]")
_FIELD = re.compile(r"messages\[(\d+)\]\.(\w+)")
# Without these a message would say something else, or nothing.
_MEANING = frozenset({"role", "content", "tool_calls", "tool_call_id", "function_call"})
_CANCEL_TIMEOUT_S = 5.0
_FAREWELL_S = 2.0


class HttpProvider:
    """See `ports.Provider`. `name` prefixes its models (`name/model`). The transport may be shared by providers.

    The first of `protocols` that can take a request is used; the first lists the models, unless `models` are given.
    `drop_unsupported`: what none of them can take is left out, and the stream's metadata says so.
    """

    def __init__(
        self,
        name: str,
        protocols: WireProtocol | Sequence[WireProtocol],
        transport: Transport,
        *,
        models: Sequence[str] = (),
        drop_unsupported: bool = False,
        models_timeout_s: float = 5.0,
        error_body_timeout_s: float = ERROR_BODY_TIMEOUT_S,
    ) -> None:
        self.name = name
        self._protocols: Sequence[WireProtocol] = protocols if isinstance(protocols, Sequence) else (protocols,)
        self._transport = transport
        self._models = tuple(models)
        self._drop_unsupported = drop_unsupported
        self._models_timeout_s = models_timeout_s
        self._error_body_timeout_s = error_body_timeout_s
        self._farewells: set[asyncio.Task[None]] = set()

    async def models(self) -> Sequence[str]:
        if self._models:
            return self._models
        protocol = self._protocols[0]
        try:
            status, headers, body = await fetch(
                self._transport, protocol.list_models(), timeout_s=self._models_timeout_s
            )
            if status != 200:
                raise protocol.error(status, headers, body[:ERROR_BODY_BYTES])
            return protocol.parse_models(body)
        except ProviderError as error:
            error.provider = self.name
            raise

    def producer(self, request: ChatRequest, model: str) -> Producer:
        return self._call(self._build(request, lambda protocol, asked: protocol.chat(asked, model)))

    def continuation(self, request: ChatRequest, model: str, held: Held) -> Continuation | None:
        for protocol in self._protocols:
            if isinstance(protocol, SupportsReattach) and (found := protocol.reattach(held)) is not None:
                upstream_request, decoder = found
                return Continuation(self._call(_Built(protocol, upstream_request, []), decoder), exact=True)
        # Trailing white space is refused by some (Anthropic), and makes the next token unlikely for all.
        text = held.text.rstrip()
        if not (held.resumable and text):
            return None
        try:
            built = self._build(request, lambda protocol, asked: _continued(protocol, asked, model, text))
        except UnsupportedField:
            return None
        echoes = isinstance(built.protocol, SupportsPrefix) and built.protocol.echoes_prefix
        return Continuation(self._call(built), exact=False, echoes=echoes)

    def abandon(self, facts: JsonObject) -> None:
        """See `ports.SupportsAbandon`."""
        for protocol in self._protocols:
            request = protocol.cancel_request(facts) if isinstance(protocol, SupportsCancel) else None
            if request is not None:
                task = asyncio.get_running_loop().create_task(self._send_cancel(protocol, request))
                self._farewells.add(task)
                task.add_done_callback(self._farewells.discard)

    async def _send_cancel(self, protocol: WireProtocol, request: UpstreamRequest) -> None:
        try:
            status, headers, body = await fetch(self._transport, request, timeout_s=_CANCEL_TIMEOUT_S)
            if status >= 400:
                raise protocol.error(status, headers, body[:ERROR_BODY_BYTES])
        except ProviderError as error:
            _logger.warning("an answer of %s could not be stopped there: %s", self.name, error.message)

    async def close(self) -> None:
        """Give cancel requests under way a moment. The transport belongs to whoever made it."""
        if self._farewells:
            _, late = await asyncio.wait(self._farewells, timeout=_FAREWELL_S)
            for task in late:
                task.cancel()

    def _call(self, built: _Built, decoder: Decoder | None = None) -> HttpCall:
        return HttpCall(
            self.name,
            built.protocol,
            self._transport,
            built.request,
            decoder=decoder,
            dropped=built.dropped,
            error_body_timeout_s=self._error_body_timeout_s,
        )

    def _build(self, request: ChatRequest, make: _Make) -> _Built:
        """Raises the first protocol's `UnsupportedField` where none can take the request."""
        refusal: UnsupportedField | None = None
        ways = [_whole, _without] if self._drop_unsupported else [_whole]
        for way in ways:
            for protocol in self._protocols:
                try:
                    return way(protocol, request, make)
                except UnsupportedField as exc:
                    refusal = refusal or exc
        assert refusal is not None  # noqa: S101 - there is at least one protocol
        raise refusal


_Make = Callable[[WireProtocol, ChatRequest], UpstreamRequest]


class _Built(NamedTuple):
    protocol: WireProtocol
    request: UpstreamRequest
    dropped: list[str]


def _continued(protocol: WireProtocol, request: ChatRequest, model: str, text: str) -> UpstreamRequest:
    if not isinstance(protocol, SupportsPrefix):
        raise UnsupportedField("this API has no way to go on with an answer")
    return protocol.continued(request, model, text)


def _whole(protocol: WireProtocol, request: ChatRequest, make: _Make) -> _Built:
    return _Built(protocol, make(protocol, request), [])


def _without(protocol: WireProtocol, request: ChatRequest, make: _Make) -> _Built:
    """Leave out what is refused, one field or part after the other, until the rest is taken."""
    dropped: list[str] = []
    while True:
        try:
            return _Built(protocol, make(protocol, request), dropped)
        except UnsupportedField as exc:
            without = drop(request, exc.param or "")
            if without is None:
                raise
            request = without
            dropped.append(exc.param or "")


def drop(request: ChatRequest, field: str) -> ChatRequest | None:
    """The request without a parameter, a field or a part of a message, named as in errors; None where it cannot be.

    A message never loses its last part, nor what makes it that message.
    """
    if field in request.params:
        params = {name: value for name, value in request.params.items() if name != field}
        return msgspec.structs.replace(request, params=params)
    if (found := _PART.fullmatch(field)) is not None:
        at, part = int(found[1]), int(found[2])
        parts = request.messages[at].get("content")
        if not isinstance(parts, list) or len(parts) < 2:
            return None
        return _with_message(request, at, {"content": [*parts[:part], *parts[part + 1 :]]})
    if (found := _FIELD.fullmatch(field)) is not None and found[2] not in _MEANING:
        return _with_message(request, int(found[1]), {found[2]: None})
    return None


def _with_message(request: ChatRequest, at: int, changes: JsonObject) -> ChatRequest:
    """One message changed; None removes a field."""
    changed = {name: value for name, value in {**request.messages[at], **changes}.items() if value is not None}
    messages = [*request.messages[:at], changed, *request.messages[at + 1 :]]
    return msgspec.structs.replace(request, messages=messages)
