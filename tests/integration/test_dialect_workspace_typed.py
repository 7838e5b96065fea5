"""The dialects `workspace` and `typed` of streams that were started natively: cut anywhere, and read as documented."""

from __future__ import annotations

import asyncio
import codecs
import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.sse import Message, Parser
from tests.integration.test_any_cut import CutViewer
from tests.stack import Served, begin, viewers_client
from tests.upstream import Upstream, prompt
from tests.upstream.script import Script

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

DIALECTS = ("workspace", "typed")
THOUGHT = "first this then that, and so on"


def answer(script: dict[str, Any], dialect: str) -> str:
    """What a client that adds up the pieces ends with."""
    text = Script(**script).answer()
    thought = script.get("reasoning")
    return f"<think>{thought}</think>{text}" if thought and dialect == "workspace" else text


def added_up(objects: list[dict[str, Any]]) -> str:
    pieces = (o["textResponse"] if o["type"] == "textResponseChunk" else o["content"] for o in objects if is_piece(o))
    return "".join(pieces)


def is_piece(payload: dict[str, Any]) -> bool:
    return payload["type"] in ("textResponseChunk", "chunk")


def ends(objects: list[dict[str, Any]]) -> list[str]:
    return [o["type"] for o in objects][-2:]


END = {"workspace": ["textResponseChunk", "finalizeResponseStream"], "typed": ["metadata", "done"]}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("seed", range(4))
async def test_any_cuts_give_the_uncut_answer(
    upstream: Upstream, served: Served, client: httpx.AsyncClient, dialect: str, seed: int
) -> None:
    """vercel/ai #14688, #18457 (resume repeats text): also the tags around the thinking come once."""
    rng = random.Random(seed)
    script = {"tokens": 80, "delay_ms": rng.choice((0, 1, 4)), "seed": seed, "reasoning": THOUGHT if seed % 2 else ""}
    stream = await begin(client, served.url, prompt(**script))
    url = f"{served.url}/v1/streams/{stream}/events"
    viewers = [CutViewer(url, dialect, random.Random(seed * 100 + i)) for i in range(5)]
    await asyncio.gather(*(viewer.read(client) for viewer in viewers))
    assert sum(viewer.cuts for viewer in viewers) > 0
    for viewer in viewers:
        objects = [json.loads(message.data) for message in viewer.messages]
        assert added_up(objects) == answer(script, dialect)
        assert ends(objects) == END[dialect]


async def fetch_read(client: httpx.AsyncClient, url: str, dialect: str) -> list[dict[str, Any]]:
    """As the references' own clients do: a reader, a text decoder, and lines that begin with `data:`."""
    decoder, buffer, objects = codecs.getincrementaldecoder("utf-8")(), "", []
    async with client.stream("GET", url, params={"dialect": dialect}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for value in response.aiter_bytes():
            *lines, buffer = (buffer + decoder.decode(value)).split("\n")
            objects += [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    return objects


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_fetch_reader_gets_the_whole_text(
    upstream: Upstream, served: Served, client: httpx.AsyncClient, dialect: str
) -> None:
    script = {"tokens": 40, "delay_ms": 1, "seed": 7, "reasoning": THOUGHT}
    stream = await begin(client, served.url, prompt(**script))
    url = f"{served.url}/v1/streams/{stream}/events"
    live, later = await fetch_read(client, url, dialect), await fetch_read(client, url, dialect)
    assert added_up(live) == added_up(later) == answer(script, dialect)
    assert live[-1] == later[-1]
    assert ends(live) == END[dialect]
    if dialect == "workspace":
        metrics = live[-1]["metrics"]
        assert metrics["total_tokens"] == metrics["prompt_tokens"] + metrics["completion_tokens"] > 0
        assert {"outputTps", "duration", "provider", "timestamp", "timeToFirstToken"} <= set(metrics)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_after_a_restart_every_cursor_gives_the_rest(upstream: Upstream, tmp_path: Path, dialect: str) -> None:
    """The fold is not in memory then, and what a frame says of the events before it must be the same."""
    script = {"tokens": 12, "seed": 5, "reasoning": THOUGHT}
    async with Served(tmp_path, openai_url=upstream.openai_url) as server:
        async with viewers_client() as http:
            stream = await begin(http, server.url, prompt(**script))
            url = f"{server.url}/v1/streams/{stream}/events"
            cursors = [message.id for message in await messages(http, url, "events", "")]
        await server.restart()
        async with viewers_client() as http:
            whole = await messages(http, url, dialect, "")
            assert added_up([json.loads(m.data) for m in whole]) == answer(script, dialect)
            rest = answer(script, dialect)
            for cursor in cursors[:-1]:
                found = await messages(http, url, dialect, cursor)
                text = added_up([json.loads(m.data) for m in found])
                assert rest.endswith(text)
                assert found[-1] == whole[-1]
                rest = text
    assert rest == ""


async def messages(client: httpx.AsyncClient, url: str, dialect: str, cursor: str) -> list[Message]:
    headers = {"Last-Event-ID": cursor} if cursor else {}
    parser, found = Parser(), []
    async with client.stream("GET", url, params={"dialect": dialect}, headers=headers) as response:
        async for value in response.aiter_bytes():
            found += parser.feed(value)
    return found
