"""`headwater tail`: one stream on the terminal, to its end."""

from __future__ import annotations

import asyncio
import sys

from ..client import EventStream, HeadwaterClient
from ..errors import StreamReset
from ..events import Error, Event, encode_event
from .display import Display, consoles
from .exits import FAILED, FINE, INTERRUPTED
from .reaching import RECONNECT, reach


def tail(stream: str, *, url: str, key: str, after: str, as_json: bool) -> int:
    """Returns the exit code: 1 when the stream ended in an error. Raises `HeadwaterError`."""
    try:
        return asyncio.run(_tail(stream, url=url, key=key, after=after or None, as_json=as_json))
    except KeyboardInterrupt:
        return INTERRUPTED


async def _tail(stream: str, *, url: str, key: str, after: str | None, as_json: bool) -> int:
    display = Display(*consoles())
    async with HeadwaterClient(url, key or None, reconnect=RECONNECT) as client:
        await reach(client.info(stream), url)
        while True:
            events = client.follow(stream, after, raise_on_error=False, on_reconnect=display.reconnecting)
            try:
                return await _show(events, display, as_json=as_json)
            except StreamReset as reset:
                after = None
                if as_json:
                    _print_json(b'{"type":"reset","reason":"%b"}' % reset.reason.encode())
                else:
                    display.restart()


async def _show(events: EventStream, display: Display, *, as_json: bool) -> int:
    event: Event | None = None
    async for event in events:
        if as_json:
            _print_json(b'{"cursor":"%b",%b' % (str(events.cursor).encode(), encode_event(event)[1:]))
        else:
            display.show(event)
    display.end_line()
    return FAILED if isinstance(event, Error) else FINE


def _print_json(line: bytes) -> None:
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()
