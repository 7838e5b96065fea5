"""The log of a real server: JSON lines with the ids of request and stream, without secrets and without content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Upstream, prompt

pytestmark = pytest.mark.timeout(120)

FLAGS = ("--log-format", "json", "--access-log", "--grace-s", "0", "--breaker-failures", "1")


def lines(served: Served) -> list[dict[str, Any]]:
    """Without the banner's."""
    return [json.loads(line) for line in served.output.read_text().splitlines() if line.startswith("{")]


async def test_a_stream_can_be_followed_through_the_log(tmp_path: Path) -> None:
    keys = {"HEADWATER_API_KEYS": "a-callers-own-key"}
    async with (
        Upstream() as upstream,
        Served(tmp_path, openai_url=upstream.openai_url, flags=FLAGS, environment=keys) as served,
        viewers_client() as client,
    ):
        client.headers["x-api-key"] = "a-callers-own-key"
        client.headers["x-request-id"] = "req-1"
        stream = await begin(client, served.url, prompt(tokens=4), model="openai/fake-1")
        watcher = Watcher(served.url, stream)
        await watcher.read_to_end(client)
        client.headers["x-request-id"] = "req-2"
        broken = await begin(
            client, served.url, prompt(tokens=4, fault="rst_mid", fault_after=2), model="openai/fake-1"
        )
        await Watcher(served.url, broken).read_to_end(client)
        await client.get(f"{served.url}/v1/streams", params={"ticket": "not-a-ticket-at-all"})
        assert await served.stop() == 0
        told = lines(served)
        text = served.output.read_text()
    started, watched, *_ = [
        one for one in told if one["logger"] == "headwater.access" and one.get("stream_id") == stream
    ]
    assert (started["request_id"], started["method"], started["status"]) == ("req-1", "POST", 201)
    assert watched["path"] == f"/v1/streams/{stream}/events"
    [ended] = [one for one in told if one["logger"] == "headwater.ended" and one["stream_id"] == stream]
    assert (ended["outcome"], ended["chunks"], ended["level"]) == ("done", 4, "info")
    [failed] = [one for one in told if one["logger"] == "headwater.ended" and one["stream_id"] == broken]
    assert (failed["outcome"], failed["level"]) == ("failed", "warning")
    # A line that was there before any of this: the breaker's, which now says for whom it was written.
    [breaker] = [one for one in told if one["logger"] == "headwater.routing.breaker"]
    assert (breaker["request_id"], breaker["stream_id"]) == ("req-2", broken)
    assert all({"event", "level", "timestamp"} <= one.keys() for one in told)
    for secret in ("a-callers-own-key", "test-key", "not-a-ticket-at-all", watcher.text[:12]):
        assert secret not in text, secret
