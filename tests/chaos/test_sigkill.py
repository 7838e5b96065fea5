"""SIGKILL at random moments under many viewers: a pause, never a character (P1, P2, P3)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Upstream, prompt

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

KILLS = 20
STREAMS = 10
VIEWERS = 50
SEED = 20260


def _check_prefix(watcher: Watcher, text: str, seqs: set[int]) -> None:
    assert text.startswith(watcher.text), "a viewer saw what the log does not hold"
    assert watcher.seqs == sorted(set(watcher.seqs)), "repeated or out of order"
    assert set(watcher.seqs) <= seqs


async def _final(client: object, url: str, stream: str) -> Watcher:
    """The whole stream from its start, in one connection."""
    final = Watcher(url, stream)
    await final.read_to_end(client)  # type: ignore[arg-type]
    return final


async def test_fifty_viewers_and_twenty_kills(tmp_path: Path) -> None:
    """LibreChat PR #15532 (a crash leaves "streaming" for ever), open-webui #29596 (a refresh loses text before it)."""
    rng = random.Random(SEED)
    async with Upstream() as upstream, Served(tmp_path, openai_url=upstream.openai_url, measured=False) as served:
        async with viewers_client() as client:
            for kill in range(KILLS):
                await _one_kill(rng, served, client, kill)
        await upstream.until(lambda: upstream.active == 0)


async def _one_kill(rng: random.Random, served: Served, client: object, kill: int) -> None:
    streams = []
    for number in range(STREAMS // 2):
        script = prompt(tokens=60, delay_ms=8, seed=kill * 100 + number, first_delay_ms=rng.choice((0, 0, 0, 150)))
        streams.append(await begin(client, served.url, script))  # type: ignore[arg-type]
        streams.append(await begin(client, served.url, "hello", model="replay/welcome", pace=10))  # type: ignore[arg-type]
    watchers = [Watcher(served.url, streams[i % len(streams)]) for i in range(VIEWERS)]
    tasks = [asyncio.create_task(watcher.read_to_end(client)) for watcher in watchers]  # type: ignore[arg-type]
    await asyncio.sleep(rng.uniform(0.0, 0.45))  # the moment of the kill, not a synchronisation
    await served.kill()
    before = [(watcher.text, list(watcher.seqs)) for watcher in watchers]
    await served.start()
    await asyncio.gather(*tasks)
    finals = {stream: await _final(client, served.url, stream) for stream in streams}
    for watcher, (text, seqs) in zip(watchers, before, strict=True):
        final = finals[watcher.stream]
        assert watcher.resets == 0
        assert watcher.text.startswith(text)
        assert watcher.seqs[: len(seqs)] == seqs
        assert final.terminal is not None
        assert watcher.terminal == final.terminal
        assert watcher.text == final.text
        _check_prefix(watcher, final.text, set(range(final.seqs[-1] + 1)))
