"""Every fault of an upstream and every kind of bad input, through the whole stack: a typed end, and nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from headwater.telemetry.history import FILE_NAME
from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Upstream, closed_url, prompt
from tests.upstream.script import Script

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

# Short, so that a hanging upstream is noticed within the test; each is far above what a healthy one needs here.
FLAGS = (
    *("--first-token-timeout-s", "2", "--idle-timeout-s", "2", "--max-body-bytes", str(8 * 2**20)),
    *("--breaker-failures", "0"),  # or one case would spare the next one its attempts
)


# fault → (reason in the log, HTTP status before the head, upstream attempts, whether text comes before it)
FAULTS = {
    "refuse": ("provider_unreachable", 502, 3, False),
    "cut_before_headers": ("provider_unreachable", 502, 3, False),
    "status:401": ("provider_rejected", 401, 1, False),
    "status:400": ("provider_rejected", 400, 1, False),
    "status:429+retry_after:60": ("provider_rejected", 429, 1, False),
    "status:500": ("provider_rejected", 500, 3, False),
    "html": ("provider_rejected", 502, 3, False),
    "html_200": ("provider_protocol_error", 502, 3, False),
    "garbage_http": ("provider_protocol_error", 502, 3, False),
    "oversize_head": ("provider_protocol_error", 502, 3, False),
    "error_200": ("provider_rejected", None, None, False),
    "hang_before_headers": ("provider_timeout", 504, 1, False),
    "hang_mid": ("provider_timeout", None, 1, True),
    "cut_mid_frame": ("provider_truncated", None, 1, True),
    "cut_clean": ("provider_truncated", None, 1, True),
    "rst_mid": ("provider_truncated", None, 1, True),
    "content_length_short": ("provider_truncated", None, 1, True),
    "garbage": ("provider_protocol_error", None, 1, True),
    "not_a_chunk": ("provider_protocol_error", None, 1, True),
    "error_mid": ("provider_rejected", None, 1, True),
    "error_event": ("provider_rejected", None, 1, True),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_upstream_gives_a_typed_end(
    upstream: Upstream, served: Served, client: httpx.AsyncClient, fault: str
) -> None:
    """portkey #1797, bifrost #5546: never a clean end; bifrost #7035: attempts are bounded."""
    reason, _, attempts, text_first = FAULTS[fault]
    key = f"native-{fault}"
    # An attempt on a kept connection that dies without a byte is sent once more: here each shall count once.
    await upstream.close_idle()
    stream = await begin(client, served.url, prompt(tokens=30, seed=5, fault=fault, key=key))
    watcher = Watcher(served.url, stream)
    await watcher.read_to_end(client)
    assert watcher.terminal is not None
    assert watcher.terminal.event == "error"
    assert watcher.terminal.data["reason"] == reason
    assert bool(watcher.text) == text_first
    assert Script(tokens=30, seed=5).answer().startswith(watcher.text)
    if attempts is not None:
        assert upstream.attempts_for(key) == attempts
    info = (await client.get(f"{served.url}/v1/streams/{stream}")).json()
    assert (info["status"], info["error"]["reason"]) == ("failed", reason)
    assert info["usage"]["source"] == "estimated"
    assert info["finished_at"]
    await upstream.until(lambda: upstream.active == 0)


@pytest.mark.parametrize("fault", [f for f, (_, status, _, _) in FAULTS.items() if status is not None])
async def test_a_fault_before_the_head_keeps_its_status(served: Served, client: httpx.AsyncClient, fault: str) -> None:
    """bifrost #5395, #2917: a lifecycle event never turns the provider's status into a 200."""
    reason, status, _, _ = FAULTS[fault]
    for stream in (True, False):
        answer = await _chat(client, served, prompt(fault=fault), stream=stream)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "code", "param"}
        assert reason in (error["code"], "provider_rejected")
        assert "test-key" not in answer.text
        assert answer.headers["x-stream-id"]


async def _chat(client: httpx.AsyncClient, served: Served, content: str, **fields: Any) -> httpx.Response:
    body = {"model": "scripted", "messages": [{"role": "user", "content": content}], **fields}
    return await client.post(f"{served.url}/v1/chat/completions", json=body)


async def test_nobody_listens(client: httpx.AsyncClient, tmp_path: Any) -> None:
    async with Served(tmp_path, openai_url=f"{closed_url()}/v1") as served:
        answer = await _chat(client, served, "hello", stream=True)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_unreachable")


async def test_a_viewer_that_vanishes_before_the_first_token_frees_the_model(
    upstream: Upstream, served: Served, client: httpx.AsyncClient
) -> None:
    """litellm #30244, PR #31499: the upstream is left when nobody is there any more."""
    for stream in (True, False):
        aborted = upstream.aborted
        content = prompt(fault="hang_before_headers")
        body = {"model": "scripted", "messages": [{"role": "user", "content": content}], "stream": stream}
        request = asyncio.create_task(
            client.post(f"{served.url}/v1/chat/completions", json=body, headers={"X-Linger-S": "0"})
        )
        await upstream.until(lambda: upstream.active == 1)
        request.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await request
        await upstream.until(lambda before=aborted: upstream.aborted == before + 1 and upstream.active == 0)


