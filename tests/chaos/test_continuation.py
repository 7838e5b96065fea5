"""SIGKILL in mid-answer, and the answer is whole all the same: gone on with by another generation, or re-attached."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import httpx
import pytest

from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Script, Upstream, prompt

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

STREAMS = 8


def config(tmp_path: Path, upstream: Upstream) -> tuple[str, str]:
    """Flags for a server with a route that goes on with answers, and with OpenAI's Responses API."""
    path = tmp_path / "headwater.toml"
    path.write_text(f"""
[providers.vllm]
base_url = "{upstream.openai_url}"

[providers.mistral]
base_url = "{upstream.openai_url}"
api_key = "env:MISTRAL_API_KEY"

[providers.openai]
base_url = "{upstream.openai_url}"
api = "responses"
api_key = "env:OPENAI_API_KEY"

[prices.kept]
input = 1.0
output = 2.0

[routes.kept]
continue_answers = true
[[routes.kept.targets]]
provider = "vllm"
[[routes.kept.targets]]
provider = "mistral"
""")
    return "--config", str(path)


def served(tmp_path: Path, upstream: Upstream) -> Served:
    keys = {"MISTRAL_API_KEY": "test-key", "OPENAI_API_KEY": "test-key"}
    return Served(tmp_path, environment=keys, flags=config(tmp_path, upstream))


def stages(watcher: Watcher) -> list[str]:
    return [seen.data["stage"] for seen in watcher.seen if seen.event == "status"]


async def killed_in_mid_answer(
    server: Served, client: httpx.AsyncClient, streams: list[str], rng: random.Random
) -> list[Watcher]:
    """Watch, kill when every stream has text, start again, watch to the end."""
    watchers = [Watcher(server.url, stream) for stream in streams]
    await asyncio.gather(*(w.read(client, until=lambda w: len(w.text) > rng.randrange(5, 200)) for w in watchers))
    await server.kill()
    before = [watcher.text for watcher in watchers]
    await server.start()
    await asyncio.gather(*(watcher.read_to_end(client) for watcher in watchers))
    for watcher, text in zip(watchers, before, strict=True):
        assert watcher.resets == 0
        assert watcher.text.startswith(text)
        assert watcher.seqs == sorted(set(watcher.seqs))
    return watchers


async def test_a_route_goes_on_with_its_answers(tmp_path: Path) -> None:
    """P6: LibreChat PR #15532; vercel/ai #14688: resuming duplicates no text; litellm #18229: nothing is injected."""
    rng = random.Random(4)
    async with Upstream() as upstream, served(tmp_path, upstream) as server, viewers_client() as client:
        scripts = [{"tokens": 200, "delay_ms": 5, "seed": seed} for seed in range(STREAMS)]
        streams = [await begin(client, server.url, prompt(**script), model="kept") for script in scripts]
        for watcher, script in zip(await killed_in_mid_answer(server, client, streams, rng), scripts, strict=True):
            assert watcher.terminal is not None
            assert watcher.terminal.event == "done"
            assert watcher.text == Script(**script).answer()  # type: ignore[arg-type]
            assert stages(watcher) == ["recovering", "continuing"]
            usage = next(seen.data for seen in watcher.seen if seen.event == "usage")
            assert usage["source"] == "estimated"
            assert usage["completion_tokens"] > 50
        assert upstream.attempts == 2 * STREAMS
        for recorded in upstream.requests:
            assert not any(message["role"] == "system" for message in recorded.body.get("messages", ()))
        await upstream.until(lambda: upstream.active == 0)


async def test_a_background_response_is_taken_up_where_it_is(tmp_path: Path) -> None:
    """litellm #26762: the same generation goes on; nothing is generated, or billed, twice."""
    rng = random.Random(5)
    async with Upstream() as upstream, served(tmp_path, upstream) as server, viewers_client() as client:
        scripts = [{"tokens": 200, "delay_ms": 5, "seed": seed} for seed in range(STREAMS)]
        streams = [
            await begin(client, server.url, prompt(**script), model="openai/fake-1", background=True)
            for script in scripts
        ]
        for watcher, script in zip(await killed_in_mid_answer(server, client, streams, rng), scripts, strict=True):
            assert watcher.terminal is not None, json.dumps(watcher.seen[-3:])
            assert watcher.terminal.event == "done"
            assert watcher.text == Script(**script).answer()  # type: ignore[arg-type]
        posts = [recorded for recorded in upstream.requests if recorded.method == "POST"]
        assert len(posts) == STREAMS
