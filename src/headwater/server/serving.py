"""Running the application on uvicorn: descriptors, signals, draining, and a clear word when the port is taken.

Shutdown: a first SIGTERM or SIGINT closes the door for new streams (`ShuttingDown`, `/ready` 503) while viewers, also
returning ones, are served; `Hub.shutdown` ends or hands over the streams within its grace period; then uvicorn closes
the connections. A second signal cuts all of that short.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import msgspec
import uvicorn
from starlette.types import ASGIApp

from ..errors import ConfigError
from ..streams import Hub
from .handoff import HttpLimits, protocol_class

_log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Every proxied stream holds two descriptors, the viewer's and the upstream's.
DESCRIPTORS_A_STREAM = 2
# The log, the listening socket, standard streams, the loop's own, and room to breathe.
OTHER_DESCRIPTORS = 64
# After the streams ended, how long answers under way may take to reach their clients.
CLOSING_S = 5
BACKLOG = 2048


class Bind(msgspec.Struct, frozen=True):
    """Where to listen. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8000


class Server(uvicorn.Server):
    """Uvicorn with the hub's shutdown before its own.

    Await `serve()`, which returns when all is closed. `ready` is called once with the address when connections are
    accepted. The hub must be started, and is shut down here.
    """

    def __init__(
        self,
        app: ASGIApp,
        hub: Hub,
        bind: Bind,
        *,
        limits: HttpLimits | None = None,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            host=bind.host,
            port=bind.port,
            http=protocol_class(limits or HttpLimits()),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=CLOSING_S,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._hub = hub
        self._ready = ready
        self._bind = bind
        self._stop = asyncio.Event()
        self._force = asyncio.Event()
        self.url = ""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises `ConfigError` where the address cannot be had."""
        listening = sockets or [listen(self._bind)]
        self.url = _url(listening[0])
        with self._signals():
            serving = asyncio.create_task(self._serve(listening), name="headwater-server")
            try:
                await self._until_stopped(serving)
            finally:
                self.should_exit = True
                await serving

    def stop(self) -> None:
        """What a signal does: the first time drain and close, the second time close at once."""
        if self._stop.is_set():
            self.force_exit = True
            self._force.set()
        self._stop.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready is not None:
            self._ready(self.url)

    async def _until_stopped(self, serving: asyncio.Task[None]) -> None:
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        draining = asyncio.create_task(self._hub.shutdown())
        forced = asyncio.create_task(self._force.wait())
        try:
            await asyncio.wait((draining, forced), return_when=asyncio.FIRST_COMPLETED)
            if not draining.done():
                draining.cancel()
                await asyncio.wait((draining,))
                await self._hub.shutdown(0)
            else:
                draining.result()
        finally:
            forced.cancel()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ours instead of uvicorn's, whose first signal would close the door to viewers as well."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.stop)) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, or `None` for asyncio's own where uvloop does not exist."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def listen(bind: Bind) -> socket.socket:
    """A listening socket. Raises `ConfigError` that says what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise ConfigError(f"cannot listen on {bind.host}: {exc.strerror or exc}") from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        raise ConfigError(_why_not(bind, exc)) from exc
    return sock


def _why_not(bind: Bind, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"port {bind.port} on {bind.host} is taken by another program; choose another with --port"
    if exc.errno == errno.EACCES:
        return f"port {bind.port} needs privileges; choose one above 1023 with --port"
    return f"cannot listen on {bind.host} port {bind.port}: {exc.strerror or exc}"


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def raise_descriptor_limit(max_streams: int) -> str | None:
    """Lift the soft limit of open files to the hard one; a sentence where even that is too low for `max_streams`."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS caps it below what it reports as hard
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = max_streams * DESCRIPTORS_A_STREAM + OTHER_DESCRIPTORS
    if limit in (resource.RLIM_INFINITY, -1) or limit >= needed:
        return None
    room = max(limit - OTHER_DESCRIPTORS, 0) // DESCRIPTORS_A_STREAM
    return f"{limit} open files allow about {room} streams at once, max_streams is {max_streams}: raise `ulimit -n`"
