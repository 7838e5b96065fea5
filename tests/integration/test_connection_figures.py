"""Every figure of reference 002's `StreamMetrics` against a count of the run's own, on a real server.

The run is scripted: the model's pieces, their bytes and the times between them are known to who writes them, clients
come, are cut and come back a known number of times. Counts must be equal. Of times the model knows between which two
moments each piece was shown, so every latency has bounds that hold on the slowest machine; the clock's millisecond and
the sketch's 1 % come on top.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import httpx
import pytest

from headwater.errors import ProviderRejected
from headwater.events import Done, Text, Usage
from headwater.logs import MemoryLog
from headwater.request import ChatRequest
from headwater.server import ServerSettings, create_app
from headwater.server.connection_metrics import recorded_metrics
from headwater.server.connection_shapes import Latency, StreamMetrics
from headwater.server.connections import Connections
from headwater.server.serving import Bind, Server
from headwater.streams import Hub, NewStream, StreamSettings, Writer
from headwater.telemetry import History, Monitor, TelemetrySettings
from headwater.telemetry.recorder import Recorder
from tests.unit.streams.virtual_time import loop_time, run_virtual
from tests.unit.telemetry.kit import Steps

from .kit import Connection, ScriptedModels, eventually

PIECES = ["ab", "ünï", "c" * 40, "d", "😀", "ef"] * 4
BYTES = sum(len(piece.encode()) for piece in PIECES)
PAUSES_S = [0.02, 0.03, 0.02, 0.08, 0.02] * 5
CLOCK_MS = 1.0
ON_LINUX = sys.platform == "linux"


class Told(NamedTuple):
    """When the model wrote each piece, and when it found it committed, by the loop's clock."""

    written_s: list[float]
    known_s: list[float]
    go_on: asyncio.Event

    async def answer(self, writer: Writer, request: ChatRequest) -> None:
        for number, piece in enumerate(PIECES):
            if number:
                await asyncio.sleep(PAUSES_S[number - 1])
            if number == len(PIECES) // 2:
                await self.go_on.wait()
            self.written_s.append(loop_time())
            writer.write([Text(piece)])
            await writer.control.history()
            self.known_s.append(loop_time())
        writer.write([Usage(1, len(PIECES)), Done("stop")])

    async def fails(self, writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("half")])
        await asyncio.sleep(0)
        raise ProviderRejected("the model is gone", status=503, provider="scripted")

    def bounds_ms(self) -> tuple[list[float], list[float]]:
        """The least and the most that each pause between two pieces may have taken, the shortest first."""
        written, known = self.written_s, self.known_s
        least = [(after - before) * 1000 - CLOCK_MS for before, after in zip(known, written[1:], strict=False)]
        most = [(after - before) * 1000 + CLOCK_MS for before, after in zip(written, known[1:], strict=False)]
        return sorted(least), sorted(most)


class Running(NamedTuple):
    client: httpx.AsyncClient
    hub: Hub
    monitor: Monitor
    told: Told
    models: ScriptedModels
    address: tuple[str, int]

    async def metrics(self, id: str, **period: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/connections/{id}/metrics", params=period)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


@asynccontextmanager
async def counting(**limits: Any) -> AsyncIterator[Running]:
    """A server on a socket, and what counts, in this loop."""
    monitor = Monitor(TelemetrySettings(), History(None), providers=list)
    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.0, **limits), observer=monitor.recorder)
    await monitor.open(hub)
    await hub.start()
    connections = Connections(hub, recorded=monitor.recorded)
    told = Told([], [], asyncio.Event())
    models = ScriptedModels({"m": told.answer, "fails": told.fails})
    app = create_app(hub, models, ServerSettings(), connections=connections)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = Server(app, hub, Bind(port=0), ready=ready.set_result)
    serving = asyncio.create_task(server.serve())
    url = await ready
    host, _, port = url.removeprefix("http://").partition(":")
    async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:
        yield Running(client, hub, monitor, told, models, (host, int(port)))
    server.stop()
    await serving
    await connections.close()
    await monitor.close()


BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "model": "m"}


async def started(it: Running, **fields: Any) -> str:
    made = await it.client.post("/streaming/connections", json=BODY | fields)
    assert made.status_code == 201, made.text
    id: str = made.json()["data"]["id"]
    assert (await it.client.post(f"/streaming/connections/{id}/start")).status_code == 200
    return id


async def cut(it: Running, id: str, *, cursor: str = "") -> str:
    """A client that loses its connection after some frames; its last cursor."""
    reader, writer = await asyncio.open_connection(*it.address)
    client = Connection(reader, writer)
    headers = {"last_event_id": cursor} if cursor else {}
    client.send("GET", f"/streaming/connections/{id}/events", **headers)
    status, _ = await client.head()
    assert status == 200
    seen = b""
    while seen.count(b"event: chunk") < 2:
        seen += await client.chunk()
    writer.transport.abort()
    ids = [line[4:] for line in seen.decode().split("\n") if line.startswith("id: ")]
    return ids[-1]


def rank(share: float) -> int:
    """Where the quantile of the pauses stands among them."""
    return int(share * (len(PIECES) - 2))


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_every_figure_is_that_of_the_run() -> None:
    async with counting() as it:
        id = await started(it)
        began_s = loop_time()
        # Two clients that are lost and come back, one that has a cursor of nowhere, one that stays.
        first, second = await asyncio.gather(cut(it, id), cut(it, id))
        await eventually(lambda: it.monitor.recorder.viewers == 0)
        it.told.go_on.set()
        paths = [f"/streaming/connections/{id}/events"] * 4
        rest = await asyncio.gather(
            *[
                it.client.get(path, headers={"Last-Event-ID": cursor} if cursor else {})
                for path, cursor in zip(paths, (first, second, "9.9", ""), strict=True)
            ]
        )
        assert [answer.status_code for answer in rest] == [200] * 4
        await eventually(lambda: it.monitor.recorder.streams == it.monitor.recorder.viewers == 0)
        ended_s = loop_time()
        told = await it.metrics(id)
        await it.monitor.roll()
        whole = await it.monitor.summary(300)
        below = (
            await it.client.get(
                f"/streaming/connections/{id}/metrics",
                params={"start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"},
            )
        ).json()["data"]

    assert told == below
    performance, latency = told["performance"], told["performance"]["latency"]
    assert told["connectionId"] == id
    assert (performance["totalChunks"], performance["totalBytes"]) == (len(PIECES), BYTES)
    assert performance["averageChunkSize"] == pytest.approx(BYTES / len(PIECES))
    period_s = unix(told["period"]["end"]) - unix(told["period"]["start"])
    # The stream was accepted just before it was asked for its start, and ended just before it was seen to have.
    assert it.told.written_s[-1] - it.told.written_s[0] <= period_s + 0.002
    assert period_s <= ended_s - began_s + 1.0
    assert performance["chunksPerSecond"] == pytest.approx(len(PIECES) / period_s, rel=0.01)
    assert performance["bytesPerSecond"] == pytest.approx(BYTES / period_s, rel=0.01)

    least, most = it.told.bounds_ms()
    assert len(least) == len(PIECES) - 1
    for name, place in (("min", 0), ("max", -1), ("p95", rank(0.95)), ("p99", rank(0.99))):
        assert 0.99 * least[place] <= latency[name] <= 1.01 * most[place], name
    assert sum(least) / len(least) <= latency["average"] <= sum(most) / len(most)

    quality = told["quality"]
    assert (quality["completionRate"], quality["errorRate"]) == (1.0, 0.0)
    assert quality["reconnectionRate"] == 3 / 6
    assert quality["averageStreamDuration"] == pytest.approx(period_s * 1000, abs=2)
    network = told["network"]
    assert network["connectionDrops"] == 2
    if ON_LINUX:
        # Of each connection that was looked at when it went; what the kernel's figures are, `test_tcp_info` shows. A
        # stalled machine may make it send a packet again, also on loopback.
        assert network["averageRTT"] > 0
        assert network["retransmissions"] >= network["packetsLost"] >= 0
        assert "reason" not in network

    # The same over all streams of the server, of which this was the only one.
    assert (whole.totals.texts, whole.totals.text_bytes, whole.totals.drops) == (len(PIECES), BYTES, 2)
    assert (whole.rates.completion_rate, whole.rates.reconnection_rate) == (1.0, 0.5)
    assert whole.rates.mean_chunk_bytes == performance["averageChunkSize"]
    gap = whole.durations.chunk_gap
    assert [gap.min, gap.max, gap.p95, gap.p99] == [latency[name] for name in ("min", "max", "p95", "p99")]
    assert whole.durations.duration.mean == pytest.approx(quality["averageStreamDuration"], abs=2)


