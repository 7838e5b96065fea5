"""`Headwater`: durable streams inside your own ASGI application.

Any async iterator becomes a stream that outlives its connection: `respond` answers a request with it, and a browser
that comes back to the same address gets the rest. The same hub, log and viewers as in the server are behind it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..config import Settings, load_settings
from ..dialects import EncodeOptions, dialect_named
from ..errors import AccessError, ConfigError, HeadwaterError, InputError
from ..events import Event, StreamId
from ..following import follow_channel
from ..request import Priority
from ..runtime import Runtime, open_runtime
from ..server import EventStreamResponse
from ..server.accept import cursor_of
from ..server.errors import exception_response
from ..server.viewer_facts import facts_of_viewer
from ..sse import retry
from ..streams import NOBODY, Accepted, Log, NewStream, StreamInfo
from .sources import Source, SourceProducer, check_source, discard

if TYPE_CHECKING:
    from ..chat.backend import Backend
    from ..server.connection_hooks import ConnectionHooks

Authenticate: TypeAlias = Callable[[Request], str | Awaitable[str | None] | None]


class Headwater:
    """One data directory, one event loop. Start it with `async with`, with `FastAPI(lifespan=hw.lifespan)`, or let
    the first use start it (then end it with `aclose`).

    `log`: `sqlite` (kept in `data_dir`), `memory`, or a `Log` of your own, which you close yourself. `durability`:
    see the settings reference, whose names are all accepted as keyword arguments; `HEADWATER_<NAME>` variables fill
    in what is not given. `providers=True` also offers the models of the providers found in the environment through
    `asgi()`; otherwise that API only serves the streams made here. `chat=True` (with `providers=True`) adds
    conversations and documents, to that API and as `await hw.backend()`. `authenticate` gets each request to `asgi()`
    and returns whose streams the caller may see (the `owner`), or `None` to refuse; without it and without `api_keys`
    the API answers on this machine's own names only. Raises `ConfigError`.
    """

    def __init__(
        self,
        *,
        log: Literal["sqlite", "memory"] | Log | None = None,
        data_dir: str | Path | None = None,
        durability: Literal["memory", "commit", "fsync"] | None = None,
        providers: bool = False,
        chat: bool = False,
        authenticate: Authenticate | None = None,
        **settings: Any,
    ) -> None:
        named = log if log is None or isinstance(log, str) else None
        self.settings: Settings = load_settings(log=named, data_dir=data_dir, durability=durability, **settings)
        self._log = None if isinstance(log, str) else log
        self._providers = providers
        self._chat = chat
        self._authenticate = authenticate
        self._opening = asyncio.Lock()
        self._closing = False
        self._stack: AsyncExitStack | None = None
        self._runtime: Runtime | None = None

    async def __aenter__(self) -> Self:
        await self._ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """For `FastAPI(lifespan=hw.lifespan)` and Starlette."""
        async with self:
            yield

    async def aclose(self) -> None:
        """Let streams finish within `grace_s`, then close everything. Idempotent; a later use starts anew."""
        if self._stack is None or self._closing:
            return
        self._closing = True
        try:
            await self._stack.aclose()
        finally:
            self._stack = self._runtime = None
            self._closing = False

    async def _ready(self) -> Runtime:
        async with self._opening:
            if self._runtime is None:
                async with AsyncExitStack() as stack:
                    opened = open_runtime(
                        self.settings,
                        log=self._log,
                        providers=self._providers,
                        single_user=self._authenticate is None,
                        chat=self._chat,
                    )
                    self._runtime = await stack.enter_async_context(opened)
                    self._stack = stack.pop_all()
            return self._runtime

    # ------------------------------------------------------------------ streams

    async def respond(
        self,
        source: Source,
        *,
        dialect: str = "events",
        request: Request | None = None,
        key: str | None = None,
        model: str = "",
        owner: str = "",
        linger_s: float | None = None,
        priority: Priority = "normal",
        include_usage: bool = False,
    ) -> Response:
        """An event-stream response with what `source` yields, durable and resumable.

        `source`: an async iterator, or better a function that returns one (awaited where it is async), which is called
        only when the stream is new. It may yield text, canonical events, and chunks of the `openai` and
        `anthropic` SDKs. `key` names the answer, as `thread-42/msg-7`: the same key of the same `owner` is the same
        stream, so that an EventSource that reconnects to the same address re-attaches. With `request`,
        `Last-Event-ID` or `?after=` tell where it left off. `linger_s`: how long the stream outlives its last viewer,
        by default the setting's or the dialect's. `priority`: its place in the queue while `max_streams` run.
        `include_usage`: whether `openai_chat` frames end with usage.

        Errors of this moment (no room, no log) become a JSON response with their status, and 200 with `retry:` for a
        viewer that returns; an unknown `dialect` raises `InputError`.
        """
        check_source(source)
        chosen = dialect_named(dialect)
        cursor = None if request is None else cursor_of(request, request.query_params.get("after"))
        try:
            if cursor is not None and not key:
                raise InputError("this request resumes a stream: respond() needs the key= that names it", param="key")
            runtime = await self._ready()
            if cursor is None:
                runtime.hub.check_room(NOBODY if request is None else facts_of_viewer(request.scope).caller)
            told = {"model": model, "owner": owner, "priority": priority, "retry": cursor is None}
            new = self._new(dialect, key, linger_s, **told)
            accepted = await self._accept(source, new)
        except HeadwaterError as exc:
            await discard(source)
            if cursor is not None and exc.retryable:
                # Any error status would stop a browser's EventSource for good; this way it comes back.
                return Response(retry(self.settings.retry_ms), media_type="text/event-stream")
            return exception_response(exc)
        channel, created = accepted
        if channel.at_end(cursor):
            return Response(status_code=204, headers={"X-Stream-Id": channel.id})
        return EventStreamResponse(
            runtime.hub,
            channel,
            chosen.encoder(EncodeOptions(include_usage=include_usage)),
            # A cursor of a stream that is gone must not be taken for one of its namesake's.
            cursor="gone" if created and cursor is not None else cursor,
            head_wait_s=self.settings.head_wait_s if chosen.holds_head and cursor is None else 0.0,
            dialect=dialect,
            compression=runtime.compression,
        )

    async def start(
        self,
        source: Source,
        *,
        key: str | None = None,
        model: str = "",
        owner: str = "",
        linger_s: float | None = None,
        priority: Priority = "normal",
    ) -> StreamId:
        """A stream without a response; returns its id when it is durable. Parameters as for `respond`.

        Raises `Overloaded`, `LogError`.
        """
        check_source(source)
        try:
            new = self._new("events", key, linger_s, model=model, owner=owner, priority=priority)
            accepted = await self._accept(source, new)
        except HeadwaterError:
            await discard(source)
            raise
        return StreamId(accepted.channel.id)

    def _new(self, dialect: str, key: str | None, linger_s: float | None, **told: Any) -> NewStream:
        """`told`: further fields of `NewStream`."""
        if linger_s is None:
            linger_s = self.settings.linger_s
        if linger_s is None:
            linger_s = dialect_named(dialect).default_linger_s
        return NewStream(dialect=dialect, linger_s=linger_s, idempotency_key=key or "", **told)

    async def _accept(self, source: Source, new: NewStream) -> Accepted:
        accepted = await (await self._ready()).hub.create(new, SourceProducer(source))
        if not accepted.created:
            await discard(source)
        return accepted

    async def cancel(self, stream: str, *, owner: str = "") -> StreamInfo:
        """Stop the generation now; an ended stream stays as it is. Raises `UnknownStream`."""
        return await (await self._ready()).hub.cancel(StreamId(stream), owner=owner)

    async def info(self, stream: str, *, owner: str = "") -> StreamInfo:
        """Raises `UnknownStream`."""
        return await (await self._ready()).hub.info(StreamId(stream), owner=owner)

    async def follow(self, stream: str, after: str | None = None, *, owner: str = "") -> AsyncGenerator[Event, None]:
        """The events after the cursor `after` (or all), live to the stream's end.

        Raises `UnknownStream`, and `StreamReset` for a cursor that the log does not know.
        """
        hub = (await self._ready()).hub
        channel = await hub.open(StreamId(stream), owner=owner)
        async for event in follow_channel(hub, channel, after):
            yield event

    async def backend(self) -> Backend:
        """Conversations and documents over these streams (`headwater.chat`). `ConfigError` without `chat=True`."""
        chat = (await self._ready()).chat
        if chat is None:
            raise ConfigError("this Headwater has no chat backend: make it with chat=True")
        return chat.backend

    async def hooks(self) -> ConnectionHooks:
        """Callbacks of the connections of reference 002, as `(await hw.hooks()).on("stream_completed", told)`."""
        return (await self._ready()).connections.hooks

    # ------------------------------------------------------------------ the API

    def asgi(self) -> ASGIApp:
        """The HTTP API of these streams, to be mounted: `app.mount("/streams-api", hw.asgi())`."""

        async def api(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await Router(lifespan=self.lifespan).lifespan(scope, receive, send)
                return
            runtime = await self._ready()
            if self._authenticate is not None and scope["type"] == "http":
                owner = self._authenticate(Request(scope))
                if inspect.isawaitable(owner):
                    owner = await owner
                if owner is None:
                    await exception_response(AccessError("you are not signed in"))(scope, receive, send)
                    return
                scope["headwater.owner"] = owner
            await runtime.app(scope, receive, send)

        return api
