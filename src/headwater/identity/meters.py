"""Limits and budgets of keys and users: what may be asked for now, and what was used.

A minute's limits live in memory, by process and without a history. Budgets are sums of `usage_entries`, read once in a
while and added to as streams end; where two processes count, one may learn of the other's share `budget_cache_s` late.
Sums err on the safe side: what ends while they are read may count twice until the next reading.

A budget is checked before, its usage known after. What tokens are expected of streams under way is set aside; cost is
not, so a budget of cost may be passed by the streams that were under way when it was reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from ..errors import BudgetExhausted, RateLimited, StoreUnavailable
from ..streams.bucket import Bucket
from .clock import Clock, SystemClock
from .principal import Meter, Period, Principal
from .settings import IdentitySettings
from .stores import StoreSource
from .usage import Spent, Usage, insert_usage, sum_usage

_logger = logging.getLogger(__name__)

# Kept beside the meters of a request: which tokens were set aside for it before they were known.
_HELD = "held:"
# What nobody settles or gives back is forgotten then, so that no fault elsewhere closes a budget for good.
_HELD_S = 900.0
# A bucket's debt is a minute at most, and in another one it is full: then nothing is lost with it.
_IDLE_S = 130.0
_SWEEP_ABOVE = 10_000
# Usage that could not be written yet; a day of a busy server with its database away.
MAX_UNWRITTEN = 100_000
# Five parameters each; SQLite takes 32,766.
_BATCH = 1000


class MeterStanding(msgspec.Struct, frozen=True):
    """One meter: `used_tokens` and `used_cost` in the period, which ends at `resets_ms` (None: never)."""

    meter: Meter
    used_tokens: int
    used_cost: float
    resets_ms: int | None


class Standing(msgspec.Struct, frozen=True):
    meters: list[MeterStanding]


class _Held(NamedTuple):
    """What is set aside for one request."""

    states: tuple[_State, ...]
    tokens: int
    at_s: float


class _State:
    """What is known of one meter in this process."""

    __slots__ = ("lock", "read_at_s", "requests", "reserved", "spent", "start_ms", "tokens", "used_at_s")

    def __init__(self, meter: Meter, now_s: float) -> None:
        self.requests = _bucket(meter.requests_per_minute, now_s)
        self.tokens = _bucket(meter.tokens_per_minute, now_s)
        self.lock = asyncio.Lock()
        self.spent = Spent(0, 0.0)
        # Of `spent`; before the first reading no period.
        self.start_ms = -1
        self.read_at_s = 0.0
        # Tokens that streams under way are expected to use.
        self.reserved = 0
        self.used_at_s = now_s


class Meters:
    """`settings`: for `budget_cache_s`. Use it in one event loop; `close` writes what is unwritten."""

    def __init__(self, stores: StoreSource, settings: IdentitySettings, clock: Clock | None = None) -> None:
        self._stores = stores
        self._cache_s = settings.budget_cache_s
        self._clock = clock or SystemClock()
        self._states: dict[str, _State] = {}
        self._sweep_above = _SWEEP_ABOVE
        self._unwritten: dict[str, Usage] = {}
        # The oldest first.
        self._held: dict[str, _Held] = {}

    async def admit(self, principal: Principal, estimated_tokens: int) -> list[str]:
        """The names to keep in the request, for `settle`, or for `give_back` where no stream comes of it.

        Streams made for the same request (its title) may have the same names. Raises `RateLimited`, `BudgetExhausted`;
        `StoreUnavailable` where a budget cannot be read.
        """
        if not principal.meters:
            return []
        names = [meter.name for meter in principal.meters if meter.settles]
        states = [(meter, self._state(meter)) for meter in principal.meters if meter.limited]
        if not states:
            return names
        estimate = max(estimated_tokens, 0)
        for meter, state in states:
            if meter.budgeted:
                await self._refresh(meter, state)
        # Nothing waits from here on: what is checked is what is taken.
        now_s = self._clock.steady_s()
        for meter, state in states:
            self._check(meter, state, estimate, now_s)
        for _, state in states:
            if state.requests is not None:
                state.requests.take(1, now_s)
        holding = tuple(state for meter, state in states if meter.tokens_per_minute or meter.budget_tokens)
        return [*names, self._hold(holding, estimate, now_s)] if holding and estimate else names

    def give_back(self, names: Sequence[str]) -> None:
        """The tokens that `admit` set aside. The request counts as one: it was asked for."""
        for name in names:
            if name.startswith(_HELD):
                self._release(name)

    async def settle(self, stream_id: str, names: Sequence[str], *, tokens: int, cost: float, at_ms: int) -> None:
        """Count what a stream has used, once however often it is called. `names`: of `admit`, as the request kept them.

        Where the database is away, it is counted here, and written later.
        """
        meters = [name for name in names if not name.startswith(_HELD)]
        if not meters or stream_id in self._unwritten:
            return
        usage = Usage(stream_id, tuple(meters), max(tokens, 0), max(cost, 0.0), at_ms)
        new = await self._write(usage)
        self.give_back(names)
        for name in new:
            state = self._states.get(name)
            if state is None:
                continue
            if state.tokens is not None:
                state.tokens.take(usage.tokens, self._clock.steady_s())
            if state.start_ms >= 0 and at_ms >= state.start_ms:
                state.spent = state.spent.plus(usage)

    async def standing(self, principal: Principal) -> Standing:
        """Where the caller's meters stand now. Raises `StoreUnavailable`."""
        return Standing(await self.standings(principal.meters))

    async def standings(self, meters: Iterable[Meter]) -> list[MeterStanding]:
        """Of any meters, in their order. Raises `StoreUnavailable`."""
        listed = list(meters)
        now_ms = self._clock.wall_ms()
        used: dict[str, Spent] = {}
        for start_ms in {period_start_ms(meter.budget_period, now_ms) for meter in listed}:
            names = [meter.name for meter in listed if period_start_ms(meter.budget_period, now_ms) == start_ms]
            used |= await self._sum(names, start_ms)
        return [
            MeterStanding(
                meter, used[meter.name].tokens, used[meter.name].cost, period_end_ms(meter.budget_period, now_ms)
            )
            for meter in listed
        ]

    async def close(self) -> None:
        """Write what is unwritten; what cannot be is lost, and logged."""
        with contextlib.suppress(StoreUnavailable):
            while self._unwritten:
                await self._flush(None)
        if self._unwritten:
            _logger.error("the usage of %d streams could not be written and is lost", len(self._unwritten))

    # ------------------------------------------------------------------ checks

    def _check(self, meter: Meter, state: _State, estimate: int, now_s: float) -> None:
        whose = "this key" if meter.name.startswith("key:") else "this user"
        self._check_budget(meter, state, whose)
        for bucket, amount, what in ((state.requests, 1, "requests"), (state.tokens, estimate, "tokens")):
            if bucket is not None and (wait_s := bucket.wait_s(amount, now_s)) > 0:
                raise RateLimited(f"the {what} a minute of {whose} are used up", retry_after_s=wait_s)

    def _check_budget(self, meter: Meter, state: _State, whose: str) -> None:
        spent = state.spent
        for budget, used, what in (
            (meter.budget_tokens, spent.tokens, "tokens"),
            (meter.budget_cost, spent.cost, "cost"),
        ):
            if budget and used >= budget:
                now_ms = self._clock.wall_ms()
                end_ms = period_end_ms(meter.budget_period, now_ms)
                raise BudgetExhausted(
                    f"the budget of {what} of {whose} is spent",
                    retry_after_s=None if end_ms is None else (end_ms - now_ms) / 1000,
                )
        if meter.budget_tokens and state.reserved and spent.tokens + state.reserved >= meter.budget_tokens:
            raise RateLimited(f"requests under way may use up the budget of tokens of {whose}")

    # ------------------------------------------------------------------ memory

    def _state(self, meter: Meter) -> _State:
        state = self._states.get(meter.name)
        now_s = self._clock.steady_s()
        if state is None:
            if len(self._states) >= self._sweep_above:
                self._sweep(now_s)
            state = self._states[meter.name] = _State(meter, now_s)
        state.used_at_s = now_s
        return state

    def _sweep(self, now_s: float) -> None:
        """Forget meters that nobody uses. Those in use may be many: the next sweep comes when they have doubled."""
        self._states = {
            name: state
            for name, state in self._states.items()
            if state.reserved or state.lock.locked() or now_s - state.used_at_s < _IDLE_S
        }
        self._sweep_above = max(_SWEEP_ABOVE, 2 * len(self._states))

    def _hold(self, states: tuple[_State, ...], tokens: int, now_s: float) -> str:
        """Set tokens aside. The name of it is of no use to another process, which has set nothing aside."""
        while self._held and now_s - next(iter(self._held.values())).at_s > _HELD_S:
            self._release(next(iter(self._held)))
        for state in states:
            state.reserved += tokens
            if state.tokens is not None:
                state.tokens.take(tokens, now_s)
        name = f"{_HELD}{secrets.token_hex(8)}"
        self._held[name] = _Held(states, tokens, now_s)
        return name

    def _release(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is None:
            return
        for state in held.states:
            state.reserved -= held.tokens
            if state.tokens is not None:
                state.tokens.take(-held.tokens, self._clock.steady_s())

    # ------------------------------------------------------------------ the database

    async def _refresh(self, meter: Meter, state: _State) -> None:
        """Read the period's sum where the one known is old. A known one goes on while the database is away."""
        if self._is_fresh(meter, state):
            return
        async with state.lock:
            if self._is_fresh(meter, state):
                return
            start_ms = period_start_ms(meter.budget_period, self._clock.wall_ms())
            if state.start_ms != start_ms:
                state.spent, known = Spent(0, 0.0), False
                state.start_ms = start_ms
            else:
                known = True
            before = state.spent
            try:
                found = (await self._sum([meter.name], start_ms))[meter.name]
            except StoreUnavailable:
                if not known:
                    state.start_ms = -1
                    raise
                _logger.warning("the usage of a budget could not be read; what is known of it goes on")
                found = before
            meanwhile = state.spent.minus(before)
            state.spent = Spent(found.tokens + meanwhile.tokens, found.cost + meanwhile.cost)
            state.read_at_s = self._clock.steady_s()

    def _is_fresh(self, meter: Meter, state: _State) -> bool:
        if self._clock.steady_s() - state.read_at_s >= self._cache_s:
            return False
        return state.start_ms == period_start_ms(meter.budget_period, self._clock.wall_ms())

    async def _sum(self, names: Sequence[str], start_ms: int) -> dict[str, Spent]:
        store = await self._stores.existing()
        used = dict.fromkeys(names, Spent(0, 0.0))
        # Before the database is asked: an entry that is written meanwhile counts twice rather than not at all.
        waiting = list(self._unwritten.values())
        if store is not None:
            used |= await sum_usage(store, names, start_ms)
        for usage in waiting:
            if usage.at_ms >= start_ms:
                used |= {name: used[name].plus(usage) for name in usage.meters if name in used}
        return used

    async def _write(self, usage: Usage) -> Sequence[str]:
        """The meters for which it is news."""
        try:
            return await self._flush(usage)
        except StoreUnavailable as exc:
            if len(self._unwritten) < MAX_UNWRITTEN:
                _logger.warning("the usage of a stream could not be written, and will be later: %s", exc.message)
                self._unwritten[usage.stream_id] = usage
            else:
                _logger.exception("the usage of stream %s could not be written and is lost", usage.stream_id)
            return usage.meters

    async def _flush(self, usage: Usage | None) -> list[str]:
        waiting = list(itertools.islice(self._unwritten.values(), _BATCH))
        store = await self._stores.opened()
        new = await insert_usage(store, waiting if usage is None else [*waiting, usage])
        for written in waiting:
            self._unwritten.pop(written.stream_id, None)
        return [] if usage is None else [meter for stream, meter in new if stream == usage.stream_id]


def _bucket(per_minute: int, now_s: float) -> Bucket | None:
    return Bucket(per_minute, burst=per_minute, now=now_s) if per_minute else None


def period_start_ms(period: Period, now_ms: int) -> int:
    """When the period that `now_ms` is in began; 0 for `total`."""
    if period == "total":
        return 0
    now = datetime.fromtimestamp(now_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((now if period == "day" else now.replace(day=1)).timestamp()) * 1000


def period_end_ms(period: Period, now_ms: int) -> int | None:
    """When the next one begins; None for `total`."""
    if period == "total":
        return None
    # From the first of a month, 31 days later is in the next one.
    days = 1 if period == "day" else 31
    return period_start_ms(period, period_start_ms(period, now_ms) + days * 86_400_000)
