"""Answers of a real HTTP server, recorded as the command does it, and played again."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headwater.config import load_settings
from headwater.errors import ConfigError, ProviderError
from headwater.events import Done, Event, Reasoning, Text, ToolCall, text_of
from headwater.providers.recordings import Recording, encode_recording, parse_recording
from headwater.providers.replay import Replay
from headwater.request import ChatRequest
from headwater.terminal import record as command
from headwater.terminal.display import Display, consoles
from headwater.terminal.exits import FAILED, FINE, INTERRUPTED, MISUSED
from headwater.terminal.record import Options, record
from tests.conformance.providers.kit import KeepingWriter
from tests.upstream import Script, Upstream, prompt

KEY = "sk-not-to-be-recorded-1"


@pytest.fixture(autouse=True)
async def upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Upstream]:
    async with Upstream() as fake:
        for name in ("LLM_PROVIDER", "OLLAMA_API_KEY", "HEADWATER_CONFIG"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("OPENAI_BASE_URL", fake.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OLLAMA_HOST", fake.url)
        yield fake


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "talk.jsonl"


async def run(question: str, out: Path, model: str = "openai/fake-1", **options: Any) -> int:
    """In a thread of its own, because the command has its own event loop."""
    async with asyncio.timeout(30):
        return await asyncio.to_thread(record, model, question, Options(out, **options))


def read(out: Path) -> Recording:
    content = out.read_bytes()
    recording = parse_recording(content, name=out.stem)
    assert encode_recording(recording) == content
    assert KEY.encode() not in content
    return recording


async def played(out: Path) -> list[Event]:
    writer = KeepingWriter()
    name = f"replay/{out.stem}"
    await Replay(out.parent, pace=0).producer(ChatRequest(name, []), name).run(writer)
    return writer.events


async def test_an_answer_is_shown_and_kept(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(prompt(tokens=9, reasoning="hm"), out, note="nine words") == FINE
    shown = capsys.readouterr()
    assert shown.out == Script(tokens=9).answer()
    assert str(out) in shown.err
    header = read(out).header
    assert (header.protocol, header.model, header.note, header.cut) == ("openai_chat", "fake-1", "nine words", False)
    assert len(header.recorded_at) == len("2026-01-01")
    assert header.request is None
    events = await played(out)
    assert text_of(events) == Script(tokens=9).answer()
    assert "".join(event.text for event in events if isinstance(event, Reasoning)) == "hm"
    assert events[-1] == Done("stop")


async def test_any_provider_that_serve_has(out: Path) -> None:
    assert await run(prompt(tokens=4), out, model="ollama/fake-1") == FINE
    assert read(out).header.protocol == "ollama"
    assert text_of(await played(out)) == Script(tokens=4).answer()


async def test_a_route_is_recorded_at_its_first_target(out: Path, tmp_path: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text('[routes.house]\ntargets = [{ provider = "openai", model = "fake-mini" }]\n')
    assert await run(prompt(tokens=2), out, model="house", config=str(config)) == FINE
    assert read(out).header.model == "fake-mini"


async def test_an_answer_that_fails_is_a_recording_as_well(
    out: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert await run(prompt(fault="status:429+retry_after:7"), out) == FAILED
    shown = capsys.readouterr()
    assert "HTTP status 429" in shown.err
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 2  # the failure, and what was recorded
    assert not [entry for entry in caplog.records if entry.name.startswith("headwater.streams")]
    assert logging.getLogger("headwater.streams").level == logging.NOTSET
    assert read(out).header.status == 429
    with pytest.raises(ProviderError) as caught:
        await played(out)
    assert (caught.value.http_status, caught.value.retry_after_s) == (429, 7.0)


async def test_it_asks_once(out: Path, upstream: Upstream) -> None:
    """A recording of an error is not to be paid for three times."""
    assert await run(prompt(fault="status:503", key="k"), out) == FAILED
    assert upstream.attempts_for("k") == 1


async def test_a_connection_that_breaks_is_cut_when_it_plays(out: Path) -> None:
    assert await run(prompt(tokens=8, fault="cut_mid_frame", fault_after=3), out) == FAILED
    assert read(out).header.cut
    with pytest.raises(ProviderError):
        await played(out)


async def test_nothing_is_written_where_nothing_came(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(prompt(fault="refuse"), out) == FAILED
    assert "nothing was recorded" in capsys.readouterr().err
    assert not out.exists()


async def test_a_request_from_a_file(out: Path, tmp_path: Path, upstream: Upstream) -> None:
    calls = [{"name": "clock", "arguments": {}}]
    body = {
        "model": "of-the-file",
        "messages": [{"role": "system", "content": "Be brief."}],
        "temperature": 0.5,
        "stream": False,
        "stream_options": {"include_usage": False},
    }
    request = tmp_path / "body.json"
    request.write_text(json.dumps(body))
    assert await run(prompt(tool_calls=calls), out, request=request, keep_request=True) == FINE
    kept = read(out).header.request
    assert kept is not None
    assert (kept["model"], kept["temperature"], kept["stream"]) == ("fake-1", 0.5, True)
    assert [message["role"] for message in upstream.requests[-1].body["messages"]] == ["system", "user"]
    assert any(isinstance(event, ToolCall) and event.name == "clock" for event in await played(out))
    out.unlink()
    assert await run("", out, request=request) == FINE
    assert len(upstream.requests[-1].body["messages"]) == 1


async def test_the_question_from_a_pipe(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(prompt(tokens=3) + "\n"))
    assert await run("", out) == FINE
    assert capsys.readouterr().out == Script(tokens=3).answer()
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    assert await run("", out, force=True) == MISUSED
    assert "nothing to ask" in capsys.readouterr().err


async def test_a_file_is_replaced_only_when_that_is_said(out: Path, upstream: Upstream) -> None:
    out.write_text("precious")
    with pytest.raises(ConfigError, match="exists"):
        await run(prompt(tokens=2), out)
    assert (out.read_text(), upstream.attempts) == ("precious", 0)
    assert await run(prompt(tokens=2), out, force=True) == FINE
    assert read(out).reads


async def test_a_file_that_came_about_meanwhile_stays(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_check_place", lambda options: options.out.write_text("precious"))
    with pytest.raises(ConfigError, match="cannot write"):
        await run(prompt(tokens=2), out)
    assert out.read_text() == "precious"


@pytest.mark.parametrize(
    ("content", "why"), [("{", "not a request"), ("[]", "not a request"), ('{"messages": 1}', "must be an array")]
)
async def test_requests_that_are_none(out: Path, tmp_path: Path, content: str, why: str) -> None:
    request = tmp_path / "body.json"
    request.write_text(content)
    with pytest.raises(ConfigError, match=why):
        await run("hi", out, request=request)


async def test_the_directory_is_made(tmp_path: Path) -> None:
    out = tmp_path / "new" / "recordings" / "talk.jsonl"
    assert await run(prompt(tokens=2), out) == FINE
    assert read(out).reads


async def test_places_that_are_none(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot make the directory .*file"):
        await run("hi", tmp_path / "file" / "talk.jsonl")
    with pytest.raises(ConfigError, match=r"could not be served.* use --out .*new/noext\.jsonl"):
        await run("hi", tmp_path / "new" / "noext")
    assert (upstream.attempts, (tmp_path / "new").exists()) == (0, False)
    with pytest.raises(ConfigError, match="cannot read"):
        await run("hi", tmp_path / "talk.jsonl", request=tmp_path / "none.json")


async def test_a_recording_is_not_recorded_again(out: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to record"):
        await run("hi", out, model="replay/welcome")


async def test_an_interruption_keeps_what_came(upstream: Upstream) -> None:
    """The upstream is let go of at once, and the file says that it was cut."""
    request = ChatRequest("openai/fake-1", [{"role": "user", "content": prompt(tokens=5, fault="hang_mid")}])
    display = Display(*consoles())
    shown = asyncio.Event()

    class Watched:
        def show(self, event: Event) -> None:
            if isinstance(event, Text):
                shown.set()

        def end_line(self) -> None:
            display.end_line()

    recording = asyncio.create_task(command._record(load_settings(), request, Options(Path("unused")), Watched()))  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        await shown.wait()
        recording.cancel()
        end, kept = await recording
    assert end == Done("cancelled")
    assert kept is not None
    assert (kept.header.cut, kept.header.status) == (True, 200)
    assert kept.reads
    assert command._exit_code(end) == INTERRUPTED
    await upstream.until(lambda: upstream.active == 0)


async def test_an_interruption_before_any_answer(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_record", interrupted)
    assert await run("hi", out) == INTERRUPTED
    assert not out.exists()
