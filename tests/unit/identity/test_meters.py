"""Limits and budgets, on a clock that stands still and a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from headwater.errors import BudgetExhausted, RateLimited, StoreUnavailable
from headwater.identity import IdentitySettings, Meter, Meters, OpenedStore, Principal
from headwater.identity import meters as module
from headwater.identity.meters import period_end_ms, period_start_ms
from headwater.store import Store

from .kit import CountedStore, ManualClock

SETTINGS = IdentitySettings(budget_cache_s=10)
NOBODY = CountedStore(None)


def caller(**limits: object) -> Principal:
    return Principal(tenant="t", scopes=frozenset({"chat"}), meters=(Meter("key:1", **limits),))  # type: ignore[arg-type]


async def test_who_has_no_limits_costs_nothing(clock: ManualClock) -> None:
    stores = CountedStore(None)
    meters = Meters(stores, SETTINGS, clock)
    assert await meters.admit(Principal(tenant="", scopes=frozenset()), 1000) == []
    assert await meters.admit(caller(), 1000) == ["key:1"]
    only_requests = Principal(tenant="t", scopes=frozenset(), meters=(Meter("user:t", requests_per_minute=9),))
    assert await meters.admit(only_requests, 1000) == []
    await meters.settle("s", [], tokens=5, cost=1, at_ms=1)
    assert stores.asked == 0


async def test_requests_a_minute(clock: ManualClock) -> None:
    meters = Meters(NOBODY, SETTINGS, clock)
    who = caller(requests_per_minute=3)
    for _ in range(3):
        await meters.admit(who, 0)
    with pytest.raises(RateLimited) as caught:
        await meters.admit(who, 0)
    assert (caught.value.http_status, caught.value.code, caught.value.retryable) == (429, "rate_limit_exceeded", True)
    assert caught.value.retry_after_s == pytest.approx(20)
    assert "requests a minute of this key" in caught.value.message
    clock.advance(20)
    await meters.admit(who, 0)
    with pytest.raises(RateLimited):
        await meters.admit(who, 0)


async def test_many_at_once_get_no_more_than_there_is(clock: ManualClock, store: Store) -> None:
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(requests_per_minute=5, budget_tokens=1_000_000)
    outcomes = await asyncio.gather(*(meters.admit(who, 1) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(outcome, list) for outcome in outcomes) == 5
    assert all(isinstance(outcome, list | RateLimited) for outcome in outcomes)


async def test_tokens_are_set_aside_and_settled_when_they_are_known(clock: ManualClock, store: Store) -> None:
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(tokens_per_minute=600)
    names = await meters.admit(who, 400)
    assert names[0] == "key:1"
    with pytest.raises(RateLimited, match="tokens a minute"):
        await meters.admit(who, 400)
    await meters.settle("s1", names, tokens=100, cost=0.0, at_ms=clock.ms)
    names = await meters.admit(who, 400)
    await meters.settle("s2", names, tokens=700, cost=0.0, at_ms=clock.ms)
    with pytest.raises(RateLimited) as caught:
        await meters.admit(who, 100)
    assert caught.value.retry_after_s == pytest.approx(30)


async def test_what_no_stream_came_of_is_given_back_once(clock: ManualClock) -> None:
    meters = Meters(NOBODY, SETTINGS, clock)
    who = caller(tokens_per_minute=600)
    names = await meters.admit(who, 600)
    with pytest.raises(RateLimited):
        await meters.admit(who, 1)
    meters.give_back(names)
    meters.give_back(names)
    await meters.admit(who, 600)
    with pytest.raises(RateLimited):
        await meters.admit(who, 1)


async def test_a_key_and_its_user_are_both_asked_and_a_refusal_takes_from_neither(clock: ManualClock) -> None:
    meters = Meters(NOBODY, SETTINGS, clock)
    key, user = Meter("key:1", requests_per_minute=100), Meter("user:t", requests_per_minute=2, tokens_per_minute=9)
    both = Principal(tenant="t", scopes=frozenset(), meters=(key, user))
    for _ in range(2):
        assert (await meters.admit(both, 1))[:2] == ["key:1", "user:t"]
    for _ in range(5):
        with pytest.raises(RateLimited, match="this user"):
            await meters.admit(both, 1)
    alone = Principal(tenant="t", scopes=frozenset(), meters=(key,))
    for _ in range(98):
        await meters.admit(alone, 0)
    with pytest.raises(RateLimited, match="this key"):
        await meters.admit(alone, 0)


@pytest.mark.parametrize(
    ("period", "retry_after_s"), [("day", 54_400), ("month", 22 * 86_400 + 54_400), ("total", None)]
)
async def test_a_spent_budget_opens_again_with_the_next_period(
    clock: ManualClock, store: Store, period: str, retry_after_s: float | None
) -> None:
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(budget_tokens=100, budget_period=period)
    await meters.settle("s", await meters.admit(who, 50), tokens=100, cost=0.1, at_ms=clock.ms)
    with pytest.raises(BudgetExhausted) as caught:
        await meters.admit(who, 1)
    assert (caught.value.http_status, caught.value.code, caught.value.retryable) == (429, "insufficient_quota", False)
    assert caught.value.retry_after_s == retry_after_s
    if retry_after_s is not None:
        clock.advance(retry_after_s - 1)
        with pytest.raises(BudgetExhausted):
            await meters.admit(who, 1)
        clock.advance(1)
        assert await meters.admit(who, 1)


async def test_a_budget_of_cost(clock: ManualClock, store: Store) -> None:
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(budget_cost=0.5)
    await meters.settle("s1", await meters.admit(who, 1), tokens=1, cost=0.49, at_ms=clock.ms)
    await meters.settle("s2", await meters.admit(who, 1), tokens=1, cost=0.02, at_ms=clock.ms)
    with pytest.raises(BudgetExhausted, match="cost"):
        await meters.admit(who, 1)


async def test_streams_under_way_count_against_a_budget_until_they_end(clock: ManualClock, store: Store) -> None:
    """Else a thousand at once would pass it together."""
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(budget_tokens=100)
    names = [await meters.admit(who, 60) for _ in range(2)]
    with pytest.raises(RateLimited, match="under way"):
        await meters.admit(who, 1)
    await meters.settle("s1", names[0], tokens=30, cost=0, at_ms=clock.ms)
    meters.give_back(names[1])
    assert await meters.admit(who, 1)


async def test_what_nobody_settles_does_not_close_a_budget_for_good(clock: ManualClock, store: Store) -> None:
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(budget_tokens=100)
    await meters.admit(who, 100)
    with pytest.raises(RateLimited):
        await meters.admit(who, 1)
    clock.advance(901)
    other = Principal(tenant="o", scopes=frozenset(), meters=(Meter("key:2", budget_tokens=5),))
    await meters.admit(other, 1)
    assert await meters.admit(who, 1)


async def test_a_stream_counts_once_however_often_it_is_settled(clock: ManualClock, store: Store) -> None:
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(budget_tokens=1000, tokens_per_minute=600)
    names = await meters.admit(who, 10)
    await asyncio.gather(*(meters.settle("s", names, tokens=200, cost=0.2, at_ms=clock.ms) for _ in range(5)))
    await Meters(OpenedStore(store), SETTINGS, clock).settle("s", names, tokens=900, cost=9, at_ms=clock.ms)
    [standing] = (await meters.standing(who)).meters
    assert (standing.used_tokens, standing.used_cost) == (200, 0.2)
    assert await meters.admit(who, 399)  # 600 less what the one stream has used
    with pytest.raises(RateLimited):
        await meters.admit(who, 2)


async def test_streams_of_one_request_share_its_names(clock: ManualClock, store: Store) -> None:
    """As an answer and its title do: what was set aside is given back once."""
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(tokens_per_minute=600)
    names = await meters.admit(who, 100)
    await meters.settle("title", names, tokens=50, cost=0, at_ms=clock.ms)
    await meters.settle("answer", names, tokens=150, cost=0, at_ms=clock.ms)
    assert await meters.admit(who, 400)
    with pytest.raises(RateLimited):
        await meters.admit(who, 1)


async def test_sums_are_read_once_in_a_while_and_see_other_processes_then(clock: ManualClock, store: Store) -> None:
    stores = CountedStore(store)
    meters, elsewhere = Meters(stores, SETTINGS, clock), Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(budget_tokens=100)
    await asyncio.gather(*(meters.admit(who, 0) for _ in range(20)))
    assert stores.asked == 1
    await elsewhere.settle("s", ["key:1"], tokens=100, cost=0, at_ms=clock.ms)
    clock.advance(9)
    assert await meters.admit(who, 0)
    clock.advance(1)
    with pytest.raises(BudgetExhausted):
        await meters.admit(who, 0)
    assert stores.asked == 2


async def test_usage_of_an_earlier_period_is_not_this_one_s(clock: ManualClock, store: Store) -> None:
    meters = Meters(OpenedStore(store), SETTINGS, clock)
    who = caller(budget_tokens=100, budget_period="day")
    names = await meters.admit(who, 0)
    await meters.settle("late", names, tokens=500, cost=0, at_ms=period_start_ms("day", clock.ms) - 1)
    assert await meters.admit(who, 0)
    assert (await meters.standing(who)).meters[0].used_tokens == 0


async def test_a_database_that_is_away_loses_no_usage(
    clock: ManualClock, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    stores = CountedStore(store)
    meters = Meters(stores, SETTINGS, clock)
    who = caller(budget_tokens=100)
    names = await meters.admit(who, 10)
    stores.away = True
    for _ in range(2):
        await meters.settle("s1", names, tokens=60, cost=0.5, at_ms=clock.ms)
    clock.advance(11)
    assert await meters.admit(who, 0)  # by what is known
    await meters.settle("s2", names, tokens=60, cost=0.5, at_ms=clock.ms)
    with pytest.raises(BudgetExhausted):
        await meters.admit(who, 0)
    assert "will be later" in caplog.text
    stores.away = False
    clock.advance(11)
    [standing] = await meters.standings([who.meters[0]])
    assert standing.used_tokens == 120
    await meters.settle("s3", names, tokens=1, cost=0, at_ms=clock.ms)
    [standing] = await Meters(OpenedStore(store), SETTINGS, clock).standings([who.meters[0]])
    assert (standing.used_tokens, standing.used_cost) == (121, 1.0)


async def test_a_budget_that_was_never_read_is_not_guessed(clock: ManualClock, store: Store) -> None:
    stores = CountedStore(store)
    stores.away = True
    meters = Meters(stores, SETTINGS, clock)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await meters.admit(caller(budget_tokens=1), 0)
    stores.away = False
    assert await meters.admit(caller(budget_tokens=1), 0)


async def test_closing_writes_what_is_unwritten_or_says_that_it_is_lost(
    clock: ManualClock, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = CountedStore(store)
    stores.away = True
    meters = Meters(stores, SETTINGS, clock)
    monkeypatch.setattr(module, "MAX_UNWRITTEN", 2)
    for number in range(3):
        await meters.settle(f"s{number}", ["key:1"], tokens=1, cost=0, at_ms=clock.ms)
    assert "stream s2 could not be written and is lost" in caplog.text
    await meters.close()
    assert "2 streams could not be written" in caplog.text
    stores.away = False
    await meters.close()
    assert (await meters.standings([Meter("key:1")]))[0].used_tokens == 2


async def test_meters_that_nobody_uses_are_forgotten(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEP_ABOVE", 10)
    meters = Meters(NOBODY, SETTINGS, clock)

    async def ask(name: str) -> None:
        meter = Meter(name, requests_per_minute=1)
        await meters.admit(Principal(tenant="t", scopes=frozenset(), meters=(meter,)), 0)

    for number in range(15):
        await ask(f"user:{number}")
    assert len(meters._states) == 15  # all in use
    with pytest.raises(RateLimited):
        await ask("user:0")
    clock.advance(131)
    for number in range(20, 30):
        await ask(f"user:{number}")
    assert len(meters._states) <= 20


async def test_without_a_database_nothing_was_used(clock: ManualClock) -> None:
    [standing] = await Meters(NOBODY, SETTINGS, clock).standings([Meter("key:1", budget_period="total")])
    assert (standing.used_tokens, standing.used_cost, standing.resets_ms) == (0, 0.0, None)


def test_periods_are_those_of_utc() -> None:
    def ms(*parts: int) -> int:
        return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]

    new_year = ms(2025, 12, 31, 23, 59, 59)
    assert period_start_ms("day", new_year) == ms(2025, 12, 31)
    assert period_end_ms("day", new_year) == ms(2026, 1, 1)
    assert period_start_ms("month", new_year) == ms(2025, 12, 1)
    assert period_end_ms("month", new_year) == ms(2026, 1, 1)
    assert period_end_ms("month", ms(2024, 2, 29)) == ms(2024, 3, 1)
    assert (period_start_ms("total", new_year), period_end_ms("total", new_year)) == (0, None)


async def test_unwritten_usage_of_an_earlier_period_is_not_this_one_s(clock: ManualClock, store: Store) -> None:
    """A database that is away over midnight must not close the next day's budget."""
    stores = CountedStore(store)
    meters = Meters(stores, SETTINGS, clock)
    who = caller(budget_tokens=100, budget_period="day")
    stores.away = True
    today = period_start_ms("day", clock.ms)
    for at_ms, tokens in ((today - 1, 500), (today, 30)):
        await meters.settle(f"s{tokens}", ["key:1"], tokens=tokens, cost=0, at_ms=at_ms)
    stores.away = False
    assert (await meters.standing(who)).meters[0].used_tokens == 30
    assert await meters.admit(who, 0)
