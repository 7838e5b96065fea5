"""Accepting streams: durable when told, refused with a reason, and never twice for one key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headwater.errors import (
    HeadwaterError,
    IdempotencyMismatch,
    LogUnavailable,
    ProviderRejected,
    ProviderUnreachable,
    QueueFull,
    SeqConflict,
    ShuttingDown,
)
from headwater.events import Done, Error, Start, StreamId, Text
from headwater.logs.memory import MemoryLog
from headwater.streams import Accepted, Hub, NewStream, Query, StreamRecord, StreamSettings
from headwater.streams.hub import MAX_KEY_ATTEMPTS

from .kit import FAST, FaultyLog, MemorySink, PlainEncoder, Script, Words, eventually, fill, started, store


@pytest.fixture
def log() -> FaultyLog:
    return FaultyLog()


@pytest.fixture
async def hub(log: FaultyLog) -> AsyncIterator[Hub]:
    hub = await started(log)
    yield hub
    log.always = None
    log.gate = None
    await hub.shutdown(0)


def keyed(key: str = "k", fingerprint: str = "f", owner: str = "") -> NewStream:
    return NewStream(idempotency_key=key, fingerprint=fingerprint, owner=owner)


async def test_an_accepted_stream_is_durable_and_complete_in_its_record(hub: Hub, log: FaultyLog) -> None:
    """A stream exists from acceptance (P9), with everything that a restart needs."""
    new = NewStream(
        model="m",
        provider="p",
        dialect="openai_chat",
        owner="o",
        linger_s=7.0,
        request=b"{}",
        idempotency_key="k",
        fingerprint="f",
    )
    channel, created = await hub.create(new, Script())
    assert created
    record = await log.get(StreamId(channel.id))
    assert record is not None
    facts = (record.model, record.provider, record.dialect, record.owner, record.linger_s, record.request)
    assert facts == ("m", "p", "openai_chat", "o", 7.0, b"{}")
    assert (record.idempotency_key, record.fingerprint, record.epoch) == ("k", "f", 1)
    assert log.committed(channel.id) == [Start(channel.id, "m", record.created_ms, "p")]
    assert hub.live == 1


async def test_a_clock_that_steps_back_makes_no_id_twice() -> None:
    """A reused stream id makes every event "old" (LibreChat PR #13117)."""
    times = iter([5_000, 4_000, 4_000, 3_000])
    hub = await started(clock_ms=lambda: next(times))
    ids = [(await hub.create(NewStream(), Script())).channel.id for _ in range(4)]
    assert len(set(ids)) == 4
    await hub.shutdown(0)


async def test_a_factory_and_a_producer_are_both_fine(hub: Hub) -> None:
    for producer in (Words(["a"]), lambda: Words(["a"])):
        channel, _ = await hub.create(NewStream(), producer)
        assert await channel.wait_end() == Done("stop")


async def test_before_the_start_and_after_the_shutdown_nothing_is_accepted() -> None:
    hub = Hub(MemoryLog())
    with pytest.raises(ShuttingDown):
        await hub.create(NewStream(), Script())
    await hub.start()
    await hub.create(NewStream(), Words([]))
    await hub.shutdown()
    with pytest.raises(ShuttingDown) as caught:
        await hub.create(NewStream(), Script())
    assert caught.value.retry_after_s == hub.settings.grace_s


async def test_a_full_queue_is_told() -> None:
    hub = await started(settings=StreamSettings(max_streams=1, max_queued=1))
    for _ in range(2):
        await hub.create(NewStream(), Script())
    with pytest.raises(QueueFull):
        await hub.create(NewStream(), Script())
    assert hub.live == 2
    await hub.shutdown(0)


async def test_the_priority_of_a_new_stream_reaches_the_queue() -> None:
    hub = await started(settings=StreamSettings(max_streams=1))
    first, low, high = Script(), Script(), Script()
    await hub.create(NewStream(), first)
    await hub.create(NewStream(priority="low"), low)
    await hub.create(NewStream(priority="high"), high)
    await first.started.wait()
    first.finish()
    await high.started.wait()
    assert not low.started.is_set()
    high.finish()
    await low.started.wait()
    await hub.shutdown(0)


async def test_a_log_that_cannot_take_it_is_told(hub: Hub, log: FaultyLog) -> None:
    log.always = LogUnavailable("disk full")
    script = Script()
    with pytest.raises(LogUnavailable, match="disk full"):
        await hub.create(NewStream(), script)
    assert hub.live == 0
    assert script.runs == 0
    assert hub._generations._admission.running == 0


async def test_a_caller_that_leaves_while_the_creation_commits_leaves_an_ended_stream(hub: Hub, log: FaultyLog) -> None:
    """Nobody knows the id of it, so it must not generate (litellm PR #31499)."""
    log.gate = asyncio.Event()
    script = Script()
    creating = asyncio.create_task(hub.create(NewStream(), script))
    await eventually(lambda: hub.live == 1)
    creating.cancel()
    await asyncio.wait((creating,))
    assert creating.cancelled()
    log.gate.set()
    await eventually(lambda: hub.live == 0)
    (record,) = await log.find(Query())
    assert record.ended is not None
    assert record.ended.status == "cancelled"
    assert script.runs == 0


# ------------------------------------------------------------------ idempotency


async def test_the_same_key_is_the_same_stream(hub: Hub) -> None:
    """A key repeated never generates, or bills, twice (P9)."""
    script, other = Script(), Script()
    first = await hub.create(keyed(), script)
    second = await hub.create(keyed(), other)
    assert (first.created, second.created) == (True, False)
    assert second.channel is first.channel
    script.finish()
    await first.channel.wait_end()
    await eventually(lambda: hub.live == 0)
    third = await hub.create(keyed(), other)
    assert (third.created, third.channel.id, third.channel.terminal) == (False, first.channel.id, Done("stop"))
    assert other.runs == 0


async def test_a_key_with_another_request_is_refused(hub: Hub) -> None:
    await hub.create(keyed(), Script())
    with pytest.raises(IdempotencyMismatch) as caught:
        await hub.create(keyed(fingerprint="g"), Script())
    assert caught.value.http_status == 422
    assert hub.live == 1


async def test_owners_do_not_share_keys(hub: Hub) -> None:
    first = await hub.create(keyed(owner="a"), Script())
    second = await hub.create(keyed(owner="b", fingerprint="g"), Script())
    assert first.created
    assert second.created
    assert first.channel.id != second.channel.id


async def test_without_a_key_every_call_is_a_stream(hub: Hub) -> None:
    first, second = [await hub.create(NewStream(), Script()) for _ in range(2)]
    assert first.channel.id != second.channel.id


async def test_concurrent_creations_with_one_key_are_one(hub: Hub, log: FaultyLog) -> None:
    log.gate = asyncio.Event()
    scripts = [Script() for _ in range(5)]
    creating = [asyncio.create_task(hub.create(keyed(), script)) for script in scripts]
    other = asyncio.create_task(hub.create(keyed(fingerprint="g"), Script()))
    await eventually(lambda: hub.live == 1)
    log.gate.set()
    accepted = await asyncio.gather(*creating)
    assert [a.created for a in accepted] == [True, False, False, False, False]
    assert len({a.channel.id for a in accepted}) == 1
    with pytest.raises(IdempotencyMismatch):
        await other
    await scripts[0].started.wait()
    assert [script.runs for script in scripts] == [1, 0, 0, 0, 0]
    assert hub._creating == {}


async def test_a_creation_that_fails_fails_for_all_and_may_be_tried_again(hub: Hub, log: FaultyLog) -> None:
    log.always = LogUnavailable("disk full")
    creating = [asyncio.create_task(hub.create(keyed(), Script())) for _ in range(3)]
    for outcome in await asyncio.gather(*creating, return_exceptions=True):
        assert isinstance(outcome, LogUnavailable)
    assert hub._creating == {}
    log.always = None
    assert (await hub.create(keyed(), Script())).created


async def test_a_caller_that_leaves_takes_the_key_from_nobody(hub: Hub, log: FaultyLog) -> None:
    """Stop is not disconnect (vercel/ai #6502): who repeats the key gets the answer, not a cancelled stream."""
    log.gate = asyncio.Event()
    script = Script()
    first = asyncio.create_task(hub.create(keyed(), script))
    await eventually(lambda: hub.live == 1)
    second = asyncio.create_task(hub.create(keyed(), Script()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    log.gate.set()
    channel, created = await second
    assert not created
    script.say("a")
    script.finish()
    assert await channel.wait_end() == Done("stop")
    assert (await hub.create(keyed(), Script())).channel.id == channel.id


async def test_a_creation_that_fails_after_its_caller_left_is_nobodys_trouble(hub: Hub, log: FaultyLog) -> None:
    log.gate = asyncio.Event()
    creating = asyncio.create_task(hub.create(keyed(), Script()))
    await eventually(lambda: hub.live == 1)
    creating.cancel()
    await asyncio.wait((creating,))
    log.always = LogUnavailable("disk full")
    log.gate.set()
    await eventually(lambda: not hub._creating)
    assert hub.live == 0


async def test_a_stream_stored_though_its_creation_was_told_failed_still_ends(hub: Hub, log: FaultyLog) -> None:
    """It must not be `streaming` until the next start (cloudflare/agents #1485)."""
    log.lie = 100
    with pytest.raises(LogUnavailable):
        await hub.create(keyed(), Script())
    assert hub.log_failing
    log.lie = 0
    await hub._recovery.settle()
    assert not hub.log_failing
    channel, created = await hub.create(keyed(), Script())
    assert not created
    assert isinstance(channel.terminal, Error)
    assert channel.terminal.reason == "log_unavailable"


class Racing(FaultyLog):
    """Another process takes the key between the look-up and the commit."""

    blind = 1

    async def find(self, query: Query) -> list[StreamRecord]:
        if query.idempotency_key is not None and self.blind:
            self.blind -= 1
            return []
        return await super().find(query)


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_key_that_another_process_took_meanwhile(deleted: bool) -> None:
    log = Racing()
    log.blind = 0
    there, here = await started(log), await started(log)
    first, _ = await there.create(keyed(), Words(["a"]))
    await first.wait_end()
    log.blind = 2 if deleted else 1
    creating = here.create(keyed(), Script())
    if deleted:
        with pytest.raises(SeqConflict):
            await creating
    else:
        channel, created = await creating
        assert (channel.id, channel.terminal, created) == (first.id, Done("stop"), False)
    assert here.live == 0
    await here.shutdown(0)
    await there.shutdown(0)


class SlowFind(FaultyLog):
    def __init__(self) -> None:
        super().__init__()
        self.find_gate = asyncio.Event()
        self.finding = asyncio.Event()

    async def find(self, query: Query) -> list[StreamRecord]:
        if query.idempotency_key is not None:
            self.finding.set()
            await self.find_gate.wait()
        return await super().find(query)


async def test_a_shutdown_during_the_look_up_refuses_and_hangs_nobody() -> None:
    """After the committer's stop nothing would ever be committed."""
    log = SlowFind()
    hub = await started(log)
    creating = asyncio.create_task(hub.create(keyed(), Script()))
    await log.finding.wait()
    await hub.shutdown(0)
    log.find_gate.set()
    with pytest.raises(ShuttingDown):
        await creating


async def test_a_shutdown_while_a_creation_commits_leaves_it_to_the_next_process(log: FaultyLog) -> None:
    hub = await started(log)
    log.gate = asyncio.Event()
    script = Script()
    creating = asyncio.create_task(hub.create(keyed(), script))
    await eventually(lambda: hub.live == 1)
    stopping = asyncio.create_task(hub.shutdown(0))
    await asyncio.sleep(0.01)
    log.gate.set()
    await stopping
    channel, created = await creating
    assert created
    assert script.runs == 0
    assert log.committed(channel.id) == [Start(channel.id, "", channel.created_ms)]
    log.gate = None
    heir = Words(["a"])
    other = await started(log, recover=lambda record, state: heir)
    again = await other.open(StreamId(channel.id), owner="")
    assert await again.wait_end() == Done("stop")
    await other.shutdown(0)


async def test_a_creation_cancelled_with_its_loop_is_quiet(hub: Hub, log: FaultyLog) -> None:
    log.gate = asyncio.Event()
    creating = asyncio.create_task(hub.create(keyed(), Script()))
    await eventually(lambda: hub.live == 1)
    (task,) = hub._creating.values()
    task.cancel()
    await asyncio.wait((creating,))
    assert creating.cancelled()
    assert hub._creating == {}
    log.gate.set()
    await eventually(lambda: hub.live == 0)


async def test_a_key_of_a_stream_that_another_process_left_is_followed(log: FaultyLog) -> None:
    hub = await started(log, FAST)
    record = StreamRecord(StreamId("other"), 0, idempotency_key="k", fingerprint="f")
    await fill(log, "unrelated", [Text("a")])
    await store(log, record, [Start("other", "", 0), Text("a")])
    channel, created = await hub.create(keyed(), Script())
    assert (channel.id, created) == ("other", False)
    sink = MemorySink()
    hub.attach(channel, PlainEncoder, sink)
    await eventually(lambda: sink.text == "a")
    await hub.shutdown(0)
    assert sink.finished


# ---------------------------------------------------------------- a key whose stream failed


async def _failed(hub: Hub, error: HeadwaterError, *words: str, retry: bool = True) -> Accepted:
    script = Script()
    accepted = await hub.create(NewStream(idempotency_key="k", fingerprint="f", retry=retry), script)
    if accepted.created:
        script.say(*words)
        script.fail(error)
        await accepted.channel.wait_end()
    return accepted


async def test_a_retry_of_a_failed_start_is_a_new_attempt() -> None:
    """bifrost #4788: every retry after an error was dead on arrival."""
    hub = await started()
    first = await _failed(hub, ProviderUnreachable("refused"))
    second = await _failed(hub, ProviderUnreachable("refused"))
    assert first.created
    assert second.created
    assert first.channel.id != second.channel.id
    script = Script()
    third = await hub.create(NewStream(idempotency_key="k", fingerprint="f", retry=True), script)
    script.say("well")
    script.finish()
    await third.channel.wait_end()
    again = await hub.create(NewStream(idempotency_key="k", fingerprint="f", retry=True), Script())
    assert (again.created, again.channel.id) == (False, third.channel.id)
    await hub.shutdown(0)


@pytest.mark.parametrize(
    ("error", "words", "retry"),
    [
        (ProviderUnreachable("refused"), ("some", "text"), True),  # generated, and perhaps billed
        (ProviderRejected("bad", status=400), (), True),  # would fail again
        (ProviderUnreachable("refused"), (), False),  # the caller resumes that very stream
    ],
)
async def test_other_failures_stay_the_answer_of_their_key(
    error: HeadwaterError, words: tuple[str, ...], retry: bool
) -> None:
    hub = await started()
    first = await _failed(hub, error, *words, retry=retry)
    again = await _failed(hub, error, retry=retry)
    assert (again.created, again.channel.id) == (False, first.channel.id)
    await hub.shutdown(0)


async def test_a_failed_key_still_belongs_to_its_request() -> None:
    hub = await started()
    await _failed(hub, ProviderUnreachable("refused"))
    with pytest.raises(IdempotencyMismatch):
        await hub.create(NewStream(idempotency_key="k", fingerprint="other", retry=True), Script())
    await hub.shutdown(0)


async def test_the_attempts_of_one_key_are_bounded() -> None:
    hub = await started()
    attempts = [await _failed(hub, ProviderUnreachable("refused")) for _ in range(MAX_KEY_ATTEMPTS + 2)]
    assert [attempt.created for attempt in attempts] == [True] * MAX_KEY_ATTEMPTS + [False] * 2
    assert attempts[-1].channel.id == attempts[MAX_KEY_ATTEMPTS - 1].channel.id
    await hub.shutdown(0)


async def test_who_resumes_finds_the_newest_attempt_and_no_cursor_of_an_older_one_fits() -> None:
    """A resume must not land in the failed attempt before: its cursors would match by accident."""
    hub = await started()
    first = await _failed(hub, ProviderUnreachable("refused"))
    second = (await hub.create(NewStream(idempotency_key="k", fingerprint="f", retry=True), script := Script())).channel
    script.say("b")
    resuming = NewStream(idempotency_key="k", fingerprint="f")
    assert await hub.find(resuming) is second
    again = await hub.create(resuming, Script())
    assert (again.created, again.channel) == (False, second)
    assert second.epoch == 2
    assert second.locate(str(first.channel.cursor)) == (0, "epoch_changed")
    await hub.shutdown(0)


async def test_a_known_stream_is_found_while_the_server_drains() -> None:
    """A reconnecting viewer of a live stream never gets 503, which stops a browser's EventSource for good."""
    hub = await started()
    known = (await hub.create(NewStream(idempotency_key="k", fingerprint="f"), Script())).channel
    hub.accepting = False
    assert (await hub.create(NewStream(idempotency_key="k", fingerprint="f"), Script())).channel is known
    assert await hub.find(NewStream(idempotency_key="k", fingerprint="f")) is known
    with pytest.raises(ShuttingDown):
        await hub.create(NewStream(idempotency_key="other", fingerprint="f"), Script())
    assert await hub.find(NewStream(idempotency_key="other", fingerprint="f")) is None
    with pytest.raises(IdempotencyMismatch):
        await hub.find(NewStream(idempotency_key="k", fingerprint="g"))
    await hub.shutdown(0)


async def test_a_key_can_be_looked_up_without_making_anything(hub: Hub, log: FaultyLog) -> None:
    """A caller that would have to prepare much asks first; `find` answers as `create` would."""
    assert await hub.find(keyed()) is None
    assert await hub.last_attempt(keyed()) is None
    made = (await hub.create(keyed(), Script())).channel
    groups = len(log.groups)
    assert await hub.find(keyed()) is made
    assert await hub.last_attempt(keyed()) is made
    with pytest.raises(IdempotencyMismatch):
        await hub.find(keyed(fingerprint="another"))
    assert await hub.find(keyed(owner="stranger")) is None
    assert len(log.groups) == groups


async def test_a_failed_start_is_the_last_attempt_but_not_what_its_key_stands_for(hub: Hub) -> None:
    failed = await _failed(hub, ProviderUnreachable("down"))
    new = NewStream(idempotency_key="k", fingerprint="f", retry=True)
    assert await hub.find(new) is None
    last = await hub.last_attempt(new)
    assert last is not None
    assert last.id == failed.channel.id
