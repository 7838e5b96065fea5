"""A swarm of viewers in one process, steered by the runner (see `control`); its checks are in `viewer`."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import uvloop

from .control import serve_commands
from .viewer import Answer, Viewer, Window, transcript_fault
from .workload import Plan, chat_request, events_request

# Linux: choose the source port at connect, per destination, instead of reserving one at bind.
IP_BIND_ADDRESS_NO_PORT = 24
PORTS_AN_ADDRESS = 10_000  # well below the usual 28,000 ephemeral ports
KEEP_EVERY = 100


def quantiles_ms(values_us: Sequence[int]) -> dict[str, float]:
    """p50, p99 and maximum in milliseconds of microseconds; zeros where there are none."""
    if not values_us:
        return {"p50_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0}
    ordered = sorted(values_us)
    last = len(ordered) - 1
    return {
        "p50_ms": ordered[last // 2] / 1000,
        "p99_ms": ordered[last * 99 // 100] / 1000,
        "max_ms": ordered[-1] / 1000,
    }


class Swarm:
    """All viewers and the window they report into. Every public method is a command of the runner."""

    def __init__(self) -> None:
        self._window = Window()
        self._viewers: list[Viewer] = []
        self._ended: list[Answer] = []
        self._connected = 0

    async def open(self, *, port: int, count: int, rate: float, plan: list[Any], timeout_s: float) -> dict[str, Any]:
        """Start `count` streams, `rate` a second, and wait until each has its first token or failed."""
        waiting = _Countdown(count)
        data = chat_request(Plan(*plan), port=port)

        def end(answer: Answer) -> None:
            self._ended.append(answer)
            if not answer.first_us:
                waiting.down()

        answers = []
        async for _ in _paced(count, rate):
            viewer = await self._connect(port, keep=len(self._viewers) % KEEP_EVERY == 0)
            viewer.request(data, on_first=lambda _: waiting.down(), on_end=end)
            answers.append(viewer.answer)
        await asyncio.wait_for(waiting.zero.wait(), timeout_s)
        return {
            "streams": [answer.stream for answer in answers if answer is not None],
            "first_token": quantiles_ms([a.first_us - a.sent_us for a in answers if a is not None and a.first_us]),
        }

    async def watch(
        self, *, port: int, count: int, rate: float, streams: list[str], dialect: str, timeout_s: float
    ) -> dict[str, Any]:
        """Open `count` further viewers over `streams`, in turn, and wait until each has a first token."""
        waiting = _Countdown(count)

        def end(answer: Answer) -> None:
            self._ended.append(answer)
            if not answer.first_us:
                waiting.down()

        requests = [events_request(stream, dialect, port=port) for stream in streams]
        number = 0
        async for number in _paced(count, rate):
            viewer = await self._connect(port)
            viewer.request(requests[number % len(requests)], on_first=lambda _: waiting.down(), on_end=end)
        await asyncio.wait_for(waiting.zero.wait(), timeout_s)
        return {"open": number + 1 - len(self._ended)}

    async def mark(self) -> dict[str, Any]:
        """Begin a window."""
        self._window.clear()
        return {}

    async def read(self) -> dict[str, Any]:
        """What came since `mark`."""
        window = self._window
        return {
            "tokens": window.tokens,
            "reads": window.reads,
            "bytes": window.bytes,
            "heartbeats": window.heartbeats,
            **quantiles_ms(window.latencies_us),
        }

    async def drain(self, *, timeout_s: float) -> dict[str, Any]:
        """Wait for all answers to end, close everything, and give the verdict on all since the last drain."""
        for _ in range(int(timeout_s * 50)):
            if all(viewer.answer is None for viewer in self._viewers):
                break
            await asyncio.sleep(0.02)
        ended, viewers = self._ended, self._viewers
        unfinished = sum(viewer.answer is not None for viewer in viewers)
        self._ended, self._viewers = [], []
        faults = Counter(answer.fault for answer in ended if answer.fault)
        if unfinished:
            faults["no end in time"] += unfinished
        faults.update(fault for viewer in viewers if viewer.kept and (fault := transcript_fault(b"".join(viewer.kept))))
        for viewer in viewers:
            viewer.close()
        await asyncio.sleep(0)
        return {
            "answers": len(ended) + unfinished,
            "lost": sum(answer.lost for answer in ended),
            "repeated": sum(answer.repeated for answer in ended),
            "faults": dict(faults.most_common(5)),
        }

    async def ask(
        self, *, ports: list[int], rate: float, seconds: float, plan: list[Any], timeout_s: float
    ) -> dict[str, Any]:
        """Short requests over kept connections, `rate` a second to each port in turn; time to first token and total."""
        pools: dict[int, list[Viewer]] = {port: [] for port in ports}
        answers: dict[int, list[Answer]] = {port: [] for port in ports}
        count = int(rate * seconds) * len(ports)
        waiting = _Countdown(count)
        requests = {port: chat_request(Plan(*plan), port=port) for port in ports}

        def send(port: int, viewer: Viewer) -> None:
            def end(answer: Answer) -> None:
                answers[port].append(answer)
                self._ended.append(answer)
                pools[port].append(viewer)
                waiting.down()

            viewer.request(requests[port], on_end=end)

        async for number in _paced(count, rate * len(ports)):
            port = ports[number % len(ports)]
            send(port, _idle(pools[port]) or await self._connect(port))
        await asyncio.wait_for(waiting.zero.wait(), timeout_s)
        return {
            "count": count // len(ports),
            "first_token": [quantiles_ms([a.first_us - a.sent_us for a in answers[port]]) for port in ports],
            "whole": [quantiles_ms([a.ended_us - a.sent_us for a in answers[port]]) for port in ports],
        }

    async def fetch(self, *, port: int, stream: str, dialect: str, times: int) -> dict[str, Any]:
        """Read a finished stream from its start, one time after the other, each on a new connection."""
        answers: list[Answer] = []
        for _ in range(times):
            ended: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            viewer = await self._connect(port, check_at_end=True)
            # Who only watches has not asked for usage, so the OpenAI dialect does not tell it.
            viewer.request(
                events_request(stream, dialect, port=port),
                on_end=ended.set_result,
                needs_usage=dialect == "events",
            )
            answers.append(await asyncio.wait_for(ended, 30))
        self._ended += answers
        return {
            "ms": [(a.ended_us - a.sent_us) / 1000 for a in answers],
            "frames": answers[-1].frames,
            "tokens": answers[-1].next_token,
            "bytes": answers[-1].bytes,
        }

    async def _connect(self, port: int, *, keep: bool = False, check_at_end: bool = False) -> Viewer:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{1 + self._connected // PORTS_AN_ADDRESS % 200}", 0))
        self._connected += 1
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, viewer = await loop.create_connection(
            lambda: Viewer(self._window, keep=keep, check_at_end=check_at_end), sock=sock
        )
        self._viewers.append(viewer)
        return viewer


def _idle(pool: list[Viewer]) -> Viewer | None:
    while pool:
        viewer = pool.pop()
        if viewer.usable:
            return viewer
    return None


class _Countdown:
    def __init__(self, count: int) -> None:
        self._left = count
        self.zero = asyncio.Event()

    def down(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.zero.set()


async def _paced(count: int, rate: float) -> AsyncIterator[int]:
    """0 … count-1 at `rate` a second; what is late comes at once."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(count):
        wait_s = start + number / rate - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        yield number


async def main() -> None:
    """Announce readiness and serve the runner's commands until stdin ends."""
    swarm = Swarm()
    os.write(1, b"{}\n")
    names = ("open", "watch", "mark", "read", "drain", "ask", "fetch")
    await serve_commands({name: getattr(swarm, name) for name in names})


if __name__ == "__main__":
    uvloop.run(main())