async def test_a_failure_is_one() -> None:
    async with counting() as it:
        id = await started(it, model="fails")
        await eventually(lambda: it.monitor.recorder.streams == 0)
        told = await it.metrics(id)
    assert (told["quality"]["errorRate"], told["quality"]["completionRate"]) == (1.0, 0.0)
    assert "reconnectionRate" not in told["quality"]
    assert (told["network"]["connectionDrops"], told["network"]["averageRTT"]) == (0, None)
    assert told["network"]["reason"]


def test_on_a_clock_without_jitter_times_are_exact() -> None:
    """The same where nothing passes between two looks at the clock: quantiles to within 1 %, all else as it is."""

    async def work() -> StreamMetrics:
        recorder = Recorder(loop_time)
        hub = Hub(MemoryLog(), StreamSettings(flush_ms=0.0), observer=recorder)
        await hub.start()
        steps = [(0.5 if number == 0 else PAUSES_S[number - 1], [Text(piece)]) for number, piece in enumerate(PIECES)]
        channel, _ = await hub.create(NewStream(), Steps(*steps))
        await channel.wait_end()
        await asyncio.sleep(1)
        recorded = recorder.recorded(channel.id)
        assert recorded is not None
        await hub.shutdown(0)
        return recorded_metrics(channel.id, recorded, start_ms=0, end_ms=1e15)

    told = run_virtual(work())
    pauses_ms = sorted(1000 * pause for pause in PAUSES_S[: len(PIECES) - 1])
    latency, performance, quality = told.performance.latency, told.performance, told.quality
    assert isinstance(latency, Latency)
    assert latency.average == pytest.approx(sum(pauses_ms) / len(pauses_ms), abs=0.01)
    assert (latency.min, latency.max) == (pytest.approx(pauses_ms[0], abs=0.01), pytest.approx(pauses_ms[-1], abs=0.01))
    assert latency.p95 == pytest.approx(pauses_ms[rank(0.95)], rel=0.01)
    assert latency.p99 == pytest.approx(pauses_ms[rank(0.99)], rel=0.01)
    whole_s = 0.5 + sum(pauses_ms) / 1000
    assert quality.average_stream_duration == pytest.approx(whole_s * 1000, abs=1)
    assert performance.chunks_per_second == pytest.approx(len(PIECES) / whole_s, rel=1e-3)
    assert performance.bytes_per_second == pytest.approx(BYTES / whole_s, rel=1e-3)


# ---------------------------------------------------------------------- frames as they were asked for


def frames_of(data: bytes) -> list[dict[str, Any]]:
    return [
        json.loads(part.split(b"data: ", 1)[1]) for part in data.split(b"\n\n") if part.startswith(b"event: chunk\n")
    ]


async def frames(it: Running, **options: Any) -> list[dict[str, Any]]:
    it.told.go_on.set()
    answer = await it.client.post("/streaming/stream", json=BODY | {"options": options})
    assert answer.status_code == 200, answer.text
    found = frames_of(answer.content)
    assert "".join(one["content"] for one in found) == "".join(PIECES)
    return found


