"""`/v1/connections`: what it tells of whom, whom it tells, and how a connection is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from headwater.events import Done, Start, StreamId, Text, Usage
from headwater.logs.memory import MemoryLog
from headwater.request import ChatRequest
from headwater.routing import Registry
from headwater.runtime import Directory
from headwater.server import ServerSettings, create_app
from headwater.server.connection_facts import Facts, keep
from headwater.server.connections import Connections
from headwater.server.viewer_facts import ViewerFacts
from headwater.server.viewer_rows import is_viewer_id
from headwater.streams import Channel, Ended, Hub, Network, NewStream, Pace, StreamRecord, StreamSettings, Viewer
from headwater.telemetry import History, Monitor, TelemetrySettings
from tests.unit.streams.kit import MemorySink, PlainEncoder, Script, eventually, store

from .connection_world import BODY

KEYS = ServerSettings(api_keys=("ann", "bob"), admin_keys=("admin",))
ALONE = ServerSettings(single_user=True)
CURL = ViewerFacts("openai_chat", "curl/8", "10.0.0.7", client_id="tab-1", request_id="req-1", user="ann")


class Wired(MemorySink):
    def network(self) -> Network | None:
        return Network(0.0125, 3, 2)


class Api:
    def __init__(self, client: httpx.AsyncClient, hub: Hub, connections: Connections, log: MemoryLog) -> None:
        self.client = client
        self.hub = hub
        self.connections = connections
        self.log = log

    async def get(self, path: str = "", *, expect: int = 200, **params: object) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/connections{path}", params=params)  # type: ignore[arg-type]
        assert answer.status_code == expect, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def ids(self, **params: object) -> list[str]:
        return [one["id"] for one in (await self.get(**params))["data"]]

    async def stream(self, *words: str, **new: object) -> tuple[Channel, Script]:
        script = Script()
        channel, _ = await self.hub.create(NewStream(model="m", provider="p", **new), script)  # type: ignore[arg-type]
        script.say(*words)
        await eventually(lambda: channel.next_seq == 1 + len(words))
        return channel, script

    def watch(self, channel: Channel, about: ViewerFacts = CURL, **options: Any) -> Viewer:
        return self.hub.attach(channel, PlainEncoder, options.pop("sink", MemorySink()), about=about, **options)

    async def connection(self, *words: str, owner: str = "", **facts: Any) -> tuple[str, Channel, Script]:
        """One made below `/streaming`, and its stream."""
        script = Script()
        made = self.connections.create(owner, BODY, Facts(request_id="r1", client_id="c1", model="m", **facts))
        told = Facts(request_id="r1", client_id="c1", **facts)
        new = NewStream(
            id=StreamId(made.id), model="m", dialect="streaming", owner=owner, request=keep(ChatRequest("m", []), told)
        )

        async def begin(*_: object) -> Any:
            return await self.hub.create(new, script)

        channel, _ = await self.connections.start(made.id, owner, begin)
        script.say(*words)
        await eventually(lambda: channel.next_seq == 1 + len(words))
        return made.id, channel, script


@asynccontextmanager
async def api(
    settings: ServerSettings = ALONE, *, key: str = "", streams: StreamSettings | None = None, counts: bool = True
) -> AsyncIterator[Api]:
    log = MemoryLog()
    monitor = Monitor(TelemetrySettings(), History(None), providers=list)
    hub = Hub(log, streams or StreamSettings(), observer=monitor.recorder)
    await monitor.open(hub)
    await hub.start()
    connections = Connections(hub, **({"recorded": monitor.recorded} if counts else {}))  # type: ignore[arg-type]
    app = create_app(hub, Directory(Registry([]), created=1), settings, connections=connections)
    headers = {"x-api-key": key} if key else {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield Api(client, hub, connections, log)
    await connections.close()
    await hub.shutdown(0)
    await monitor.close()


# ---------------------------------------------------------------------- what is told


async def test_a_viewer_is_told_by_the_names_of_the_reference() -> None:
    async with api() as it:
        channel, _ = await it.stream("a", "bé", "c")
        slow = Wired(budget=1)
        it.watch(channel, sink=slow)
        [told] = (await it.get())["data"]
        sent = len(b"".join(slow.chunks))
    assert is_viewer_id(told["id"])
    assert [told[name] for name in ("streamId", "clientId", "userId", "requestId")] == [
        channel.id, "tab-1", "ann", "req-1",
    ]  # fmt: skip
    assert "sessionId" not in told
    assert [told[name] for name in ("status", "provider", "model", "dialect")] == [
        "streaming", "p", "m", "openai_chat",
    ]  # fmt: skip
    # It took one write, of all that there was.
    assert (told["cursor"], told["lag"], told["resumed"]) == ("1.3", 0, False)
    metadata = told["metadata"]
    assert (metadata["userAgent"], metadata["ip"]) == ("curl/8", "10.0.0.7")
    assert (metadata["bytesReceived"], metadata["chunksReceived"]) == (sent, 3)
    assert metadata["connectedAt"] <= metadata["lastActivity"]
    assert metadata["averageLatency"] >= 0
    assert told["network"] == {"rtt": 12.5, "retransmissions": 3}
    assert told["options"] == {
        "bufferSize": 65_536, "flushInterval": 5.0, "heartbeatInterval": 15_000.0,
        "compression": False, "encryption": False,
    }  # fmt: skip


async def test_what_a_viewer_has_not_got_is_its_lag_and_no_chunk_of_its_own() -> None:
    async with api() as it:
        channel, script = await it.stream("a", "b")
        it.watch(channel, sink=MemorySink(budget=1), cursor="1.1", pace=Pace(100, 0.05))
        script.say("c", "d")
        await eventually(lambda: channel.next_seq == 5)
        [told] = (await it.get())["data"]
    assert (told["cursor"], told["lag"], told["metadata"]["chunksReceived"]) == ("1.2", 2, 1)
    assert (told["options"]["bufferSize"], told["options"]["flushInterval"]) == (100, 50.0)
    assert "network" not in told


async def test_who_came_without_a_request_or_to_an_ended_stream_is_listed_too() -> None:
    async with api() as it:
        ended = Ended("done", 5000, Usage(1, 2), "stop")
        record = StreamRecord(StreamId("old"), 1000, model="m")
        await store(it.log, record, [Start("old", "m", 1000), Text("x"), Done("stop")], ended=ended)
        channel = await it.hub.open(StreamId("old"), owner="")
        it.hub.attach(channel, PlainEncoder, MemorySink(budget=0))
        [told] = (await it.get())["data"]
    assert (told["status"], told["dialect"], told["clientId"], told["cursor"]) == ("completed", "", "", None)
    assert "chunksReceived" not in told["metadata"]
    assert "averageLatency" not in told["metadata"]


async def test_a_connection_of_the_reference_is_one_row_with_those_who_carry_it() -> None:
    async with api() as it:
        waiting = it.connections.create("", BODY, Facts(request_id="r0", model="m"))
        id, channel, _ = await it.connection("a", "b", session_id="s1", ip="10.9.9.9")
        it.watch(channel, ViewerFacts("streaming", carries=True))
        it.watch(channel, ViewerFacts("streaming", carries=True))
        looks = it.watch(channel, ViewerFacts("events", "curl/8"))
        rows = {one["id"]: one for one in (await it.get())["data"]}
        assert len(rows) == 3
        assert (rows[waiting.id]["status"], rows[waiting.id]["viewers"]) == ("connecting", 0)
        assert (rows[id]["status"], rows[id]["viewers"], rows[id]["sessionId"]) == ("streaming", 2, "s1")
        assert (rows[id]["metadata"]["bytesReceived"], rows[id]["streamId"]) == (2, id)
        [other] = [row for row in rows.values() if is_viewer_id(row["id"])]
        assert (other["streamId"], other["dialect"]) == (id, "events")
        # The same rows below `/streaming`, in that reference's form.
        answer = (await it.client.get("/streaming/connections")).json()
        assert sorted(one["id"] for one in answer["data"]) == sorted(rows)
        assert {name: type(value) for name, value in answer["data"][0].items()}.keys() <= (
            rows[answer["data"][0]["id"]].keys()
        )
        looks.close()
        assert len(await it.ids()) == 2


# ---------------------------------------------------------------------- filters and pages


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"model": "m"}, 3),
        ({"model": "n"}, 0),
        ({"provider": "p"}, 2),
        ({"dialect": "events"}, 1),
        ({"clientId": "tab-1"}, 1),
        ({"userId": "ann"}, 1),
        ({"sessionId": "s1"}, 1),
        ({"ip": "10.0.0.7"}, 1),
        ({"ip": "10.0.0.7", "dialect": "events"}, 0),
        ({"status": "streaming"}, 3),
        ({"status": "connecting"}, 0),
        ({"status": "completed"}, 0),
    ],
)
async def test_it_can_be_filtered(wanted: Mapping[str, str], found: int) -> None:
    async with api() as it:
        channel, _ = await it.stream("a")
        it.watch(channel)
        it.watch(channel, ViewerFacts("events", ip="10.0.0.8"))
        await it.connection("b", session_id="s1")
        told = await it.get(**wanted)
    assert (len(told["data"]), told["total"]) == (found, None if wanted.get("status") == "completed" else found)


async def test_one_streams_connections_can_be_asked_for() -> None:
    async with api() as it:
        first, _ = await it.stream("a")
        second, _ = await it.stream("a")
        it.watch(first)
        it.watch(second)
        assert [one["streamId"] for one in (await it.get(stream=second.id))["data"]] == [second.id]


async def test_pages_follow_each_other_and_lose_nobody() -> None:
    async with api() as it:
        channel, _ = await it.stream("a")
        for _ in range(5):
            it.watch(channel)
            it.connections.create("", BODY, Facts(request_id="r"))
        whole = await it.ids()
        seen, before = [], None
        while True:
            page = await it.get(limit=3, **({} if before is None else {"before": before}))
            assert (page["object"], page["total"]) == ("list", 10)
            seen += [one["id"] for one in page["data"]]
            if (before := page["before"]) is None:
                break
    assert seen == whole == sorted(whole, reverse=True)
    assert len(whole) == 10


@pytest.mark.parametrize(
    ("path", "params", "param"),
    [
        ("", {"limit": 0}, "limit"),
        ("", {"status": "sleeping"}, "status"),
        ("", {"model": "x" * 257}, "model"),
        ("/x/metrics", {"start": "soon"}, "start"),
        ("/x/metrics", {"end": "99999999999999"}, "end"),
        ("/x/metrics", {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "end"),
    ],
)
async def test_what_makes_no_sense_is_refused(path: str, params: dict[str, object], param: str) -> None:
    async with api() as it:
        error = (await it.get(path, expect=400, **params))["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)


# ---------------------------------------------------------------------- whose they are


async def test_everybody_sees_their_own_and_administrators_all() -> None:
    async with api(KEYS) as it:
        owners = {}
        for name in ("ann", "bob"):
            headers = {"x-api-key": name}
            made = await it.client.post(
                "/streaming/connections", json={"messages": [{"role": "user", "content": "x"}]}, headers=headers
            )
            owners[name] = made.json()["data"]["id"]
        pending = it.connections._pending[owners["bob"]]
        channel, _ = await it.stream("a", owner=pending.owner)
        viewer = it.watch(channel)
        rows = {}
        for name in ("ann", "bob", "admin"):
            answer = await it.client.get("/v1/connections", headers={"x-api-key": name})
            rows[name] = {one["id"] for one in answer.json()["data"]}
        [seen] = [id for id in rows["bob"] if is_viewer_id(id)]
        assert rows["ann"] == {owners["ann"]}
        assert rows["bob"] == {owners["bob"], seen}
        assert rows["admin"] == {owners["ann"], owners["bob"], seen}
        # Another's looks like one that is not there, whatever is asked of it.
        for id in (owners["bob"], seen, channel.id, "nothing", "01a21bcf-d66a-v1"):
            for method, path in (("GET", id), ("GET", f"{id}/metrics"), ("DELETE", id)):
                answer = await it.client.request(method, f"/v1/connections/{path}", headers={"x-api-key": "ann"})
                assert (answer.status_code, answer.json()["error"]["message"]) == (404, "no such connection"), path
        assert not viewer.closed
        for id in (owners["ann"], seen):
            assert (await it.client.get(f"/v1/connections/{id}", headers={"x-api-key": "admin"})).status_code == 200
        answer = await it.client.get("/v1/connections/nothing", headers={"x-api-key": "admin"})
        assert answer.status_code == 404
        assert (await it.client.get("/v1/connections")).status_code == 401


# ---------------------------------------------------------------------- closing


async def test_a_viewer_is_sent_away_and_its_answer_goes_on() -> None:
    async with api() as it:
        channel, _ = await it.stream("a")
        sink = MemorySink()
        viewer = it.watch(channel, sink=sink)
        [id] = await it.ids()
        answer = await it.client.delete(f"/v1/connections/{id}")
        assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, id, "disconnected")
        assert (viewer.parting, sink.finished, sink.words[-1]) == ("sent_away", True, "retry: 2000")
        assert not channel.ended
        assert (await it.client.delete(f"/v1/connections/{id}")).status_code == 404


async def test_closing_one_of_the_reference_ends_its_answer() -> None:
    async with api() as it:
        id, channel, _ = await it.connection("a")
        answer = await it.client.delete(f"/v1/connections/{id}")
        assert (answer.status_code, answer.json()["status"], channel.status) == (200, "disconnected", "cancelled")
        ended = await it.get(status="disconnected")
        assert [one["id"] for one in ended["data"]] == [id]


# ---------------------------------------------------------------------- figures


async def test_figures_of_a_viewer_are_its_streams_since_it_came_and_its_own_connections() -> None:
    async with api() as it:
        channel, _ = await it.stream("a", "bc")
        it.watch(channel, sink=Wired())
        it.watch(channel, msgspec.structs.replace(CURL, resumed=True), cursor="1.1")
        told = [await it.get(f"/{id}/metrics") for id in await it.ids()]
        plain, back = sorted(told, key=lambda one: one["quality"]["reconnectionRate"])
        assert plain["performance"]["totalBytes"] == 3
        assert plain["network"] == {
            "connectionDrops": 0, "packetsLost": 2, "retransmissions": 3, "averageRTT": 12.5,
        }  # fmt: skip
        assert back["quality"] == {"reconnectionRate": 1.0}
        assert (back["network"]["averageRTT"], "reason" in back["network"]) == (None, True)
        early = await it.get(f"/{plain['connectionId']}/metrics", end="2020-01-01T00:00:00Z")
        assert early["performance"] == {"totalChunks": 0, "totalBytes": 0}


async def test_any_streams_figures_are_had_by_its_id_while_they_are_kept() -> None:
    async with api() as it:
        channel, script = await it.stream("a", "bc")
        it.watch(channel).close()
        script.finish()
        await channel.wait_end()
        told = await it.get(f"/{channel.id}/metrics")
        assert (told["performance"]["totalChunks"], told["performance"]["averageChunkSize"]) == (2, 1.5)
        assert (told["quality"]["completionRate"], told["quality"]["errorRate"]) == (1.0, 0.0)
        assert told["network"]["connectionDrops"] == 1
        outside = await it.get(f"/{channel.id}/metrics", start="2020-01-01T00:00:00Z", end="2020-01-02T00:00:00Z")
        assert (outside["performance"]["totalChunks"], outside["quality"]) == (0, {})


async def test_without_counting_only_sums_are_known_of_a_connection_and_nothing_of_a_viewer() -> None:
    async with api(counts=False) as it:
        id, channel, script = await it.connection("a", "bc")
        it.watch(channel)
        [viewer] = [one for one in await it.ids() if is_viewer_id(one)]
        assert (await it.get(f"/{viewer}/metrics"))["performance"]["totalChunks"] == 0
        other, _ = await it.stream("a")
        await it.get(f"/{other.id}/metrics", expect=404)
        script.finish()
        await channel.wait_end()
        told = await it.get(f"/{id}/metrics")
    assert (told["performance"]["totalChunks"], "latency" in told["performance"]) == (2, False)
    network = told["network"]
    assert (network["connectionDrops"], network["averageRTT"]) == (None, None)
    assert "counts nothing" in network["reason"]
