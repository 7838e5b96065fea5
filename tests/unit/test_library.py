"""`Headwater` inside an application: any async iterator as a durable, resumable response."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI, Request, Response

from headwater.errors import ConfigError, InputError, QueueFull, ShuttingDown, StreamReset, UnknownStream
from headwater.events import Done, Error, Event, Reasoning, Start, Text, Usage, decode_event, text_of
from headwater.library import Headwater
from headwater.logs import MemoryLog
from headwater.sse import Message, Parser

WORDS = ["A ", "river ", "remembers ", "its ", "spring."]


async def words() -> AsyncIterator[str]:
    for word in WORDS:
        yield word


class Gate:
    """A source that yields one word, then waits until it is let go on; tells whether it was closed."""

    def __init__(self) -> None:
        self.calls = 0
        self.closed = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self) -> AsyncIterator[str]:  # type: ignore[override,misc]
        self.calls += 1
        try:
            yield WORDS[0]
            await self.go_on.wait()
            for word in WORDS[1:]:
                yield word
        finally:
            self.closed.set()


@pytest.fixture
async def hw() -> AsyncIterator[Headwater]:
    async with Headwater(log="memory", grace_s=0) as headwater:
        yield headwater


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
        yield client


def app_with(handler: Callable[[Request], Any]) -> FastAPI:
    app = FastAPI()

    @app.get("/answer")
    async def answer(request: Request) -> Response:
        response: Response = await handler(request)
        return response

    return app


def messages(body: bytes) -> list[Message]:
    return Parser().feed(body)


def events(body: bytes) -> list[Event]:
    return [decode_event(message.data) for message in messages(body) if message.event != "reset"]


async def collect(hw: Headwater, stream: str, after: str | None = None) -> list[Event]:
    return [event async for event in hw.follow(stream, after)]


async def exhaust(iterator: AsyncIterator[object]) -> None:
    async for _ in iterator:
        pass


async def test_a_generator_becomes_an_event_stream(hw: Headwater) -> None:
    async with client_of(app_with(lambda request: hw.respond(words(), model="mine"))) as client:
        response = await client.get("/answer")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    got = events(response.content)
    assert text_of(got) == "".join(WORDS)
    assert got[0] == Start(response.headers["x-stream-id"], "mine", got[0].created_ms)  # type: ignore[union-attr]
    assert got[-1] == Done("stop")
    assert [type(event) for event in got].count(Usage) == 1


@pytest.mark.parametrize("shape", ["iterator", "function", "async function"])
async def test_what_a_source_may_be(hw: Headwater, shape: str) -> None:
    async def opened() -> AsyncIterator[str]:
        return words()

    sources: dict[str, Any] = {"iterator": words(), "function": words, "async function": opened}
    assert text_of(await collect(hw, await hw.start(sources[shape]))) == "".join(WORDS)
    await sources["iterator"].aclose()


async def test_events_are_passed_on_as_they_are(hw: Headwater) -> None:
    async def source() -> AsyncIterator[Event]:
        yield Reasoning("hm")
        yield Text("yes")
        yield Usage(3, 4)
        yield Done("length")

    got = await collect(hw, await hw.start(source))
    assert got[1:] == [Reasoning("hm"), Text("yes"), Usage(3, 4), Done("length")]


async def test_chunks_of_an_sdk_and_its_format_towards_the_client(hw: Headwater) -> None:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    async def source() -> AsyncIterator[dict[str, object]]:
        yield {**chunk, "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
        yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        yield {**chunk, "choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}}

    app = app_with(lambda request: hw.respond(source, dialect="openai_chat", include_usage=True))
    async with client_of(app) as client:
        data = [message.data for message in messages((await client.get("/answer")).content)]
    assert data[-1] == "[DONE]"
    assert any('"content":"Hi"' in line for line in data)
    assert any('"total_tokens":3' in line for line in data)


async def test_an_iterator_without_an_end_of_its_own_and_one_that_is_faster_than_the_log(hw: Headwater) -> None:
    class Bare:
        """Neither `aclose` nor `close`."""

        def __init__(self) -> None:
            self.left = 40

        def __aiter__(self) -> Bare:
            return self

        async def __anext__(self) -> str:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return "x" * 100_000

    class Closed(Bare):
        def close(self) -> None:
            self.left = -1

    for source in (Bare(), Closed()):
        assert len(text_of(await collect(hw, await hw.start(source)))) == 4_000_000


async def test_the_same_key_is_the_same_stream_and_generates_once(hw: Headwater) -> None:
    """vercel/ai #6502, P9: whoever comes back must find the answer that is there, not pay for another."""
    gate = Gate()
    app = app_with(lambda request: hw.respond(gate, request=request, key="thread-42/msg-7"))
    gate.go_on.set()
    async with client_of(app) as client:
        first = await client.get("/answer")
        second = await client.get("/answer")
    assert text_of(events(first.content)) == text_of(events(second.content)) == "".join(WORDS)
    assert first.headers["x-stream-id"] == second.headers["x-stream-id"]
    assert gate.calls == 1