async def test_cancel_stops_the_upstream(upstream: Upstream, served: Served, client: httpx.AsyncClient) -> None:
    """open-webui #1567, vercel/ai #6502: stop is a request of its own, and it stops the model."""
    stream = await begin(client, served.url, prompt(tokens=500, delay_ms=20))
    watcher = Watcher(served.url, stream)
    await watcher.read(client, until=lambda w: len(w.text) > 20)
    aborted = upstream.aborted
    answer = await client.post(f"{served.url}/v1/streams/{stream}/cancel")
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["usage"]["completion_tokens"] > 0
    await upstream.until(lambda: upstream.aborted == aborted + 1)
    await watcher.read_to_end(client)
    assert watcher.terminal is not None
    assert watcher.terminal.data["reason"] == "cancelled"


async def test_a_disconnect_is_no_cancel(upstream: Upstream, served: Served, client: httpx.AsyncClient) -> None:
    script = {"tokens": 60, "delay_ms": 5, "seed": 8}
    stream = await begin(client, served.url, prompt(**script))
    watcher = Watcher(served.url, stream)
    await watcher.read(client, until=lambda w: bool(w.text))
    await watcher.read_to_end(client)
    assert watcher.text == Script(**script).answer()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_request"),
        (b"[]", 400, "invalid_request"),
        (b'"text"', 400, "invalid_request"),
        (b"\xff\xfe", 400, "invalid_request"),
        (b'{"model":"m"}', 400, "invalid_request"),
        (b'{"model":"m","messages":[]}', 400, "invalid_request"),
        (b'{"model":"m","messages":"hello"}', 400, "invalid_request"),
        (b'{"model":7,"messages":[{"role":"user","content":"x"}]}', 400, "invalid_request"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"n":0}', 400, "invalid_request"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":"hot"}', 400, "invalid_request"),
        (b"[" * 100_000, 400, "invalid_request"),
        (b" " * 10_000_000, 413, "body_too_large"),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else None,
)
async def test_bad_bodies(served: Served, client: httpx.AsyncClient, body: bytes, status: int, code: str) -> None:
    for path in ("/v1/chat/completions", "/v1/streams"):
        answer = await client.post(f"{served.url}{path}", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] == code


async def test_unknown_names(served: Served, client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{served.url}/v1/streams/nope")).status_code == 404
    assert (await client.get(f"{served.url}/v1/nowhere")).json()["error"]["type"]
    assert (await client.put(f"{served.url}/v1/models")).status_code == 405
    missing = await client.post(
        f"{served.url}/v1/chat/completions",
        json={"model": "missing-model", "messages": [{"role": "user", "content": "x"}]},
    )
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_after_all_that_nothing_is_left(upstream: Upstream, served: Served, client: httpx.AsyncClient) -> None:
    """P10, litellm #27955, #12685: sockets and memory return to the baseline after a thousand mixed streams."""
    assert served.process is not None
    process = psutil.Process(served.process.pid)
    await _mixed(served, upstream, 200)
    memory = process.memory_info().rss
    before = await _own_descriptors(process, upstream)
    await _mixed(served, upstream, 1000)
    assert await _own_descriptors(process, upstream, at_most=before + 2) <= before + 2
    # A thousand leaked streams of this size would be well above 30 MB.
    assert process.memory_info().rss - memory < 25 * 2**20
    assert process.num_threads() < 20 + (os.cpu_count() or 1)


async def _own_descriptors(process: psutil.Process, upstream: Upstream, *, at_most: int = 0) -> int:
    """Descriptors besides the upstream connections that are kept for reuse, once viewers' sockets are closed.

    Nor do those of the history count: it is opened when the first minute is over, which is at any time of this test.
    """
    lowest = process.num_fds()
    for _ in range(200):
        history = sum(Path(file.path).name.startswith(FILE_NAME) for file in process.open_files())
        lowest = min(lowest, process.num_fds() - history - upstream.open_connections)
        if lowest <= at_most:
            break
        await asyncio.sleep(0.05)
    return lowest


async def _mixed(served: Served, upstream: Upstream, count: int) -> None:
    """Finishes, faults, cancels, cuts and abandoned streams, fifty at a time."""
    gate = asyncio.Semaphore(50)
    async with viewers_client() as client:

        async def one(number: int) -> None:
            async with gate:
                await _one_mixed(served, client, number)

        await asyncio.gather(*(one(number) for number in range(count)))
    await upstream.until(lambda: upstream.active == 0, timeout_s=30.0)


async def _one_mixed(served: Served, client: httpx.AsyncClient, number: int) -> None:
    kind = number % 5
    if kind == 0:
        answer = await _chat(client, served, prompt(tokens=8, seed=number), stream=True)
        # 504: fifty at once on a machine that is busy with other things may wait for more than this server's 2 s.
        assert answer.status_code in (200, 504)
        return
    if kind == 1:
        await _chat(client, served, prompt(tokens=8, fault="cut_mid_frame"), stream=bool(number % 2))
        return
    stream = await begin(client, served.url, prompt(tokens=40, delay_ms=4, seed=number), linger_s=0.2)
    watcher = Watcher(served.url, stream)
    if kind == 2:
        await watcher.read(client, until=lambda w: bool(w.text))
        await client.post(f"{served.url}/v1/streams/{stream}/cancel")
    elif kind == 3:
        await watcher.read(client, until=lambda w: bool(w.text))
    else:
        await watcher.read_to_end(client)
