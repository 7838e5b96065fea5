"""From a question to a conversation to its stream's response: the same steps for every dialect's chat routes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from fastapi import Request
from starlette.types import ASGIApp

from ..chat.asking import Ask, Asked
from ..chat.backend import Backend
from ..chat.starts import Starts, digest_of
from ..dialects import EncodeOptions
from ..events import StreamId
from ..ids import new_stream_id
from ..streams import Accepted
from .accept import as_headers_say, check_room, cursor_of, metered, new_stream, owner_of
from .links import check_no_link
from .ports import Services
from .watching import watch_accepted

# What of a query does not say what is asked: proofs of who asks, and where a viewer left off.
_NO_QUESTION = frozenset({"after", "access_token"})
# What of a query names one start, so that the same address again is the same answer.
_NAMES_START = "key"


class Answering:
    """`starts` is for the routes that an EventSource opens."""

    def __init__(self, services: Services, backend: Backend, starts: Starts) -> None:
        self._services = services
        self.backend = backend
        self._starts = starts

    async def answer(self, request: Request, ask: Ask, dialect: str, options: EncodeOptions | None = None) -> ASGIApp:
        """Ask, and answer with the stream. `Idempotency-Key`, `X-Priority`, `X-Fallback`, `X-Linger-S` are obeyed."""
        asked = await self.ask(request, ask, dialect, watched=True)
        return self._watch(request, asked, dialect, options)

    async def answer_get(
        self, request: Request, ask: Ask, dialect: str, options: EncodeOptions | None = None
    ) -> ASGIApp:
        """The same for a GET: with a cursor, the stream that it is a position in; else a new one.

        An address with a `key` in its query starts one stream only, also where no cursor comes back.
        """
        check_no_link(request)
        tenant, query = owner_of(request), request.query_params
        digest = digest_of(request.url.path, _question(query.multi_items()))
        cursor = cursor_of(request, query.get("after"))
        known = None
        if cursor is not None:
            known = await self._starts.at(tenant, digest, cursor)
        elif query.get(_NAMES_START):
            known = await self._starts.newest(tenant, digest)
        if known is not None:
            channel = await self.backend.hub.find_stream(known, owner=tenant)
            if channel is not None:
                return self._watch(request, Asked(channel, False, None), dialect, options)
        stream = new_stream_id(self.backend.clock_ms())
        epoch = await self._starts.note(tenant, digest, stream)
        # Who asks at the same moment must not start a second one.
        key = f"get:{digest}" if query.get(_NAMES_START) else ""
        asked = await self.ask(request, ask, dialect, stream=stream, epoch=epoch, key=key, watched=True)
        return self._watch(request, asked, dialect, options)

    async def ask(
        self,
        request: Request,
        ask: Ask,
        dialect: str,
        *,
        stream: StreamId | None = None,
        epoch: int = 1,
        key: str = "",
        watched: bool = False,
    ) -> Asked:
        """Ask, and nothing more: for answers in one piece.

        `stream` and `epoch`: as noted by `Starts`. `key`: in place of an `Idempotency-Key` that is not there.
        `watched`: whether the caller stays for the stream, for which there must be room.
        """
        fallback, priority = as_headers_say(request, ask.fallback, ask.priority)
        new = new_stream(self._services, request, dialect)
        new = msgspec.structs.replace(new, id=stream, epoch=epoch, idempotency_key=new.idempotency_key or key)
        ask = msgspec.structs.replace(ask, fallback=fallback, priority=priority)
        # Who comes back to an answer is not counted, and so not refused either.
        if (known := await self.backend.asking.known(ask, new)) is not None:
            return known
        if watched and cursor_of(request, request.query_params.get("after")) is None:
            check_room(self._services, request)
        async with metered(self._services, request, len(ask.message)) as count:
            asked = await self.backend.ask(msgspec.structs.replace(ask, meters=count.names), new)
            count.spent = asked.created
        return asked

    def _watch(self, request: Request, asked: Asked, dialect: str, options: EncodeOptions | None) -> ASGIApp:
        return watch_accepted(
            self._services, request, Accepted(asked.channel, asked.created), dialect, options or EncodeOptions()
        )


def _question(query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in query if name not in _NO_QUESTION]