async def test_keys_of_different_owners_are_different(hw: Headwater) -> None:
    streams = {await hw.start(words, key="k", owner=owner) for owner in ("ann", "bob", "ann")}
    assert len(streams) == 2


async def test_a_generator_that_is_not_needed_is_closed(hw: Headwater) -> None:
    class Once:
        closed = False

        def __aiter__(self) -> AsyncIterator[str]:
            return words()

        async def close(self) -> None:
            self.closed = True

    needed, spare = Once(), Once()
    stream = await hw.start(needed, key="k")
    assert await hw.start(spare, key="k") == stream
    assert spare.closed
    await collect(hw, stream)
    assert needed.closed


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_returning_viewer_gets_exactly_the_rest_at_every_cut(hw: Headwater, how: str) -> None:
    """P2; open-webui #29596, vercel/ai #14688: a resume neither loses nor repeats."""
    app = app_with(lambda request: hw.respond(words, request=request, key="k"))
    async with client_of(app) as client:
        whole = messages((await client.get("/answer")).content)
        for cut, message in enumerate(whole, 1):
            if how == "header":
                response = await client.get("/answer", headers={"Last-Event-ID": message.id})
            else:
                response = await client.get("/answer", params={"after": message.id})
            if cut == len(whole):
                assert response.status_code == 204
            else:
                got = [decode_event(m.data) for m in whole[:cut]] + events(response.content)
                assert text_of(got) == "".join(WORDS)
                assert got[-2:] == [decode_event(m.data) for m in whole[-2:]]


