"""After a crash: every stream continues, starts again or ends, and a crash loop ends too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headwater.errors import LogCorrupt, LogUnavailable, SeqConflict
from headwater.events import Done, Error, Start, Status, StreamId, Text, Usage, encode_segment
from headwater.logs.memory import MemoryLog
from headwater.streams import Append, Ended, Fold, Producer, Recover, RecoveryReport, StreamRecord, StreamSettings
from headwater.streams import recovery as recovery_module
from headwater.streams.recovery import Recovery, boot_id, settle_epoch, unfinished

from .kit import FAST, FaultyLog, Script, Words, World, eventually, fill, store


class Restart(World):
    def recovery(self, recover: Recover | None = None) -> Recovery:
        return Recovery(self.log, self.generations, recover, self.settings)

    async def ended(self, stream: str) -> Done | Error:
        await eventually(lambda: stream not in self.generations._live)
        end = self.log.committed(stream)[-1]
        assert isinstance(end, Done | Error)
        return end


@pytest.fixture
async def restart() -> AsyncIterator[Restart]:
    async with Restart(settings=FAST) as restart:
        yield restart


def _always(producer: Producer) -> Recover:
    return lambda record, state: producer


async def test_an_empty_log_needs_nothing(restart: Restart) -> None:
    assert await restart.recovery().take_up("b") == RecoveryReport()


async def test_what_nobody_can_take_up_is_interrupted_and_keeps_its_text(restart: Restart) -> None:
    """A crash leaves "streaming" for ever (LibreChat PR #15532; cloudflare/agents #1485)."""
    await fill(restart.log, "s", [Text("part")])
    assert await restart.recovery().take_up("b") == RecoveryReport(interrupted=1)
    end = await restart.ended("s")
    assert isinstance(end, Error)
    assert (end.reason, end.status, end.retryable) == ("interrupted", 503, True)
    assert restart.log.committed("s")[1:] == [Text("part"), Usage(0, 1, "estimated"), end]
    record = await restart.log.get(StreamId("s"))
    assert record is not None
    assert record.ended is not None
    assert record.ended.status == "failed"


async def test_what_is_visible_is_continued(restart: Restart) -> None:
    await fill(restart.log, "s", [Text("so ")])
    seen: list[tuple[StreamRecord, bool]] = []

    def recover(record: StreamRecord, state: Fold) -> Producer:
        seen.append((record, state.has_content))
        return Words(["far"])

    assert await restart.recovery(recover).take_up("b") == RecoveryReport(continued=1)
    assert await restart.ended("s") == Done("stop")
    assert restart.log.committed("s")[1:4] == [Text("so "), Status("recovering", attempt=1), Text("far")]
    assert [(record.id, content) for record, content in seen] == [("s", True)]


async def test_what_was_not_visible_starts_again(restart: Restart) -> None:
    await fill(restart.log, "s", [Status("queued", position=3)])
    assert await restart.recovery(_always(Words(["all"]))).take_up("b") == RecoveryReport(restarted=1)
    assert await restart.ended("s") == Done("stop")
    assert [type(event) for event in restart.log.committed("s")] == [Start, Status, Status, Text, Usage, Done]


async def test_ended_streams_are_left_alone(restart: Restart) -> None:
    await fill(restart.log, "s", [Usage(1, 1), Done("stop")], ended=Ended("done", 0, Usage(1, 1), "stop"))
    assert await restart.recovery().take_up("b") == RecoveryReport()
    assert len(restart.log.groups) == 1


async def test_a_crash_loop_ends(restart: Restart) -> None:
    """One abandoned request makes ten upstream attempts in 20 minutes (bifrost #7035)."""
    await fill(restart.log, "s", [Status("recovering", attempt=n) for n in (1, 2, 3)])
    assert await restart.recovery(_always(Script())).take_up("b") == RecoveryReport(interrupted=1)
    assert (await restart.ended("s")).reason == "interrupted"


async def test_attempts_are_numbered(restart: Restart) -> None:
    await fill(restart.log, "s", [Status("recovering", attempt=1)])
    await restart.recovery(_always(Words([]))).take_up("b")
    await restart.ended("s")
    assert Status("recovering", attempt=2) in restart.log.committed("s")


async def test_a_provider_that_declines_leaves_an_interruption(restart: Restart) -> None:
    await fill(restart.log, "s", [])
    assert await restart.recovery(lambda record, state: None).take_up("b") == RecoveryReport(interrupted=1)


async def test_a_request_nobody_understands_any_more_does_not_stop_the_start(
    restart: Restart, caplog: pytest.LogCaptureFixture
) -> None:
    """A model taken out of the configuration must not make the server unable to start."""

    def recover(record: StreamRecord, state: Fold) -> Producer:
        if record.id == "s1":
            raise LogCorrupt("a stored request does not decode")
        return Words(["fine"])

    await fill(restart.log, "s1", [])
    await fill(restart.log, "s2", [])
    assert await restart.recovery(recover).take_up("b") == RecoveryReport(restarted=1, interrupted=1)
    assert (await restart.ended("s1")).reason == "interrupted"
    assert await restart.ended("s2") == Done("stop")
    assert "cannot be taken up" in caplog.text


async def test_what_finds_no_room_is_interrupted() -> None:
    async with Restart(settings=StreamSettings(max_streams=1, max_queued=1)) as restart:
        for name in ("s1", "s2", "s3"):
            await fill(restart.log, name, [])
        scripts: list[Script] = []

        def recover(record: StreamRecord, state: Fold) -> Producer:
            scripts.append(Script())
            return scripts[-1]

        report = await restart.recovery(recover).take_up("b")
        assert report == RecoveryReport(restarted=2, interrupted=1)
        assert (await restart.ended("s1")).reason == "interrupted"


async def test_a_damaged_stream_ends_and_hurts_no_other(restart: Restart, caplog: pytest.LogCaptureFixture) -> None:
    record = await fill(restart.log, "bad", [])
    await restart.log.commit([Append(record.id, 1, 1, b'1[{"type":"nonsense"}]')])
    await fill(restart.log, "good", [Text("a")])
    report = await restart.recovery(_always(Words(["b"]))).take_up("b")
    assert report == RecoveryReport(continued=1, interrupted=1)
    assert await restart.ended("good") == Done("stop")
    await eventually(lambda: "bad" not in restart.generations._live)
    held = await restart.log.get(record.id)
    assert held is not None
    assert held.ended is not None
    assert held.ended.error is not None
    assert held.ended.error.reason == "interrupted"
    assert "is damaged" in caplog.text


async def test_more_streams_than_a_page(restart: Restart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "PAGE", 3)
    for number in range(10):
        await fill(restart.log, f"s{number}", [Text("a")])
    assert await restart.recovery().take_up("b") == RecoveryReport(interrupted=10)
    await eventually(lambda: len(restart.generations) == 0)
    assert [record.id async for record in unfinished(restart.log)] == []


async def test_pages_are_complete_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "PAGE", 2)
    log = FaultyLog()
    for number in range(4):
        await fill(log, f"s{number}", [])
    assert [record.id async for record in unfinished(log)] == ["s3", "s2", "s1", "s0"]


