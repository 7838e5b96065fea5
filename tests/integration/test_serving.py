"""Starting and stopping: ports, signals, draining."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading

import pytest

from headwater.errors import ConfigError
from headwater.events import Done, Text
from headwater.request import ChatRequest
from headwater.server.serving import Bind, listen
from headwater.streams import StreamSettings, Writer

from .kit import connected, eventually, messages_of, running

BODY = {"messages": [{"role": "user", "content": "Hi"}]}


def test_a_taken_port_is_said_clearly() -> None:
    with listen(Bind(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is taken by another program"):
            listen(Bind(port=port))


def test_an_address_that_is_not_ours_is_said_clearly() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1 port 0"):
        listen(Bind(host="192.0.2.1", port=0))
    with pytest.raises(ConfigError, match="cannot listen on no such name"):
        listen(Bind(host="no such name", port=0))


async def test_streams_under_way_finish_while_new_ones_are_refused() -> None:
    go = asyncio.Event()

    async def gated(writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("one ")])
        await go.wait()
        writer.write([Text("two"), Done("stop")])

    async with running({"gated": gated}, streams=StreamSettings(grace_s=20.0)) as server:
        stream = (await server.client.post("/v1/streams", json=BODY)).json()["id"]
        watching = asyncio.create_task(server.client.get(f"/v1/streams/{stream}/events"))
        await eventually(lambda: server.hub.viewers == 1)
        server.server.stop()
        await eventually(lambda: not server.hub.accepting)

        refused = await server.client.post("/v1/chat/completions", json=BODY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert int(refused.headers["retry-after"]) >= 1
        ready = await server.client.get("/ready")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["not_accepting"])
        assert (await server.client.get("/health")).status_code == 200
        returning = asyncio.create_task(server.client.get(f"/v1/streams/{stream}/events?after=1.0"))
        await eventually(lambda: server.hub.viewers == 2)

        go.set()
        for task in (watching, returning):
            messages = messages_of((await task).content)
            assert messages[-1].event == "done"


async def test_viewers_of_what_cannot_finish_are_told_to_come_back() -> None:
    """Shutdown hands streams over: viewers get `retry:` and a clean end, never a false `done`."""

    async def hangs(writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("begun")])
        await asyncio.Event().wait()

    async with running({"hangs": hangs}, streams=StreamSettings(grace_s=0.05, retry_ms=777)) as server:
        async with connected(server) as client:
            body = json.dumps(BODY | {"stream": True}).encode()
            client.send("POST", "/v1/chat/completions", body)
            _, headers = await client.head()
            server.server.stop()
            data = (await client.body(headers)).decode()
        assert data.endswith("retry: 777\n\n")
        assert "[DONE]" not in data
        await server.models.made[0].ended.wait()


async def test_a_second_stop_is_at_once() -> None:
    async def hangs(writer: Writer, request: ChatRequest) -> None:
        await asyncio.Event().wait()

    async with running({"hangs": hangs}, streams=StreamSettings(grace_s=3600.0)) as server:
        await server.client.post("/v1/streams", json=BODY)
        server.server.stop()
        await eventually(lambda: not server.hub.accepting)
        assert server.hub.live == 1
        server.server.stop()
        await eventually(lambda: server.hub.live == 0)


PROGRAM = """
import asyncio, sys
from headwater.logs import MemoryLog
from headwater.server import ServerSettings, create_app
from headwater.server.serving import Bind, Server, loop_factory
from headwater.streams import Hub, StreamSettings

class NoModels:
    async def resolve(self, model): raise AssertionError
    async def list(self): return []

async def serve():
    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.1))
    await hub.start()
    server = Server(create_app(hub, NoModels(), ServerSettings()), hub, Bind(port=0),
                    ready=lambda url: print(url, flush=True))
    await server.serve()
    print("closed", type(asyncio.get_running_loop()).__module__, flush=True)

with asyncio.Runner(loop_factory=loop_factory()) as runner:
    runner.run(serve())
"""


def test_a_server_in_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    async def serve() -> None:
        async with running({}) as server:
            seen.append(signal.getsignal(signal.SIGTERM))
            assert (await server.client.get("/health")).status_code == 200

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_an_idle_server_cleanly(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    with socket.create_connection((url.split(":")[1].strip("/"), int(url.rsplit(":", 1)[1]))) as idle:
        os.kill(process.pid, number)
        out, err = await process.communicate()
        assert idle.recv(1) == b""
    assert out.decode().startswith("closed ")
    assert err.decode() == ""
    assert process.returncode == 0
