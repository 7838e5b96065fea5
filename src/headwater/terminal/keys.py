"""`headwater keys`: API keys in the database, with a server running beside it or not.

A running server believes what it knows of a key for `key_cache_s`: so long a revoked one may go on there. Only the key
itself goes to stdout when one is made, so that a script can take it; what it is stands on stderr.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TextIO, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from ..config import Settings, load_settings
from ..errors import ConfigError, InputError
from ..identity import IdentitySettings, Meters, OpenedStore
from ..identity.api_key import ApiKey, Issued
from ..identity.bodies import KeyOrder, Rotation, read_body
from ..identity.cards import KeyCard, key_card, with_secret
from ..identity.clock import SystemClock
from ..identity.records import ApiKeys
from ..runtime_encryption import open_sealer
from ..store import Store, open_store
from ..store.database import database_url
from .exits import FINE

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")

_PIPE_COLUMNS = 500

# Flags that are not named as the field that they fill.
_FLAGS = {"scopes": "scope", "expires_in_s": "expires_in", "grace_s": "grace"}

T = TypeVar("T", bound=msgspec.Struct)


class Place(NamedTuple):
    """Where the database is told of: as for `serve`."""

    config: str = ""
    data_dir: str = ""
    as_json: bool = False


def create(fields: dict[str, object], place: Place, *, single_user: bool = False) -> int:
    """`fields`: of a `KeyOrder`; those of None are left out. `single_user`: for what was made without keys.

    Raises `ConfigError`, `StoreUnavailable`.
    """
    order = _order(fields)
    if single_user and (order.organization or order.project or order.user):
        raise ConfigError("--single-user and names exclude each other: that data belongs to nobody by name")

    async def run(opened: _Opened) -> None:
        issued = await opened.keys.create(order, tenant="" if single_user else None)
        await _tell_issued(opened, issued, place, "made")

    return _run(place, run)


def show(prefix: str, place: Place) -> int:
    """All keys, or those that begin with `prefix`, newest first. Raises `ConfigError`, `StoreUnavailable`."""

    async def run(opened: _Opened) -> None:
        found = await opened.keys.list(prefix=prefix)
        cards = await opened.cards(found)
        if place.as_json:
            _print(msgspec.json.encode(cards))
        else:
            # In a pipe a row is a line, however long.
            _console(sys.stdout).print(_table(cards), width=None if sys.stdout.isatty() else _PIPE_COLUMNS)

    return _run(place, run)


def revoke(ref: str, place: Place, *, forget: bool = False) -> int:
    """`ref`: id or prefix. `forget`: remove it from the list, too. Raises `ConfigError`, `UnknownItem`."""

    async def run(opened: _Opened) -> None:
        key = await opened.keys.revoke((await opened.keys.get(ref)).id)
        if forget:
            await opened.keys.forget(key.id)
        [card] = await opened.cards([key])
        if place.as_json:
            _print(msgspec.json.encode(card))
        else:
            _note(f"{key.prefix} is {'forgotten' if forget else 'revoked'}")

    return _run(place, run)


def rotate(ref: str, place: Place, *, grace: str = "") -> int:
    """A new secret; the old one holds for `grace` (`1h` …) more. Raises `ConfigError`, `UnknownItem`, `InputError`."""
    given: dict[str, object] = {} if not grace else {"grace_s": _seconds("--grace", grace)}
    rotation = _read(given, Rotation)

    async def run(opened: _Opened) -> None:
        key = await opened.keys.get(ref)
        issued = await opened.keys.rotate(key.id, grace_s=rotation.grace_s)
        await _tell_issued(opened, issued, place, f"rotated; {key.prefix} holds {rotation.grace_s:g} s more")

    return _run(place, run)


class _Opened:
    """The database, as long as a command runs."""

    def __init__(self, store: Store, where: str) -> None:
        self.where = where
        self._clock = SystemClock()
        self.keys = ApiKeys(store, self._clock)
        self._meters = Meters(OpenedStore(store), IdentitySettings(), self._clock)

    async def cards(self, keys: Sequence[ApiKey]) -> list[KeyCard]:
        standings = await self._meters.standings(key.meter for key in keys)
        now_ms = self._clock.wall_ms()
        return [key_card(key, standing, now_ms) for key, standing in zip(keys, standings, strict=True)]


def _run(place: Place, command: Callable[[_Opened], Awaitable[None]]) -> int:
    settings = load_settings(config=place.config or None, data_dir=place.data_dir or None)

    async def run() -> None:
        async with _database(settings) as opened:
            await command(opened)

    asyncio.run(run())
    return FINE


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[_Opened]:
    configured = settings.database_url.get_secret_value() if settings.database_url is not None else None
    if configured is None and settings.log == "memory":
        raise ConfigError("with log = memory the keys live in the server's memory: make them by POST /v1/keys there")
    store = await open_store(database_url(configured, settings.data_dir), open_sealer(settings))
    try:
        # An address may hold a password.
        yield _Opened(store, str(settings.data_dir) if configured is None else "the database of database_url")
    finally:
        await store.close()


def _order(fields: dict[str, object]) -> KeyOrder:
    given = {name: value for name, value in fields.items() if value is not None}
    if isinstance(duration := given.pop("expires_in", None), str):
        given["expires_in_s"] = _seconds("--expires-in", duration)
    return _read(given, KeyOrder)


def _read(given: dict[str, object], kind: type[T]) -> T:
    """A wrong flag is wrong usage, whatever it would be in a request."""
    try:
        return read_body(given, kind)
    except InputError as exc:
        flag = _FLAGS.get(exc.param or "", exc.param or "").replace("_", "-")
        raise ConfigError(f"--{flag}: {exc.message}" if flag else exc.message) from exc


def _seconds(flag: str, text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigError(f"{flag}: write 90, 15m, 12h or 30d, not {text[:50]!r}")
    return float(match[1]) * _UNITS_S[match[2] or "s"]


async def _tell_issued(opened: _Opened, issued: Issued, place: Place, what: str) -> None:
    [card] = await opened.cards([issued.key])
    if place.as_json:
        _print(msgspec.json.encode(with_secret(card, issued.text)))
        return
    scopes = ", ".join(card.scopes)
    _note(f"key {card.id} {what}; scopes: {scopes}; kept in {opened.where}. It is shown here and never again:")
    _print(issued.text.encode())


def _table(cards: Sequence[KeyCard]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("KEY", "NAME", "SCOPES", "FOR", "STATE", "LAST USED", "TOKENS", "COST"):
        # What is to be copied whole is never cut.
        table.add_column(heading, overflow="fold", no_wrap=heading == "KEY")
    for card in cards:
        names = (card.organization, card.project, card.user)
        table.add_row(
            card.prefix,
            card.name,
            " ".join(card.scopes),
            "/".join(name for name in names if name),
            "revoked" if card.revoked_at else "active" if card.active else "expired",
            (card.last_used_at or "never")[:16],
            _used(card.limits.used_tokens, card.limits.budget_tokens),
            _used(card.limits.used_cost, card.limits.budget_cost),
        )
    return table


def _used(used: float, budget: float | None) -> str:
    return f"{used:,.6g}" if budget is None else f"{used:,.6g} of {budget:,.6g}"


def _console(file: TextIO) -> Console:
    return Console(file=file, highlight=False, markup=False, soft_wrap=True)


def _note(text: str) -> None:
    _console(sys.stderr).print(text)


def _print(line: bytes) -> None:
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()
