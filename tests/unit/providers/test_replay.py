from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import (
    InputError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTruncated,
    ProviderUnreachable,
    UnknownModel,
)
from headwater.events import CONTENT_TYPES, Done, Metadata, Text, Usage, text_of
from headwater.providers import Replay, SupportsContinuation, replay
from headwater.providers.ports import Held
from headwater.request import ChatRequest
from tests.conformance.providers.kit import KeepingWriter
from tests.unit.providers.kit import DONE, STOP, delta, sse

WELCOME = "replay/welcome"


def asking(**params: Any) -> ChatRequest:
    return ChatRequest(WELCOME, [{"role": "user", "content": "hi"}], params)


def record(directory: Path, name: str, *reads: tuple[float, bytes], **header: Any) -> None:
    lines = [{"version": 1, "protocol": "openai_chat", **header}]
    lines += [{"t_ms": t_ms, "data": data.decode()} for t_ms, data in reads]
    (directory / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines), "utf-8")


async def play(provider: Replay, model: str = WELCOME, writer: KeepingWriter | None = None) -> KeepingWriter:
    writer = writer or KeepingWriter()
    async with asyncio.timeout(10):
        await provider.producer(asking(), model).run(writer)
    return writer


async def test_the_welcome_recording_needs_nothing() -> None:
    writer = await play(Replay(pace=0))
    text = text_of(writer.events)
    assert "Headwater" in text
    assert "Cut the connection" in text
    assert 200 <= len(writer.of(Text)) <= 320
    assert [type(event) for event in writer.events[-2:]] == [Usage, Done]
    assert writer.connections == 1


async def test_the_welcome_recording_has_the_pace_of_a_model() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    await play(Replay(sleep=sleep))
    # No time passes for this sleep, so that each wait counts from the start.
    assert waits[0] == pytest.approx(0.32, abs=0.3)
    assert max(waits) == pytest.approx(6.9, abs=1.0)


async def test_pace() -> None:
    async def longest_wait(provider: Replay, **params: Any) -> float:
        waits.clear()
        await provider.producer(asking(**params), WELCOME).run(KeepingWriter())
        return max(waits)

    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    original = await longest_wait(Replay(sleep=sleep))
    assert await longest_wait(Replay(sleep=sleep, pace=2)) == pytest.approx(original / 2, rel=0.1)
    assert await longest_wait(Replay(sleep=sleep), pace=4) == pytest.approx(original / 4, rel=0.1)
    assert await longest_wait(Replay(sleep=sleep), pace=0) == 0


@pytest.mark.parametrize("pace", [-1, "fast", True, 1e9, [1]])
async def test_a_pace_that_is_none(pace: object) -> None:
    with pytest.raises(InputError) as caught:
        Replay().producer(asking(pace=pace), WELCOME)
    assert caught.value.param == "pace"


@pytest.mark.parametrize("held", [1, 2, 100, 271])
async def test_after_a_crash_it_goes_on_where_the_log_ends(held: int) -> None:
    whole = (await play(Replay(pace=0))).events
    content = [event for event in whole if type(event) in CONTENT_TYPES]
    before = [*(event for event in whole[:1] if isinstance(event, Metadata)), *content[:held]]
    provider = Replay(pace=0)
    assert isinstance(provider, SupportsContinuation)
    writer = KeepingWriter(held=before)
    await provider.continuation(asking(), "welcome", Held("", {}, interrupted=True)).producer.run(writer)
    assert before + writer.events == whole


async def test_a_continuation_does_not_wait_for_what_was_seen(tmp_path: Path) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    reads = [(1000.0 * n, sse(delta(content=f"{n}"))) for n in range(10)]
    record(tmp_path, "slow", *reads, (10_000, sse(STOP, DONE)))
    writer = KeepingWriter(held=[Text(f"{n}") for n in range(8)])
    await (
        Replay(tmp_path, sleep=sleep)
        .continuation(asking(), "replay/slow", Held("", {}, interrupted=True))
        .producer.run(writer)
    )
    assert text_of(writer.events) == "89"
    assert waits == [pytest.approx(n, abs=0.5) for n in (1, 2, 3)]


async def test_usage_that_is_held_is_not_told_again(tmp_path: Path) -> None:
    record(tmp_path, "u", (0, sse(delta(content="a"), STOP, {"choices": [], "usage": {"prompt_tokens": 1}}, DONE)))
    writer = KeepingWriter(held=[Text("a"), Usage(1, 0)])
    await play(Replay(tmp_path, pace=0), "u", writer)
    assert writer.events == [Done("stop")]


