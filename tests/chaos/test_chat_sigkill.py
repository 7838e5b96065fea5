"""SIGKILL in mid-answer: the conversation keeps what was seen, and nothing stays `streaming` for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stack import Served, Watcher, viewers_client
from tests.upstream import Script, Upstream, prompt

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

THREADS = 6


class Conversation:
    """A thread with one question, its answer's stream, and a viewer of it."""

    def __init__(self, server: Served, client: httpx.AsyncClient, told: dict[str, Any]) -> None:
        self.thread: str = told["answer"]["thread_id"]
        self.watcher = Watcher(server.url, told["stream_id"])
        self._server = server
        self._client = client

    async def messages(self) -> list[dict[str, Any]]:
        response = await self._client.get(f"{self._server.url}/v1/threads/{self.thread}/messages")
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["data"]
        return found


async def begin(server: Served, client: httpx.AsyncClient, content: str, model: str) -> Conversation:
    made = await client.post(f"{server.url}/v1/workspaces/default/threads", json={"model": model})
    assert made.status_code == 201, made.text
    place = f"{server.url}/v1/threads/{made.json()['id']}/messages"
    asked = await client.post(place, json={"content": content, "stream": False})
    assert asked.status_code == 201, asked.text
    return Conversation(server, client, asked.json())


def has(characters: int) -> Callable[[Watcher], bool]:
    return lambda watcher: len(watcher.text) > characters


async def killed_in_mid_answer(server: Served, talks: list[Conversation], client: httpx.AsyncClient) -> list[str]:
    """What each viewer had when the server was killed; it is running again."""
    await asyncio.gather(*(talk.watcher.read(client, until=has(5 + 25 * at)) for at, talk in enumerate(talks)))
    await server.kill()
    seen = [talk.watcher.text for talk in talks]
    await server.start()
    return seen


def config(tmp_path: Path, upstream: Upstream, *, goes_on: bool) -> tuple[str, str]:
    path = tmp_path / "headwater.toml"
    path.write_text(f"""
[providers.vllm]
base_url = "{upstream.openai_url}"

[routes.kept]
continue_answers = {str(goes_on).lower()}
[[routes.kept.targets]]
provider = "vllm"
""")
    return "--config", str(path)


async def nothing_is_at_work(server: Served, client: httpx.AsyncClient) -> None:
    threads = (await client.get(f"{server.url}/v1/threads")).json()["data"]
    assert len(threads) == THREADS
    assert [thread["live"] for thread in threads] == [[]] * THREADS


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_killed_servers_conversations(tmp_path: Path, goes_on: bool) -> None:
    """LibreChat PR #15532: a crash leaves "streaming" for ever; here it ends, or the answer goes on."""
    async with Upstream() as upstream:
        flags = (*config(tmp_path, upstream, goes_on=goes_on), "--titles", "words")
        async with Served(tmp_path, flags=flags, measured=False) as server, viewers_client() as client:
            # The first time the model hangs near the end: none is whole before the kill, however slow the machine.
            hanging = {"tokens": 200, "delay_ms": 5, "fault": "hang_mid", "fault_after": 190, "fault_times": 1}
            scripts = [Script(**hanging, seed=seed, key=f"talk {seed}") for seed in range(THREADS)]
            talks = [
                await begin(server, client, prompt(**hanging, seed=seed, key=f"talk {seed}"), "kept")
                for seed in range(THREADS)
            ]
            seen = await killed_in_mid_answer(server, talks, client)
            await asyncio.gather(*(talk.watcher.read_to_end(client) for talk in talks))
            for talk, before, script in zip(talks, seen, scripts, strict=True):
                [question, answer] = await talk.messages()
                assert question["status"] == "done"
                assert talk.watcher.resets == 0
                assert answer["content"] == talk.watcher.text
                assert answer["content"].startswith(before)
                assert script.answer().startswith(answer["content"])
                if goes_on:
                    assert (answer["status"], answer["content"]) == ("done", script.answer())
                else:
                    assert (answer["status"], answer["error"]["reason"]) == ("failed", "interrupted")
            await nothing_is_at_work(server, client)
        await upstream.until(lambda: upstream.active == 0)