async def test_what_a_request_asks_for_changes_the_frames_that_are_sent() -> None:
    async with counting() as it:
        plain, slow, small = await asyncio.gather(
            frames(it), frames(it, flushInterval=100), frames(it, flushInterval=100, bufferSize=16)
        )
        for option, value in (("bufferSize", 8193), ("bufferSize", 0), ("flushInterval", 100.5), ("flushInterval", -1)):
            refused = await it.client.post("/streaming/stream", json=BODY | {"options": {option: value}})
            assert (refused.status_code, refused.json()["param"]) == (400, f"options.{option}")
    # One a piece, unless two came in one read of the loop; then far fewer, as the interval joins them.
    assert len(plain) > len(PIECES) / 2
    assert len(slow) < len(plain) / 2
    assert max(one["size"] for one in slow) > 40
    # A frame has no more than it may, but for a piece that has more alone; so there are more of them again.
    assert len(small) > len(slow)
    assert all(one["size"] <= 16 or one["content"] in PIECES for one in small)
    # The numbers tell of the last piece in each, as ever.
    for told in (plain, slow, small):
        assert told[-1]["sequence"] == len(PIECES) - 1


# ---------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("limits", "status", "code"),
    [
        ({"max_connections": 1}, 503, "too_many_connections"),
        ({"max_connections_per_address": 1}, 429, "connection_limit"),
    ],
)
async def test_who_is_too_many_is_told_when_to_come_and_who_comes_back_does(
    limits: dict[str, int], status: int, code: str
) -> None:
    async with counting(**limits) as it:
        id = await started(it)
        reader, writer = await asyncio.open_connection(*it.address)
        seated = Connection(reader, writer)
        seated.send("GET", f"/streaming/connections/{id}/events")
        await seated.head()
        await eventually(lambda: it.hub.viewers == 1)
        chat = {"model": "m", "stream": True, "messages": BODY["messages"]}
        for method, path, body in (
            ("GET", f"/streaming/connections/{id}/events", None),
            ("GET", f"/v1/streams/{id}/events", None),
            ("POST", "/streaming/stream", BODY),
            ("POST", "/v1/chat/completions", chat),
            ("POST", "/v1/streams", chat),
        ):
            refused = await it.client.request(method, path, json=body)
            told = refused.json()
            assert (refused.status_code, told.get("code") or told["error"]["code"]) == (status, code), path
            assert int(refused.headers["retry-after"]) >= 1
        # None of them has asked a model for anything.
        assert (it.hub.live, len(it.models.made)) == (1, 1)
        for path in (f"/streaming/connections/{id}/events", f"/v1/streams/{id}/events"):
            back = await it.client.get(path, headers={"Last-Event-ID": "1.0"})
            assert (back.status_code, back.content.startswith(b"retry: ")) == (200, True), path
        it.told.go_on.set()
        writer.transport.abort()
        await eventually(lambda: it.hub.viewers == 0)
        assert (await it.client.get(f"/v1/streams/{id}/events")).status_code == 200


async def test_behind_a_proxy_of_this_machine_the_address_is_the_clients() -> None:
    async with counting(max_connections_per_address=1) as it:
        id = await started(it)
        path = f"/v1/streams/{id}/events"
        async with (
            it.client.stream("GET", path, headers={"X-Forwarded-For": "203.0.113.9"}) as first,
            it.client.stream("GET", path, headers={"X-Forwarded-For": "203.0.113.10"}) as second,
        ):
            assert (first.status_code, second.status_code) == (200, 200)
            third = await it.client.get(path, headers={"X-Forwarded-For": "203.0.113.9"})
            assert third.status_code == 429
            rows = (await it.client.get("/v1/connections", params={"stream": id, "dialect": "events"})).json()["data"]
            assert {row["metadata"]["ip"] for row in rows} == {"203.0.113.9", "203.0.113.10"}
