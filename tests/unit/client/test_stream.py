"""Reading a stream over a real socket that breaks in every way: each event once, in order, to the end."""

from __future__ import annotations

import asyncio
import gzip

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.client import EventStream, HeadwaterClient
from headwater.errors import (
    AccessError,
    ConnectionLost,
    FrameTooLarge,
    HeadwaterError,
    InputError,
    LogCorrupt,
    QueueFull,
    StreamFailed,
    StreamReset,
    UnexpectedAnswer,
    UnknownStream,
)
from headwater.events import Done, Error, Event, Text
from headwater.sse import MAX_FRAME_BYTES, comment, retry

from .scripted import (
    ANSWER,
    STREAM,
    Answer,
    Request,
    Script,
    Waits,
    after_of,
    answer,
    chunked,
    frames,
    head,
    in_turn,
    info,
    refused,
    serving,
    sse,
)

ALL = frames(ANSWER)


async def read(stream: EventStream) -> list[Event]:
    return [event async for event in stream]


async def note(stream: EventStream, seen: list[Event]) -> None:
    async for event in stream:
        seen.append(event)  # noqa: PERF401 - what comes before an error is kept


def rest(request: Request) -> Answer:
    """What a whole server answers: everything after the cursor."""
    return sse(frames(ANSWER, after=after_of(request)))


def after(first: Answer, then: Script = rest) -> Script:
    """`first` for the first request, `then` for all others."""
    left = [first]
    return lambda request: left.pop() if left else then(request)


class TestStart:
    async def test_a_whole_stream(self) -> None:
        async with (
            serving(in_turn(answer(201, info()), sse(retry(2000) + ALL))) as server,
            HeadwaterClient(server.url, "k") as client,
        ):
            stream = client.stream(messages=[{"role": "user", "content": "Hi"}])
            assert await read(stream) == ANSWER
        assert (stream.stream_id, stream.cursor, stream.reconnects, stream.ended) == (STREAM, "1.5", 0, True)
        reading = server.requests[1]
        assert (reading.path, reading.query) == (f"/v1/streams/{STREAM}/events", {"dialect": "events"})
        assert (reading.headers["accept"], reading.headers["authorization"]) == ("text/event-stream", "Bearer k")

    async def test_a_start_is_repeated_under_its_key_until_it_is_answered(self) -> None:
        """P9: one generation, however often the answer to the start is lost."""
        waits = Waits()
        lost = Answer(head(201, content_length="500") + b'{"id":')
        busy = refused(503, "shutting_down", retry_after="7")
        script = in_turn(Answer(b""), lost, busy, answer(502), answer(200, info()), sse(ALL))
        async with serving(script) as server, HeadwaterClient(server.url, reconnect=waits.policy) as client:
            stream = client.stream(messages=[])
            assert await read(stream) == ANSWER
        starts = [request for request in server.requests if request.method == "POST"]
        assert len(starts) == 5
        assert len({(request.headers["idempotency-key"], request.body) for request in starts}) == 1
        assert waits.slept[2] == 7.0 + 2.0
        assert stream.reconnects == 4

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            (refused(400, "invalid_request"), InputError),
            (refused(401, "invalid_api_key"), AccessError),
            (refused(429, "queue_full", retry_after="3"), QueueFull),
            (answer(500), UnexpectedAnswer),
            (answer(200, b"<html>"), UnexpectedAnswer),
        ],
    )
    async def test_a_refused_start_is_not_repeated(self, said: Answer, kind: type[HeadwaterError]) -> None:
        async with serving(in_turn(said)) as server, HeadwaterClient(server.url) as client:
            stream = client.stream(messages=[])
            with pytest.raises(kind):
                await read(stream)
        assert len(server.requests) == 1
        assert (stream.stream_id, stream.ended) == (None, False)

    async def test_a_server_that_restarts_is_waited_for(self) -> None:
        """Connection refused, then there: the server comes up during the first wait."""
        waits = Waits()
        async with serving(after(answer(201, info()))) as server:
            await server.stop()
            waits.while_waiting = server.start
            async with HeadwaterClient(server.url, reconnect=waits.policy) as client:
                assert await read(client.stream(messages=[])) == ANSWER
        assert len(waits.slept) == 1