async def test_a_slow_log_is_waited_for(tmp_path: Path) -> None:
    record(tmp_path, "r", *((0, sse(delta(content="a"))) for _ in range(5)), (0, sse(STOP, DONE)))
    writer = KeepingWriter(capacity=2)
    playing = asyncio.create_task(play(Replay(tmp_path, pace=0), "r", writer))
    await writer.until(lambda writer: writer.drains)
    assert len(writer.events) == 2
    writer.release()
    await playing
    assert text_of(writer.events) == "aaaaa"


async def test_the_names_are_the_files(tmp_path: Path) -> None:
    record(tmp_path, "zebra")
    record(tmp_path, "a b")
    (tmp_path / "notes.txt").write_text("no recording")
    assert await Replay(tmp_path).models() == ["replay/a b", "replay/zebra", "replay/welcome"]
    assert await Replay().models() == ["replay/welcome"]


async def test_an_own_welcome_takes_the_place_of_ours(tmp_path: Path) -> None:
    record(tmp_path, "welcome", (0, sse(delta(content="mine"), STOP)))
    assert await Replay(tmp_path).models() == ["replay/welcome"]
    assert text_of((await play(Replay(tmp_path, pace=0))).events) == "mine"


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "/etc/passwd", "a/b", "a\\b", ".hidden", "nope", "x\0y"])
def test_names_do_not_lead_out_of_the_directory(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "recordings"
    inner.mkdir()
    for directory, stem in ((tmp_path, "secret"), (inner, ".hidden")):
        record(directory, stem, (0, sse(STOP)))
    for model in (name, f"replay/{name}"):
        with pytest.raises(UnknownModel):
            Replay(inner).producer(asking(), model)


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    provider = Replay(tmp_path / "nowhere", pace=0)
    with pytest.raises(ProviderUnreachable):
        await provider.models()
    assert (await play(provider)).events[-1] == Done("stop")
    await provider.close()


async def failing(directory: Path, name: str) -> tuple[ProviderError, KeepingWriter]:
    writer = KeepingWriter()
    with pytest.raises(ProviderError) as caught:
        await play(Replay(directory, pace=0), name, writer)
    assert caught.value.provider == "replay"
    return caught.value, writer


async def test_invalid_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.jsonl").write_bytes(b"\xff")
    record(tmp_path, "other", protocol="morse")
    assert isinstance((await failing(tmp_path, "broken"))[0], ProviderProtocolError)
    assert "unknown protocol" in (await failing(tmp_path, "other"))[0].message
    monkeypatch.setattr(replay, "MAX_BYTES", 5)
    assert "larger" in (await failing(tmp_path, "other"))[0].message


async def test_a_recording_that_vanishes(tmp_path: Path) -> None:
    record(tmp_path, "gone", (0, sse(STOP)))
    producer = Replay(tmp_path).producer(asking(), "gone")
    (tmp_path / "gone.jsonl").unlink()
    with pytest.raises(ProviderUnreachable):
        await producer.run(KeepingWriter())


async def test_recorded_faults_are_faults(tmp_path: Path) -> None:
    record(tmp_path, "refused", (0, b'{"error":{"message":"slow down"}}'), status=429, headers={"retry-after": "7"})
    error, writer = await failing(tmp_path, "refused")
    assert isinstance(error, ProviderRejected)
    assert (error.http_status, error.retry_after_s, writer.connections) == (429, 7.0, 0)

    record(tmp_path, "cut", (0, sse(delta(content="a"))), cut=True)
    error, writer = await failing(tmp_path, "cut")
    assert isinstance(error, ProviderTruncated)
    assert writer.events == [Text("a")]

    record(tmp_path, "garbage", (0, sse(delta(content="a"), b"nope")))
    error, writer = await failing(tmp_path, "garbage")
    assert isinstance(error, ProviderProtocolError)
    assert writer.events == [Text("a")]

    record(tmp_path, "short", (0, sse(delta(content="a"))))
    assert isinstance((await failing(tmp_path, "short"))[0], ProviderTruncated)


async def test_other_protocols_and_bytes(tmp_path: Path) -> None:
    body = '{"message":{"content":"h\u00e9"}}\n{"done":true}\n'
    record(tmp_path, "o", (0, body.encode()), protocol="ollama")
    assert text_of((await play(Replay(tmp_path, pace=0), "o")).events) == "h\u00e9"


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_status_that_is_no_answer_is_refused(tmp_path: Path, status: int) -> None:
    record(tmp_path, "r", (0, sse(delta(content="a"), STOP)), status=status)
    error, writer = await failing(tmp_path, "r")
    assert isinstance(error, ProviderRejected)
    assert (writer.events, writer.connections) == ([], 0)


async def test_a_recording_that_broke_off_is_not_gone_on_with() -> None:
    """It would break off there again; only where this side stopped does the rest follow."""
    assert Replay().continuation(asking(), "welcome", Held("so far", {})) is None
