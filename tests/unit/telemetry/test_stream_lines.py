"""A line for each ended stream; what people wrote is in it only where the operator asked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from headwater.errors import LogUnavailable, ProviderTimeout
from headwater.events import Event, Text
from headwater.logs.memory import MemoryLog
from headwater.request import ChatRequest, encode_request
from headwater.streams import Channel, Hub, NewStream
from headwater.telemetry.stream_lines import MAX_CONTENT_CHARACTERS, StreamLines

from .kit import SETTINGS, Steps

PARTS = [{"type": "text", "text": "What is"}, {"type": "image_url"}, {"type": "text", "text": "this?"}]


async def lines(
    caplog: pytest.LogCaptureFixture,
    *runs: tuple[Steps, Sequence[dict[str, Any]] | None],
    content: bool = False,
    fails: bool = False,
) -> list[dict[str, Any]]:
    caplog.set_level(logging.INFO, "headwater.ended")
    hub = Hub(MemoryLog(), SETTINGS, on_end=lambda channel: told.ended(channel))

    async def read(channel: Channel) -> Sequence[Event]:
        if fails:
            raise LogUnavailable("the disk is gone")
        return await hub.read_all(channel)

    told = StreamLines(read, content=content)
    await hub.start()
    for producer, messages in runs:
        request = b"" if messages is None else encode_request(ChatRequest("m", list(messages)))
        channel, _ = await hub.create(NewStream(model="m", provider="p", request=request), producer)
        await channel.wait_end()
    await hub.shutdown(0)
    await told.close()
    return [vars(record) for record in caplog.records if record.name == "headwater.ended"]


async def test_how_it_ended_is_told_and_nothing_of_its_content(caplog: pytest.LogCaptureFixture) -> None:
    asked = [{"role": "user", "content": "my secret question"}]
    done, failed = await lines(
        caplog, (Steps((0, [Text("my answer")])), asked), (Steps(error=ProviderTimeout("slow")), asked)
    )
    assert (done["outcome"], done["reason"], done["levelname"]) == ("done", "stop", "INFO")
    assert (done["chunks"], done["prompt_tokens"], done["completion_tokens"]) == (1, 7, 11)
    assert (done["model"], done["provider"], done["dialect"]) == ("m", "p", "events")
    assert done["duration_ms"] >= 0
    assert (failed["outcome"], failed["reason"], failed["levelname"]) == ("failed", "provider_timeout", "WARNING")
    for told in (done, failed):
        assert not {"question", "answer"} & told.keys()
        assert "secret" not in str(told) and "my answer" not in str(told)


async def test_content_is_told_where_it_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    long = "x" * (MAX_CONTENT_CHARACTERS + 5)
    runs = [
        (Steps((0, [Text("an "), Text("answer")])), [{"role": "user", "content": "a question"}, {"role": "assistant"}]),
        (Steps((0, [Text(long)])), [{"role": "user", "content": PARTS}]),
        (Steps((0, [Text("b")])), [{"role": "system", "content": "be kind"}]),
        (Steps((0, [Text("c")])), None),
    ]
    told = await lines(caplog, *runs, content=True)
    shown = {(one["question"], one["answer"]) for one in told}
    assert shown == {
        ("a question", "an answer"), ("What is\nthis?", long[:MAX_CONTENT_CHARACTERS]), ("", "b"), ("", "c"),
    }  # fmt: skip


async def test_what_cannot_be_read_is_told_as_that(caplog: pytest.LogCaptureFixture) -> None:
    [told] = await lines(caplog, (Steps((0, [Text("a")])), None), content=True, fails=True)
    assert (told["unreadable"], told["outcome"]) == ("the disk is gone", "done")


async def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "headwater.ended")
    told = StreamLines(lambda _channel: pytest.fail("nothing is read"), content=True)
    hub = Hub(MemoryLog(), SETTINGS, on_end=told.ended)
    await hub.start()
    channel, _ = await hub.create(NewStream(), Steps((0, [Text("a")])))
    await channel.wait_end()
    await hub.shutdown(0)
    await told.close()
    assert not caplog.records
