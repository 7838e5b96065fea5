"""A paced mock of an OpenAI-compatible model server, cheap enough for 1,000 streams × 20 events/s on part of a core.

One timer tick serves all streams that are due (a wheel of slots), chunks come from a template, and each is written
straight to the socket, so that the time stamp in a token is the time of its own send. The kernel's timer ticks, because
event loops round to milliseconds: streams that are due within one tick reach the server as one burst, and so the tick
(100 µs unless told otherwise) decides how much a server can gain by handling many streams at once.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from typing import Any, cast

import uvloop

from .control import serve_commands
from .workload import FILLER_CHUNK, ROLE_CHUNK, TOKEN_CHUNK, Plan, ending, parse_plan

SLOTS = 16_384  # 1.6 s of the usual ticks; longer intervals than that cannot be asked for
BACKLOG_BYTES = 2**18  # a peer that is this far behind gets no more until it has read

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
_MODELS = b'{"object":"list","data":[{"id":"bench","object":"model","created":1760000000,"owned_by":"bench"}]}'
_MODELS_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_MODELS),
    _MODELS,
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

# Answers that are wrong on purpose: (token numbers sent, tokens that the usage claims).
_FAULTS: dict[str, tuple[tuple[int, ...], int]] = {
    "drop": ((0, 1, 3, 4), 5),
    "repeat": ((0, 1, 1, 2), 3),
    "swap": ((0, 2, 1, 3), 4),
    "count": ((0, 1, 2), 4),
    "cut": ((0, 1), 0),
}


def _token(seq: int) -> bytes:
    return TOKEN_CHUNK % (seq, time.monotonic_ns() // 1000)


class Wheel:
    """All connections that are due, by tick. `sent` counts tokens, `lag_ms` is the worst lateness of a tick."""

    def __init__(self, tick_us: int) -> None:
        self.connections: set[Connection] = set()
        self.sent = 0
        self.lag_ms = 0.0
        self._tick_us = tick_us
        self._slots: list[list[Connection]] = [[] for _ in range(SLOTS)]
        self._next = self._now()
        self._timer = _periodic_timer(tick_us)
        asyncio.get_running_loop().add_reader(self._timer, self._tick)

    def _now(self) -> int:
        return time.monotonic_ns() // (self._tick_us * 1000)

    def start(self, connection: Connection, after_ms: int) -> None:
        """Step `connection` for the first time."""
        self.again(connection, self._now(), after_ms)

    def again(self, connection: Connection, due: int, after_ms: int) -> None:
        """Step it `after_ms` after its step that was due at tick `due`, so that lateness does not add up."""
        tick = max(due + after_ms * 1000 // self._tick_us, self._next)
        self._slots[tick % SLOTS].append(connection)

    def _tick(self) -> None:
        os.read(self._timer, 8)
        now = self._now()
        self.lag_ms = max(self.lag_ms, (now - self._next) * self._tick_us / 1000)
        while self._next <= now:
            tick = self._next
            self._next += 1
            due = self._slots[tick % SLOTS]
            if due:
                self._slots[tick % SLOTS] = []
                for connection in due:
                    connection.step(tick)


def _periodic_timer(interval_us: int) -> int:
    """A timerfd of timerfd_create(2), which Python offers from 3.13 on only."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    seconds, micros = divmod(interval_us, 1_000_000)
    # struct itimerspec: interval and first expiry, each in seconds and nanoseconds.
    spec = (ctypes.c_long * 4)(seconds, micros * 1000, seconds, micros * 1000)
    if timer < 0 or libc.timerfd_settime(timer, 0, spec, None):
        raise OSError(ctypes.get_errno(), "no timer")
    return timer


class Connection(asyncio.Protocol):
    """One kept-alive HTTP connection; one answer at a time."""

    __slots__ = ("_data", "_fd", "_plan", "_seq", "_transport", "_wheel")

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._data = b""
        self._fd = -1
        self._seq = 0
        self._plan: Plan | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports implement the interface without inheriting from it.
        self._transport = cast(asyncio.Transport, transport)
        self._fd = transport.get_extra_info("socket").fileno()
        self._wheel.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._plan = None
        self._wheel.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, blank, rest = self._data.partition(b"\r\n\r\n")
        if not blank:
            return
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if len(rest) < length:
            return
        self._data = rest[length:]
        self._answer(head, rest[:length])

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /v1/models"):
            self._send(_MODELS_ANSWER)
        elif not head.startswith(b"POST /v1/chat/completions"):
            self._send(_NOT_FOUND)
        else:
            plan = parse_plan(body)
            if plan.fault:
                self._send_fault(plan.fault)
                return
            self._plan = plan
            self._seq = 1
            self._wheel.sent += 1
            self._send(_HEAD + ROLE_CHUNK + _token(0))
            if not (plan.hold and plan.tokens == 1):
                self._wheel.start(self, plan.interval_ms)

    def step(self, due: int) -> None:
        """Send what is due now and ask for the next step, counted from when this one should have been."""
        plan = self._plan
        if plan is None or self._transport is None:
            return
        if self._seq == plan.tokens:
            if not plan.hold:
                self.finish()
            return
        if plan.burst == 1 and not plan.filler:
            self._send(TOKEN_CHUNK % (self._seq, time.monotonic_ns() // 1000))
            self._seq += 1
            self._wheel.sent += 1
        elif self._transport.get_write_buffer_size() < BACKLOG_BYTES:
            last = min(self._seq + plan.burst, plan.tokens)
            self._send(b"".join(FILLER_CHUNK * plan.filler + _token(seq) for seq in range(self._seq, last)))
            self._wheel.sent += last - self._seq
            self._seq = last
        self._wheel.again(self, due, plan.interval_ms)

    def finish(self) -> None:
        """End the answer under way, if one is, with a usage that counts what was sent."""
        if self._plan is not None:
            self._plan = None
            self._send(ending(self._seq))

    def finish_soon(self) -> None:
        """Let an answer without a planned end finish at its next step, so that not all finish in one instant."""
        if self._plan is not None and self._plan.hold:
            self.finish()
        elif self._plan is not None and self._plan.tokens == 0:
            self._plan = self._plan._replace(tokens=self._seq)

    def _send_fault(self, fault: str) -> None:
        seqs, claimed = _FAULTS[fault]
        self._send(_HEAD + ROLE_CHUNK + b"".join(_token(seq) for seq in seqs))
        if fault != "cut":
            self._send(ending(claimed))
        elif self._transport is not None:
            self._transport.close()

    def _send(self, data: bytes) -> None:
        """Straight to the socket; the event loop's buffer only holds what the socket did not take."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size():
            transport.write(data)
            return
        try:
            taken = os.write(self._fd, data)
        except BlockingIOError:
            taken = 0
        except OSError:
            transport.abort()
            return
        if taken < len(data):
            transport.write(data[taken:])


async def main() -> None:
    """Listen on a free port, announce it, and answer `finish` and `stats` until stdin ends."""
    wheel = Wheel(int(sys.argv[1]))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(wheel), "127.0.0.1", 0, backlog=4096)

    async def finish() -> dict[str, Any]:
        for connection in list(wheel.connections):
            connection.finish_soon()
        return {}

    async def stats() -> dict[str, Any]:
        """Tokens sent and the worst lateness since the last call."""
        answer = {"sent": wheel.sent, "lag_ms": wheel.lag_ms, "connections": len(wheel.connections)}
        wheel.lag_ms = 0.0
        return answer

    os.write(1, b'{"port": %d}\n' % server.sockets[0].getsockname()[1])
    await serve_commands({"finish": finish, "stats": stats})
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