class TestCuts:
    @pytest.mark.parametrize(
        "first",
        [
            pytest.param(sse(ALL[: len(ALL) // 2]), id="clean end in mid-frame"),
            pytest.param(sse(frames(ANSWER[:3])), id="clean end between frames"),
            pytest.param(sse(ALL[:-1]), id="the last blank line is missing"),
            pytest.param(sse(b""), id="nothing"),
            pytest.param(sse(ALL[:150], then="reset"), id="reset"),
            pytest.param(chunked(ALL[:250], whole=False), id="cut inside the framing"),
            pytest.param(chunked(frames(ANSWER[:2]), whole=True), id="whole body, no end of the stream"),
            pytest.param(Answer(b""), id="no answer"),
            pytest.param(Answer(b"HTTP/1.1 200 OK\r\nconte"), id="cut head"),
            pytest.param(Answer(b"garbage\r\n\r\n"), id="not HTTP"),
            pytest.param(sse(retry(0)), id="200 and go away"),
            pytest.param(answer(502, b"<html>"), id="502"),
            pytest.param(refused(503, "shutting_down"), id="503"),
            pytest.param(answer(504), id="504"),
            pytest.param(answer(429), id="429"),
        ],
    )
    async def test_the_rest_follows(self, first: Answer) -> None:
        """FAILURES: truncation that looks like success; refresh loses or duplicates text."""
        waits = Waits()
        async with serving(after(first)) as server, HeadwaterClient(server.url, reconnect=waits.policy) as client:
            stream = client.follow(STREAM)
            assert await read(stream) == ANSWER
        assert (stream.reconnects, len(server.requests)) == (1, 2)

    @given(
        cuts=st.lists(st.tuples(st.integers(0, len(ALL)), st.sampled_from(["close", "reset", "chunked"])), max_size=8),
        heartbeats=st.booleans(),
    )
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_cut_anywhere_any_number_of_times(self, cuts: list[tuple[int, str]], heartbeats: bool) -> None:
        """P2: exact cursors, at any cut point. Each connection brings some bytes of what is left, then breaks."""
        left = list(cuts)

        def script(request: Request) -> Answer:
            body = frames(ANSWER, after=after_of(request))
            body = comment(b"hb") + body if heartbeats else body
            if not left:
                return sse(body)
            point, how = left.pop(0)
            return chunked(body[:point], whole=False) if how == "chunked" else sse(body[:point], then=how)

        async def run() -> None:
            waits = Waits()
            async with serving(script) as server, HeadwaterClient(server.url, reconnect=waits.policy) as client:
                stream = client.follow(STREAM)
                assert await read(stream) == ANSWER
                assert stream.cursor == "1.5"
                assert stream.reconnects == len(server.requests) - 1

        asyncio.run(run())

    async def test_the_cursor_is_what_is_asked_after(self) -> None:
        script = in_turn(sse(frames(ANSWER[:3]) + b"event: text\nid: 1.3\nda"), sse(frames(ANSWER, after=2)))
        async with serving(script) as server, HeadwaterClient(server.url, reconnect=Waits().policy) as client:
            assert await read(client.follow(STREAM, after="1.0")) == ANSWER
        assert [request.query["after"] for request in server.requests] == ["1.0", "1.2"]

    async def test_more_cuts_than_attempts_as_long_as_something_comes(self) -> None:
        waits = Waits(max_attempts=1)

        def one_at_a_time(request: Request) -> Answer:
            seq = after_of(request)
            return sse(frames(ANSWER[: seq + 2], after=seq))

        async with serving(one_at_a_time) as server, HeadwaterClient(server.url, reconnect=waits.policy) as client:
            stream = client.follow(STREAM)
            assert await read(stream) == ANSWER
        assert stream.reconnects == len(ANSWER) - 1

    async def test_heartbeats_are_progress(self) -> None:
        """A model that thinks for long behind a proxy that cuts at 60 s (FAILURES: keep-alive) is waited for."""
        waits = Waits(max_attempts=1)
        script = in_turn(sse(comment(b"hb")), sse(comment(b"hb")), sse(comment(b"hb")), sse(ALL))
        async with serving(script) as server, HeadwaterClient(server.url, reconnect=waits.policy) as client:
            assert await read(client.follow(STREAM)) == ANSWER

    async def test_attempts_end_in_a_typed_error(self) -> None:
        """The stream can be read on later, from where it was."""
        waits = Waits(max_attempts=2)
        script = in_turn(sse(frames(ANSWER[:2])), sse(b""), answer(503), rest(Request("GET", "/?after=1.1", {}, b"")))
        async with serving(script) as server, HeadwaterClient(server.url, reconnect=waits.policy) as client:
            stream = client.follow(STREAM)
            with pytest.raises(ConnectionLost, match="gave up after 2 attempts"):
                await read(stream)
            assert await read(stream) == ANSWER[2:]

    async def test_the_server_s_retry_is_honoured_and_each_wait_is_told(self) -> None:
        waits = Waits(base_s=0.5)
        told: list[tuple[int, float, str]] = []
        script = in_turn(
            sse(retry(2000) + frames(ANSWER[:2])), answer(503, retry_after="9"), rest(Request("", "", {}, b""))
        )
        async with serving(script) as server, HeadwaterClient(server.url, reconnect=waits.policy) as client:
            await read(client.follow(STREAM, on_reconnect=lambda *what: told.append(what)))
        assert told == [
            (1, 2.5, "the server closed the connection before the stream's end"),
            (2, 10.0, "the server answered with HTTP status 503"),
        ]
        assert waits.slept == [2.5, 10.0]

    async def test_silence_is_a_dead_connection(self) -> None:
        """A laptop that slept, a NAT that forgot: no FIN ever comes."""
        waits = Waits()
        told: list[str] = []
        async with (
            serving(after(sse(frames(ANSWER[:2]), then="hold"))) as server,
            HeadwaterClient(server.url, silence_s=0.05, reconnect=waits.policy) as client,
        ):
            stream = client.follow(STREAM, on_reconnect=lambda attempt, delay_s, reason: told.append(reason))
            assert await read(stream) == ANSWER
        assert told[0] == "the server fell silent"

    async def test_heartbeats_are_life(self) -> None:
        """Longer than the silence allowed, with a comment now and then (FAILURES: mattermost-plugin-agents #985)."""
        pieces = (*((0.3, comment(b"hb")) for _ in range(5)), (0.3, ALL))
        async with (
            serving(in_turn(sse(b"", pieces=pieces))) as server,
            HeadwaterClient(server.url, silence_s=1.2, reconnect=Waits().policy) as client,
        ):
            stream = client.follow(STREAM)
            assert await read(stream) == ANSWER
        assert stream.reconnects == 0

    async def test_a_damaged_compressed_body_is_a_cut(self) -> None:
        packed = gzip.compress(ALL)
        damaged = Answer(
            head(200, content_type="text/event-stream", content_encoding="gzip") + packed[:40] + b"\0" * 60
        )
        async with serving(after(damaged)) as server, HeadwaterClient(server.url, reconnect=Waits().policy) as client:
            stream = client.follow(STREAM)
            assert await read(stream) == ANSWER
        assert stream.reconnects == 1


class TestEnds:
    async def test_nothing_more(self) -> None:
        async with serving(in_turn(answer(204))) as server, HeadwaterClient(server.url) as client:
            stream = client.follow(STREAM, after="1.5")
            assert await read(stream) == []
            assert await read(stream) == []
        assert (stream.ended, stream.cursor, len(server.requests)) == (True, "1.5", 1)

    async def test_what_follows_the_terminal_event_is_not_awaited(self) -> None:
        """A server that never closes does not hold the reader."""
        async with serving(in_turn(sse(ALL + ALL, then="hold"))) as server, HeadwaterClient(server.url) as client:
            assert await read(client.follow(STREAM)) == ANSWER
            await server.left.wait()

    async def test_a_failed_stream_raises_after_its_last_event(self) -> None:
        failed: list[Event] = [*ANSWER[:3], Error("provider_timeout", "too slow")]
        async with serving(in_turn(sse(frames(failed)))) as server, HeadwaterClient(server.url) as client:
            stream = client.follow(STREAM)
            seen: list[Event] = []
            with pytest.raises(StreamFailed, match="too slow") as caught:
                await note(stream, seen)
            assert seen == failed
            assert caught.value.reason == "provider_timeout"
            with pytest.raises(StreamFailed):
                await read(stream)

    async def test_a_failed_stream_can_just_end(self) -> None:
        failed: list[Event] = [*ANSWER[:3], Error("provider_timeout", "too slow")]
        async with serving(in_turn(sse(frames(failed)))) as server, HeadwaterClient(server.url) as client:
            assert await read(client.follow(STREAM, raise_on_error=False)) == failed

    async def test_an_unknown_cursor_is_a_typed_error(self) -> None:
        """FAILURES: unknown cursor, client stuck for ever (mercure #704)."""
        reset = b'event: reset\ndata: {"type":"reset","reason":"epoch 1 is gone"}\n\n' + frames(ANSWER, epoch=2)
        script = in_turn(sse(reset), sse(frames(ANSWER, epoch=2)))
        async with serving(script) as server, HeadwaterClient(server.url) as client:
            stream = client.follow(STREAM, after="1.3")
            with pytest.raises(StreamReset, match="epoch 1 is gone"):
                await read(stream)
            assert stream.cursor == "1.3"
            assert stream.stream_id is not None
            assert await read(client.follow(stream.stream_id)) == ANSWER

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            (refused(404, "stream_not_found"), UnknownStream),
            (refused(401, "invalid_api_key"), AccessError),
            (answer(200, b"<html>", content_type="text/html"), UnexpectedAnswer),
            (answer(200, ALL), UnexpectedAnswer),
            (answer(302, location="/login"), UnexpectedAnswer),
            (sse(b"event: text\nid: 1.0\ndata: {}\n\n"), LogCorrupt),
            (sse(b"event: reset\ndata: [\n\n"), UnexpectedAnswer),
            (sse(b"data: " + b"x" * MAX_FRAME_BYTES), FrameTooLarge),
        ],
    )
    async def test_what_another_attempt_would_meet_again_is_raised(
        self, said: Answer, kind: type[HeadwaterError]
    ) -> None:
        async with serving(in_turn(said)) as server, HeadwaterClient(server.url) as client:
            with pytest.raises(kind):
                await read(client.follow(STREAM))
        assert len(server.requests) == 1

    async def test_the_media_type_is_matched_as_http_says(self) -> None:
        said = Answer(head(200, content_type="Text/Event-Stream ;charset=utf-8") + ALL)
        async with serving(in_turn(said)) as server, HeadwaterClient(server.url) as client:
            assert await read(client.follow(STREAM)) == ANSWER

    async def test_events_of_a_newer_server_are_passed_over(self) -> None:
        """Their position counts all the same: resume goes on after them."""
        newer = frames(ANSWER[:2]) + b'event: hologram\nid: 1.2\ndata: {"type":"hologram"}\n\n'
        script = in_turn(sse(newer), sse(frames(ANSWER, after=2)))
        async with serving(script) as server, HeadwaterClient(server.url, reconnect=Waits().policy) as client:
            assert await read(client.follow(STREAM)) == [*ANSWER[:2], *ANSWER[3:]]
        assert server.requests[1].query["after"] == "1.2"


class TestLeaving:
    async def test_break_only_disconnects(self) -> None:
        """P4: stop is not disconnect. The server sees the connection go, and no cancel."""
        script = in_turn(answer(201, info()), sse(frames(ANSWER[:4]), then="hold"))
        async with serving(script) as server, HeadwaterClient(server.url) as client:
            async for event in client.stream(messages=[]):
                if isinstance(event, Text):
                    break
            await server.left.wait()
        assert [request.path for request in server.requests] == ["/v1/streams", f"/v1/streams/{STREAM}/events"]

    async def test_iterating_again_goes_on_where_it_was_left(self) -> None:
        async with serving(rest) as server, HeadwaterClient(server.url) as client:
            stream = client.follow(STREAM)
            seen: list[Event] = []
            for _ in ANSWER:
                async for event in stream:
                    seen.append(event)
                    break
        assert seen == ANSWER
        assert stream.reconnects == 0

    async def test_async_with_closes_at_a_definite_point(self) -> None:
        script = in_turn(sse(frames(ANSWER[:4]), then="hold"))
        async with serving(script) as server, HeadwaterClient(server.url) as client:
            async with client.follow(STREAM) as stream:
                reading = aiter(stream)
                assert await anext(reading) == ANSWER[0]
            await server.left.wait()
            with pytest.raises(StopAsyncIteration):
                await anext(reading)

    async def test_after_aclose_nothing_is_left_for_the_garbage_collector(self) -> None:
        open_bodies: list[httpx.AsyncByteStream] = []

        class Counting(httpx.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                response = await super().handle_async_request(request)
                assert isinstance(response.stream, httpx.AsyncByteStream)
                open_bodies.append(response.stream)
                close = response.stream.aclose

                async def aclose() -> None:
                    open_bodies.clear()
                    await close()

                response.stream.aclose = aclose  # type: ignore[method-assign]
                return response

        async with (
            serving(in_turn(sse(ALL, then="hold"))) as server,
            httpx.AsyncClient(transport=Counting()) as http,
            HeadwaterClient(server.url, http=http) as client,
        ):
            stream = client.follow(STREAM)
            reading = aiter(stream)
            await anext(reading)
            assert len(open_bodies) == 1
            await stream.aclose()
            assert open_bodies == []

    async def test_more_streams_at_once_than_httpx_has_connections_by_default(self) -> None:
        async with (
            serving(lambda request: sse(ALL[:-1], then="hold")) as server,
            HeadwaterClient(server.url) as client,
        ):
            streams = [client.follow(STREAM) for _ in range(101)]
            readings = [aiter(stream) for stream in streams]
            assert await asyncio.gather(*(anext(reading) for reading in readings)) == [ANSWER[0]] * 101
            for stream in streams:
                await stream.aclose()

    async def test_closing_what_was_never_read_or_is_long_gone(self) -> None:
        async with serving(rest) as server, HeadwaterClient(server.url) as client:
            async with client.follow(STREAM) as stream:
                pass
            async with stream:
                assert await read(stream) == ANSWER
            assert len(server.requests) == 1

    async def test_cancel_stops_and_the_reader_sees_the_end(self) -> None:
        cancelled: list[Event] = [*ANSWER[:3], Done("cancelled")]

        def script(request: Request) -> Answer:
            if request.path.endswith("/cancel"):
                return answer(200, info(status="cancelled"))
            return answer(201, info()) if request.method == "POST" else sse(frames(cancelled, after=after_of(request)))

        async with serving(script) as server, HeadwaterClient(server.url) as client:
            stream = client.stream(messages=[])
            assert (await stream.cancel()).status == "cancelled"
            assert await read(stream) == cancelled
        assert [request.method for request in server.requests] == ["POST", "POST", "GET"]

    async def test_cancelling_the_reading_task_disconnects(self) -> None:
        script = in_turn(sse(b"", then="hold"))
        async with serving(script) as server, HeadwaterClient(server.url) as client:
            task = asyncio.create_task(read(client.follow(STREAM)))
            await server.asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.left.wait()
