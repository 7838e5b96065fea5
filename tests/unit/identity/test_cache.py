"""What was found is believed for a while, and asked for once."""

from __future__ import annotations

import asyncio

import pytest

from headwater.identity.cache import Cache, Kept

from .kit import ManualClock


class Source:
    """Answers when `gate` is open."""

    def __init__(self, clock: ManualClock, **bounds: int) -> None:
        self.cache: Cache[str, str] = Cache(clock, **bounds)
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def get(self, key: str) -> str:
        async def load() -> Kept[str]:
            self.asked.append(key)
            await self.gate.wait()
            if self.fails:
                raise LookupError(key)
            return Kept(f"{key}{len(self.asked)}", 5.0, found=not key.startswith("no"))

        return await self.cache.get(key, load)


async def test_an_answer_is_believed_until_its_end(clock: ManualClock) -> None:
    source = Source(clock)
    assert [await source.get("a"), await source.get("a")] == ["a1", "a1"]
    clock.advance(4.9)
    assert await source.get("a") == "a1"
    clock.advance(0.1)
    assert await source.get("a") == "a2"


async def test_many_who_ask_at_once_ask_once(clock: ManualClock) -> None:
    source = Source(clock)
    source.gate.clear()
    tasks = [asyncio.create_task(source.get("a")) for _ in range(50)]
    await asyncio.sleep(0)
    tasks[0].cancel()  # the first one's leaving is not the others' failure
    source.gate.set()
    assert set(await asyncio.gather(*tasks[1:])) == {"a1"}
    assert source.asked == ["a"]


async def test_a_failure_is_everybody_s_and_is_not_kept(clock: ManualClock) -> None:
    source = Source(clock)
    source.fails = True
    for failed in await asyncio.gather(source.get("a"), source.get("a"), return_exceptions=True):
        assert isinstance(failed, LookupError)
    source.fails = False
    assert await source.get("a") == "a2"


async def test_a_failure_that_nobody_waits_for_any_more_is_quiet(clock: ManualClock) -> None:
    source = Source(clock)
    source.fails = True
    source.gate.clear()
    task = asyncio.create_task(source.get("a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    source.gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not source.cache._running


async def test_both_kinds_are_bounded_and_made_up_keys_push_no_real_one_out(clock: ManualClock) -> None:
    source = Source(clock, max_found=2, max_missed=2)
    await source.get("a")
    for number in range(10):
        await source.get(f"no{number}")
    assert await source.get("a") == "a1"
    await source.get("b")
    await source.get("c")
    assert (len(source.cache._found), len(source.cache._missed)) == (2, 2)
    assert await source.get("a") != "a1"


async def test_what_is_cleared_is_looked_up_anew_also_while_it_is_under_way(clock: ManualClock) -> None:
    """Else a key that is revoked while it is looked up would go on for the whole time."""
    source = Source(clock)
    source.gate.clear()
    old = asyncio.create_task(source.get("a"))
    await asyncio.sleep(0)
    source.cache.clear()
    new = asyncio.create_task(source.get("a"))
    source.gate.set()
    await asyncio.gather(old, new)
    assert source.asked == ["a", "a"]
    source.gate.clear()
    assert await source.get("a") == new.result()