async def test_an_event_source_without_a_key_is_refused_instead_of_answered_twice(hw: Headwater) -> None:
    """Without it, a browser would come back after the end and be billed again, for ever (bifrost #7035)."""
    gate = Gate()
    app = app_with(lambda request: hw.respond(gate, request=request))
    async with client_of(app) as client:
        response = await client.get("/answer", headers={"Last-Event-ID": "1.4"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "key"
    assert gate.calls == 0


async def test_the_cursor_of_a_stream_that_is_gone_is_not_taken_for_its_namesakes(hw: Headwater) -> None:
    """LibreChat PR #13117: a reused id made every event look old; mercure #704: the client was stuck for ever."""
    app = app_with(lambda request: hw.respond(words, request=request, key="expired"))
    async with client_of(app) as client:
        got = messages((await client.get("/answer", headers={"Last-Event-ID": "1.2"})).content)
    assert got[0].event == "reset"
    assert text_of([decode_event(message.data) for message in got[1:]]) == "".join(WORDS)


async def test_a_generator_that_fails_ends_the_stream_with_its_type_only(
    hw: Headwater, caplog: pytest.LogCaptureFixture
) -> None:
    async def source() -> AsyncIterator[str]:
        yield "partial"
        raise ValueError("password=hunter2")

    got = await collect(hw, await hw.start(source))
    assert text_of(got) == "partial"
    assert isinstance(got[-1], Error)
    assert got[-1].reason == "producer_failed"
    assert "ValueError" in got[-1].message
    assert "hunter2" not in got[-1].message
    assert "hunter2" in caplog.text


async def test_an_sdks_refusal_keeps_its_status_and_another_clients_does_not_leak(hw: Headwater) -> None:
    request = httpx.Request("POST", "http://upstream")
    response = httpx.Response(429, headers={"Retry-After": "7"}, request=request)
    body = {"message": "slow down", "code": "rate_limit_exceeded"}

    async def sdk() -> AsyncIterator[str]:
        raise openai.RateLimitError("Error code: 429", response=response, body=body)
        yield ""

    async def other() -> AsyncIterator[str]:
        raise httpx.HTTPStatusError("internal address", request=request, response=response)
        yield ""

    [_, _, refused] = await collect(hw, await hw.start(sdk))
    assert isinstance(refused, Error)
    assert (refused.status, refused.retry_after_s, refused.message) == (429, 7, "slow down")
    assert refused.code == "rate_limit_exceeded"
    [_, _, failed] = await collect(hw, await hw.start(other))
    assert isinstance(failed, Error)
    assert failed.reason == "producer_failed"
    assert "internal" not in failed.message


async def test_cancel_stops_the_generator(hw: Headwater) -> None:
    """P4; open-webui #1567: Stop must stop the model, not only the page."""
    gate = Gate()
    stream = await hw.start(gate)
    async with aclosing(hw.follow(stream)) as following:
        async for event in following:
            if isinstance(event, Text):
                break
        info = await hw.cancel(stream)
        assert info.status == "cancelled"
        await asyncio.wait_for(gate.closed.wait(), 10)
        assert [event async for event in following][-1] == Done("cancelled")
    assert (await hw.info(stream)).finish_reason == "cancelled"


async def test_a_stream_outlives_its_viewer_and_lingers_as_asked(hw: Headwater) -> None:
    """open-webui #452: switching away must not kill the answer; litellm #30244: nor may it run on for ever."""
    kept, dropped = Gate(), Gate()
    kept_id = await hw.start(kept, linger_s=60)
    dropped_id = await hw.start(dropped, linger_s=60)
    for stream in (kept_id, dropped_id):
        async with aclosing(hw.follow(stream)) as following:
            await anext(following)
    assert (await hw.info(kept_id)).finished_at is None
    kept.go_on.set()
    assert text_of(await collect(hw, kept_id)) == "".join(WORDS)
    brief = Gate()
    brief_id = await hw.start(brief, linger_s=0.01)
    await asyncio.wait_for(brief.closed.wait(), 10)
    assert (await hw.info(brief_id)).status == "cancelled"


async def test_follow_from_a_cursor(hw: Headwater) -> None:
    stream = await hw.start(words)
    whole = await collect(hw, stream)
    cursor = (await hw.info(stream)).cursor
    assert await collect(hw, stream, cursor) == []
    assert text_of(await collect(hw, stream, "1.1")) == "".join(WORDS[1:])
    assert whole[-1] == Done("stop")
    with pytest.raises(StreamReset) as reset:
        await collect(hw, stream, "1.99")
    assert reset.value.reason == "unknown_cursor"
    with pytest.raises(UnknownStream):
        await collect(hw, "nothing")
    with pytest.raises(UnknownStream):
        await hw.info(stream, owner="somebody else")


async def _left_alone(hw: Headwater, stream: str) -> None:
    """Until the stream ended and its viewer was let go of."""
    while True:
        info = await hw.info(stream)
        if not info.viewers and info.finished_at is not None:
            return
        await asyncio.sleep(0.01)


async def test_a_consumer_that_pauses_longer_than_a_socket_may_misses_nothing() -> None:
    """P7: it is let go of, costs nothing meanwhile, and goes on where it was."""
    pieces = [f"{number:08d}" * 512 for number in range(1000)]

    async def source() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(0)

    async with Headwater(log="memory", send_timeout_s=0.02) as hw:
        stream = await hw.start(source)
        got: list[Event] = []
        async for event in hw.follow(stream):
            if not got:
                await _left_alone(hw, stream)
            got.append(event)
    assert text_of(got) == "".join(pieces)


async def test_no_room_is_an_answer_not_an_exception() -> None:
    async with Headwater(log="memory", max_streams=1, max_queued=0, grace_s=0) as hw:
        gate = Gate()
        first = await hw.start(gate)
        unused = words()
        async with client_of(app_with(lambda request: hw.respond(unused))) as client:
            response = await client.get("/answer")
        assert response.status_code == 429
        assert response.json()["error"]["code"] == "queue_full"
        assert "retry-after" in response.headers
        assert [word async for word in unused] == []  # closed
        with pytest.raises(QueueFull):
            await hw.start(words)
        await hw.cancel(first)


async def test_no_room_for_another_viewer() -> None:
    async with Headwater(log="memory", max_connections=1, grace_s=0) as hw:
        gate = Gate()
        stream = await hw.start(gate)
        async with aclosing(hw.follow(stream)) as following:
            await anext(following)
            async with client_of(app_with(lambda request: hw.respond(words))) as client:
                response = await client.get("/answer")
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "too_many_connections"


async def test_wrong_sources_are_told_at_once(hw: Headwater) -> None:
    async def ask() -> AsyncIterator[str]:
        return words()

    with pytest.raises(TypeError, match="pass the function instead"):
        await hw.respond(ask())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not <class 'list'>"):
        await hw.start(["a"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown dialect"):
        await hw.respond(words, dialect="morse")


async def test_a_function_that_returns_no_iterator_fails_the_stream(
    hw: Headwater, caplog: pytest.LogCaptureFixture
) -> None:
    got = await collect(hw, await hw.start(lambda: 5))  # type: ignore[arg-type,return-value]
    assert isinstance(got[-1], Error)
    assert "no async iterator" in caplog.text


async def test_it_starts_by_itself_and_again_after_its_end() -> None:
    hw = Headwater(log="memory")
    first = await hw.start(words)
    await collect(hw, first)
    await hw.aclose()
    await hw.aclose()
    second = await hw.start(words)
    assert text_of(await collect(hw, second)) == "".join(WORDS)
    await hw.aclose()


async def test_the_end_of_the_application_sends_followers_away() -> None:
    hw = Headwater(log="memory", grace_s=0)
    gate = Gate()
    following = hw.follow(await hw.start(gate))
    async with aclosing(following):
        await anext(following)
        await hw.aclose()
        with pytest.raises(ShuttingDown):
            await exhaust(following)
    assert gate.closed.is_set()


async def test_streams_survive_a_restart_and_unfinished_ones_end(tmp_path: Path) -> None:
    """P3; cloudflare/agents #1485, LibreChat PR #15532: never "streaming" for ever."""
    gate = Gate()
    async with Headwater(data_dir=tmp_path, grace_s=0) as hw:
        whole = await hw.start(words)
        await collect(hw, whole)
        cut = await hw.start(gate, key="k")
        async with aclosing(hw.follow(cut)) as following:
            async for event in following:
                if isinstance(event, Text):
                    break
    async with Headwater(data_dir=tmp_path) as hw:
        assert text_of(await collect(hw, whole)) == "".join(WORDS)
        got = await collect(hw, cut)
        assert text_of(got) == WORDS[0]
        assert isinstance(got[-1], Error)
        assert got[-1].reason == "interrupted"
        assert await hw.start(words, key="k") == cut


async def test_a_log_of_ones_own_stays_open() -> None:
    log = MemoryLog()
    async with Headwater(log=log) as hw:
        stream = await hw.start(words)
        await collect(hw, stream)
    assert await log.get(stream) is not None
    await log.close()


def test_settings_are_checked_when_it_is_made() -> None:
    with pytest.raises(ConfigError, match="contradict"):
        Headwater(log="memory", durability="commit")
    with pytest.raises(ConfigError, match="did you mean 'linger_s'"):
        Headwater(linger=3)


async def test_the_lifespan_of_an_application(tmp_path: Path) -> None:
    hw = Headwater(data_dir=tmp_path)
    app = FastAPI(lifespan=hw.lifespan)
    async with app.router.lifespan_context(app):
        assert (tmp_path / "lock").exists()
        await collect(hw, await hw.start(words))
    async with Headwater(data_dir=tmp_path):
        pass  # the directory was released


async def test_the_api_is_mounted(hw: Headwater) -> None:
    app = app_with(lambda request: hw.respond(words, key="k"))
    app.mount("/streams-api", hw.asgi())
    async with client_of(app) as client:
        stream = (await client.get("/answer")).headers["x-stream-id"]
        listed = (await client.get("/streams-api/v1/streams")).json()
        assert [entry["id"] for entry in listed["data"]] == [stream]
        response = await client.get(f"/streams-api/v1/streams/{stream}/events", params={"dialect": "openai_chat"})
        assert response.content.endswith(b"data: [DONE]\n\n")
        refused = await client.get("/streams-api/v1/streams", headers={"Origin": "https://evil.example"})
        assert refused.status_code == 403
        no_models = await client.get("/streams-api/v1/models")
        assert no_models.json()["data"] == []
        question = {"messages": [{"role": "user", "content": "hi"}], "model": "gpt"}
        unknown = await client.post("/streams-api/v1/chat/completions", json=question)
        assert unknown.status_code == 404
        assert "Headwater(providers=True)" in unknown.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_the_applications_own_users(kind: str) -> None:
    def who(request: Request) -> str | None:
        return request.headers.get("x-user")

    async def who_later(request: Request) -> str | None:
        return who(request)

    async with Headwater(log="memory", authenticate=who if kind == "plain" else who_later) as hw:
        stream = await hw.start(words, owner="ann")
        async with client_of(hw.asgi()) as client:
            assert (await client.get("/v1/streams")).status_code == 401
            bob = await client.get(f"/v1/streams/{stream}", headers={"x-user": "bob"})
            ann = await client.get(f"/v1/streams/{stream}", headers={"x-user": "ann"})
        assert (bob.status_code, ann.status_code) == (404, 200)


async def test_the_api_alone_is_an_application(tmp_path: Path) -> None:
    hw = Headwater(data_dir=tmp_path)
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    running = asyncio.create_task(
        hw.asgi()({"type": "lifespan", "state": {}}, inbox.get, sent.put)  # type: ignore[arg-type]
    )
    await inbox.put({"type": "lifespan.startup"})
    assert (await sent.get())["type"] == "lifespan.startup.complete"
    assert (tmp_path / "lock").exists()
    await inbox.put({"type": "lifespan.shutdown"})
    assert (await sent.get())["type"] == "lifespan.shutdown.complete"
    await running


def test_importing_the_package_does_next_to_nothing() -> None:
    """Measured as what it loads; a time would depend on the machine."""
    code = """
import sys, threading
before = set(sys.modules)
import headwater
heavy = {"pydantic", "asyncio", "msgspec", "fastapi", "httpx", "sqlite3", "logging"} & (set(sys.modules) - before)
assert not heavy, heavy
assert threading.active_count() == 1
assert headwater.Text("x").text == "x"
assert set(headwater.__all__) == set(dir(headwater))
for name in headwater.__all__:
    getattr(headwater, name)
try:
    headwater.Nonsense
except AttributeError as exc:
    assert "Nonsense" in str(exc)
else:
    raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_another_bind_address_of_the_environment_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library binds no address: a host meant for `serve` must not switch off the check of names."""
    monkeypatch.setenv("HEADWATER_HOST", "0.0.0.0")
    async with Headwater(data_dir=tmp_path) as hw, client_of(hw.asgi()) as client:
        assert (await client.get("/v1/streams", headers={"Host": "evil.example"})).status_code == 403
        assert (await client.get("/v1/streams", headers={"Host": "localhost"})).status_code == 200


async def test_a_viewer_that_returns_while_the_application_stops_is_sent_round_again(tmp_path: Path) -> None:
    """An error status would stop a browser's EventSource for good."""
    hw = Headwater(data_dir=tmp_path, grace_s=0)
    app = FastAPI()

    @app.get("/answer/{key}")
    async def answer(request: Request, key: str) -> Response:
        return await hw.respond(lambda: _words("a"), request=request, key=key)

    async with hw, client_of(app) as client:
        runtime = await hw._ready()
        runtime.hub.accepting = False
        returning = await client.get("/answer/k", headers={"Last-Event-ID": "1.3"})
        assert (returning.status_code, returning.text) == (200, "retry: 2000\n\n")
        assert (await client.get("/answer/k")).status_code == 503


async def _words(*words: str) -> AsyncIterator[str]:
    for word in words:
        yield word


async def test_conversations_and_hooks_are_had_from_python(tmp_path: Path) -> None:
    async with Headwater(data_dir=tmp_path / "without") as hw:
        with pytest.raises(ConfigError, match="chat=True"):
            await hw.backend()
    told: list[object] = []
    async with Headwater(data_dir=tmp_path / "with", chat=True) as hw:
        backend = await hw.backend()
        assert (await backend.workspace("", "default")).slug == "default"
        hooks = await hw.hooks()
        hooks.on("stream_completed", lambda *args: told.append(args))
        assert await hw.hooks() is hooks
