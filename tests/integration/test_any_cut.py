"""Cut anywhere, come back with the last id, as often as you like: the same events as the uncut run (P2, P5)."""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest

from headwater.sse import Message, Parser
from tests.stack import Served, begin
from tests.upstream import Upstream, prompt

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

DIALECTS = ("events", "openai_chat")


class CutViewer:
    """Reads a random number of bytes, cuts, keeps whole messages only, and returns with the last id."""

    def __init__(self, url: str, dialect: str, rng: random.Random) -> None:
        self.url = url
        self.dialect = dialect
        self.rng = rng
        self.messages: list[Message] = []
        self.cuts = 0

    async def read(self, client: httpx.AsyncClient) -> None:
        while not await self._connection(client, self.rng.choice((1, 40, 200, 900, 5_000, 100_000))):
            self.cuts += 1

    async def _connection(self, client: httpx.AsyncClient, budget: int) -> bool:
        """True when the stream has been read to its end."""
        last = next((m.id for m in reversed(self.messages) if m.id), "")
        headers = {"Last-Event-ID": last} if last else {}
        parser = Parser()
        unconfirmed: list[Message] = []
        async with client.stream("GET", self.url, params={"dialect": self.dialect}, headers=headers) as response:
            if response.status_code == 204:
                return True
            assert response.status_code == 200
            async for chunk in response.aiter_bytes():
                part, budget = chunk[:budget], budget - len(chunk)
                for message in parser.feed(part):
                    unconfirmed.append(message)
                    if message.id != last:
                        # Frames before the one with the id belong to its event: a cut between them repeats them.
                        last = message.id
                        self.messages += unconfirmed
                        unconfirmed.clear()
                if budget <= 0:
                    return False
        return True

    def text(self) -> str:
        """The dialect's answer text, whatever the framing was."""
        return "".join(_text(self.dialect, message) for message in self.messages)


def _text(dialect: str, message: Message) -> str:
    if message.data == "[DONE]":
        return ""
    data = httpx.Response(200, text=message.data).json()
    if dialect == "events":
        return str(data["text"]) if data["type"] == "text" else ""
    return "".join(choice["delta"].get("content") or "" for choice in data["choices"])


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("seed", range(6))
async def test_any_cuts_give_the_uncut_answer(
    upstream: Upstream, served: Served, client: httpx.AsyncClient, dialect: str, seed: int
) -> None:
    """vercel/ai #14688, #18457 (resume repeats text); mercure #178 (gap at the replay→live hand-off)."""
    rng = random.Random(seed)
    chunking = rng.choice(("", "crlf", f"chunk_bytes:{rng.randint(1, 97)}", "comments", "one_write"))
    script = {"tokens": 80, "delay_ms": rng.choice((0, 1, 4)), "seed": seed, "fault": chunking}
    expected = _expected(script)
    stream = await begin(client, served.url, prompt(**script))
    url = f"{served.url}/v1/streams/{stream}/events"
    viewers = [CutViewer(url, dialect, random.Random(seed * 100 + i)) for i in range(5)]
    await asyncio.gather(*(viewer.read(client) for viewer in viewers))
    assert sum(viewer.cuts for viewer in viewers) > 0
    for viewer in viewers:
        assert viewer.text() == expected
        ids = [m.id for m in viewer.messages]
        seqs = [int(i.partition(".")[2]) for i in dict.fromkeys(i for i in ids if i)]
        assert seqs == sorted(set(seqs))


def _expected(script: dict[str, object]) -> str:
    from tests.upstream.script import Script

    return Script(**script).answer()  # type: ignore[arg-type]


async def test_two_dialects_of_one_stream_tell_the_same(
    upstream: Upstream, served: Served, client: httpx.AsyncClient
) -> None:
    script = {"tokens": 30, "seed": 3, "reasoning": "first this then that", "delay_ms": 1}
    stream = await begin(client, served.url, prompt(**script))
    url = f"{served.url}/v1/streams/{stream}/events"
    rng = random.Random(0)
    viewers = [CutViewer(url, dialect, rng) for dialect in DIALECTS]
    await asyncio.gather(*(viewer.read(client) for viewer in viewers))
    assert viewers[0].text() == viewers[1].text() == _expected(script)
