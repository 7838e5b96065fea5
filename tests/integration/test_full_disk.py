"""A disk that fills up under the server: typed errors, no stream without an end, and work as before afterwards."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Upstream, prompt

pytestmark = pytest.mark.timeout(120)

# Files of the server may not grow beyond this: SQLite then sees what a full disk gives it (a write that fails).
LIMIT_KIB = 512


def _limited(tmp_path: Path, upstream: Upstream) -> Served:
    served = Served(tmp_path, openai_url=upstream.openai_url)
    command = f"{sys.executable} -m headwater serve --port {served.port} --data-dir {tmp_path / 'data'}"
    return Served(
        tmp_path,
        openai_url=upstream.openai_url,
        command=["bash", "-c", f"ulimit -f {LIMIT_KIB}; exec {command} --log-level error"],
        port=served.port,
    )


async def test_a_full_disk_ends_streams_with_a_typed_error(tmp_path: Path) -> None:
    async with Upstream() as upstream, viewers_client() as client:
        async with _limited(tmp_path, upstream) as served:
            script = {"tokens": 8_000, "batch": 100, "first_delay_ms": 1_500}
            streams = await asyncio.gather(*(begin(client, served.url, prompt(seed=n, **script)) for n in range(4)))
            watchers = [Watcher(served.url, stream) for stream in streams]
            await asyncio.gather(*(watcher.read_to_end(client) for watcher in watchers))
            reasons = {w.terminal.data.get("reason") for w in watchers if w.terminal is not None}
            assert "log_unavailable" in reasons
            # What does not fit is refused before it is accepted; the process itself is fine.
            large = prompt(text="x" * 1024 * (LIMIT_KIB + 100))
            body = {"model": "scripted", "messages": [{"role": "user", "content": large}]}
            refused = await client.post(f"{served.url}/v1/chat/completions", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "log_unavailable")
            assert (await client.get(f"{served.url}/health")).status_code == 200
            await upstream.until(lambda: upstream.active == 0)
        await _after_the_disk_has_room(tmp_path, upstream, watchers)


async def _after_the_disk_has_room(tmp_path: Path, upstream: Upstream, before: list[Watcher]) -> None:
    """Every stream has its end in the log, and what a viewer saw is what the log holds."""
    async with Served(tmp_path, openai_url=upstream.openai_url) as served, viewers_client() as client:
        for saw in before:
            final = Watcher(served.url, saw.stream)
            await final.read_to_end(client)
            assert final.terminal is not None
            assert final.text.startswith(saw.text)
            info = (await client.get(f"{served.url}/v1/streams/{saw.stream}")).json()
            assert info["status"] in ("done", "failed")
        stream = await begin(client, served.url, prompt(tokens=5))
        again = Watcher(served.url, stream)
        await again.read_to_end(client)
        assert again.terminal is not None
        assert again.terminal.event == "done"