async def test_a_log_that_cannot_be_read_at_start_is_the_callers() -> None:
    async with Restart() as restart:
        await fill(restart.log, "s", [Text("a")])
        restart.log.read_error = LogUnavailable("I/O error")
        with pytest.raises(LogUnavailable):
            await restart.recovery().take_up("b")


# ------------------------------------------------------------------ epochs


@pytest.mark.parametrize(
    ("then", "now", "epoch"), [("b1", "b2", 2), ("b1", "b1", 1), ("", "b2", 1), ("b1", "", 1), ("", "", 1)]
)
@pytest.mark.parametrize("damaged", [False, True])
async def test_another_boot_is_another_epoch(then: str, now: str, epoch: int, damaged: bool) -> None:
    """A power loss may have taken events that viewers saw: their cursors must not match what comes now."""
    async with Restart() as restart:
        record = StreamRecord(StreamId("s"), 0, boot=then)
        await store(restart.log, record, [Start("s", "", 0)])
        if damaged:
            await restart.log.commit([Append(record.id, 1, 1, b"1[5]")])
        await restart.recovery().take_up(now)
        await eventually(lambda: len(restart.generations) == 0)
        held = await restart.log.get(record.id)
        assert held is not None
        assert held.epoch == epoch
        assert held.ended is not None


