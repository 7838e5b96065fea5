"""`headwater record` as a person runs it, and what it keeps as `headwater serve` plays it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headwater import HeadwaterClient
from headwater.events import text_of
from headwater.providers.recordings import Recording, parse_recording
from tests.upstream import Script, Upstream, prompt

from .processes import START_S, environment, headwater, headwater_server, run

KEY = "sk-not-to-be-recorded-1"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as fake:
        yield fake


def surroundings(upstream: Upstream) -> dict[str, str]:
    return environment(OPENAI_BASE_URL=upstream.openai_url, OPENAI_API_KEY=KEY)


def read(out: Path) -> Recording:
    content = out.read_bytes()
    assert KEY.encode() not in content
    return parse_recording(content, name=out.stem)


async def test_what_was_recorded_is_a_model_of_a_server(upstream: Upstream, tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    command = headwater("record", "fake-1", prompt(tokens=7), "--out", str(recordings / "talk.jsonl"))
    code, out, err = await run(*command, env=surroundings(upstream))
    assert (code, out) == (0, Script(tokens=7).answer())
    assert "talk.jsonl: " in err
    settings = {"HEADWATER_RECORDINGS_DIR": str(recordings), "HEADWATER_REPLAY_PACE": "0"}
    async with headwater_server(tmp_path / "data", **settings) as server, HeadwaterClient(server.url) as client:
        stream = client.stream(messages=[{"role": "user", "content": "again"}], model="replay/talk")
        assert text_of([event async for event in stream]) == out


async def test_ctrl_c_keeps_what_came(upstream: Upstream, tmp_path: Path) -> None:
    """Stop does not stop the model: open-webui #1567."""
    file = tmp_path / "talk.jsonl"
    asked = prompt(text="one two three four", fault="hang_mid", fault_after=2)
    process = await asyncio.create_subprocess_exec(
        *headwater("record", "fake-1", asked, "--out", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=surroundings(upstream),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            assert await process.stdout.readexactly(len("one two")) == b"one two"
            process.send_signal(signal.SIGINT)
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 130
    recording = read(file)
    assert recording.header.cut
    assert b"two" in b"".join(each.data for each in recording.reads)
    await upstream.until(lambda: upstream.active == 0)


async def test_wrong_usage(upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_text("precious")
    for arguments, why in (
        (("fake-1", "hi"), "--out"),
        (("fake-1", "hi", "--out", str(file)), "exists"),
        (("fake-1", "--out", str(tmp_path / "other.jsonl")), "nothing to ask"),
    ):
        code, out, err = await run(*headwater("record", *arguments), env=surroundings(upstream))
        assert (code, out) == (2, "")
        assert why in err
    assert (file.read_text(), upstream.attempts) == ("precious", 0)