async def test_a_log_without_epochs_keeps_its_own() -> None:
    class Plain:
        pass

    record = StreamRecord(StreamId("s"), 0, boot="b1")
    assert await settle_epoch(Plain(), record, "b2") is record  # type: ignore[arg-type]


def test_the_boot_is_known_or_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(self: Path) -> str:
        raise FileNotFoundError(self)

    assert boot_id() == boot_id()
    monkeypatch.setattr(Path, "read_text", no_file)
    assert boot_id() == ""


# ------------------------------------------------------------------ settling


async def lost_stream(restart: Restart, script: Script | None = None) -> str:
    """A stream whose end the log would not take."""
    script = script or Script()
    generation = await restart.create(script)
    script.say("part")
    await eventually(lambda: generation.channel.next_seq == 2)
    restart.log.always = LogUnavailable("disk full")
    script.say("lost")
    with pytest.raises(LogUnavailable):
        await generation.channel.wait_end()
    return generation.channel.id


async def test_what_the_log_lost_gets_its_end_when_it_works_again(restart: Restart) -> None:
    """P3: also where the disk was full when the end came."""
    stream = await lost_stream(restart)
    await restart.recovery().settle()
    assert list(restart.generations.unsettled) == [stream]
    assert restart.log.committed(stream)[-1] == Text("part")
    restart.log.always = None
    await restart.recovery().settle()
    end = restart.log.committed(stream)[-1]
    assert isinstance(end, Error)
    assert (end.reason, end.message) == ("log_unavailable", "disk full")
    assert restart.generations.unsettled == {}
    assert len(restart.generations) == 0
    await restart.recovery().settle()


async def test_a_log_that_cannot_be_read_is_asked_again_later(restart: Restart) -> None:
    stream = await lost_stream(restart)
    restart.log.read_error = LogUnavailable("I/O error")
    await restart.recovery().settle()
    assert list(restart.generations.unsettled) == [stream]


async def test_what_ended_elsewhere_or_was_deleted_is_forgotten(restart: Restart) -> None:
    one = await lost_stream(restart)
    restart.log.always = None
    two = await lost_stream(restart)
    restart.log.always = None
    await restart.log.delete([StreamId(one)])
    ended = Ended("done", 0, Usage(1, 1), "stop")
    segment = encode_segment([Usage(1, 1), Done("stop")])
    assert await restart.log.commit([Append(StreamId(two), 2, 2, segment, None, ended)]) == [None]
    await restart.recovery().settle()
    assert restart.generations.unsettled == {}


async def test_a_damaged_stream_holds_up_no_other(restart: Restart, caplog: pytest.LogCaptureFixture) -> None:
    bad = await lost_stream(restart)
    restart.log.always = None
    await restart.log.commit([Append(StreamId(bad), 2, 1, b"1[5]")])
    good = await lost_stream(restart)
    restart.log.always = None
    await restart.recovery().settle()
    assert restart.generations.unsettled == {}
    for stream in (bad, good):
        record = await restart.log.get(StreamId(stream))
        assert record is not None
        assert record.ended is not None
    assert f"stream {bad} is damaged" in caplog.text


class NoRecord(FaultyLog):
    unreadable = ""

    async def get(self, stream: StreamId) -> StreamRecord | None:
        if stream == self.unreadable:
            raise LogCorrupt("a record does not decode")
        return await super().get(stream)


async def test_a_record_that_is_gone_bad_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    log = NoRecord()
    async with Restart(log, FAST) as restart:
        bad = await lost_stream(restart)
        log.always = None
        good = await lost_stream(restart)
        log.always = None
        log.unreadable = bad
        await restart.recovery().settle()
        assert restart.generations.unsettled == {}
        assert isinstance(log.committed(good)[-1], Error)
        assert "cannot be given its end" in caplog.text


async def test_settling_that_meets_a_conflict_lets_go(restart: Restart) -> None:
    stream = await lost_stream(restart)
    restart.log.always = None
    restart.log.gate = asyncio.Event()
    settling = asyncio.create_task(restart.recovery().settle())
    await eventually(lambda: restart.generations.get(stream))
    await MemoryLog.commit(restart.log, [Append(StreamId(stream), 2, 1, encode_segment([Text("foreign")]))])
    restart.log.gate.set()
    await settling
    assert restart.generations.unsettled == {}
    assert restart.log.committed(stream)[-1] == Text("foreign")
    assert SeqConflict(2, 3).retryable is False
