"""`headwater encryption`: the key ring, what is encrypted with which key, and encrypting all of it with the newest."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import URL

from ..config import Settings, load_settings
from ..encryption import Sealer, add_key
from ..errors import ConfigError, LogError, StoreCorrupt, StoreUnavailable
from ..integrity.findings import Report
from ..logs.sqlite import resealing as log_resealing
from ..logs.sqlite.ownership import Ownership
from ..logs.sqlite.rescue import kept_wals
from ..logs.sqlite.storage import FILE_NAME as LOG_FILE_NAME
from ..runtime_encryption import open_sealer, ring_path, settling_ms, wall_ms
from ..store import open_store
from ..store import resealing as store_resealing
from ..store.database import FILE_NAME, database_url
from .check import lines_of
from .exits import FAILED, FINE

T = TypeVar("T")
_KEPT = "a copy of a damaged write-ahead log; it may hold what is not encrypted, and nothing reads it: remove it"


class Place(NamedTuple):
    """Where the settings are told of: as for `serve`."""

    config: str = ""
    data_dir: str = ""
    as_json: bool = False

    def settings(self) -> Settings:
        return load_settings(config=self.config or None, data_dir=self.data_dir or None)


def rotate(place: Place) -> int:
    """Add a key to the ring, which a first key makes. Raises `ConfigError`."""
    path, now_ms = ring_path(place.settings()), wall_ms()
    ring, _ = add_key(path, now_ms)
    # Nobody has an older one to go on with.
    wait_ms = 0 if len(ring.keys) == 1 else settling_ms()
    key = ring.active.name
    if place.as_json:
        _print({"key": key, "keys": ring.names, "file": str(path), "encrypts_from_ms": now_ms + wait_ms})
        return FINE
    when = f"in {wait_ms // 1000} s, when every server has it" if wait_ms else "from now on"
    _note(f"the key {key} encrypts {when}; {path} holds {len(ring.keys)}")
    _note("Back up the ring, elsewhere than the data: without it the data is lost.")
    return FINE


def status(place: Place) -> int:
    """How much each key encrypts. With no server at work on the data directory. Raises `ConfigError`, `LogInUse`."""
    settings = place.settings()
    sealer = open_sealer(settings, newest=True)
    log, store = _owned(settings, sealer, _count)
    kept = [file.name for file in kept_wals(settings.data_dir)]
    known = [] if sealer is None else sealer.ring.names
    if place.as_json:
        _print({"keys": known, "streams": dict(log), "chat": dict(store), "damaged_files": kept})
        return FINE
    table = Table(box=None, pad_edge=False)
    for heading in ("KEY", "STREAM RECORDS", "CHAT VALUES"):
        table.add_column(heading)
    for name in [*known, *sorted((log.keys() | store.keys()) - {*known, ""}), ""]:
        shown = f"{name} (newest)" if known[:1] == [name] else name or "not encrypted"
        table.add_row(shown, f"{log[name]:,}", f"{store[name]:,}")
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    console.print(table)
    for name in kept:
        console.print(f"{name}: {_KEPT}")
    return FINE


def reencrypt(place: Place) -> int:
    """Everything with the newest key, whatever it is encrypted with now. Raises `ConfigError`, `LogInUse`.

    Exit code 1: something is damaged, and was left as it is.
    """
    settings = place.settings()
    sealer = open_sealer(settings, newest=True)
    done = _owned(settings, sealer, _reseal)
    findings = done.report.findings
    if place.as_json:
        _print({"streams": done.records, "chat": done.rows, "findings": findings})
        return FAILED if findings else FINE
    for line in lines_of(done.report):
        _note(line)
    _note(f"encrypted with the newest key: {done.records:,} records of streams, {done.rows:,} rows of the chat backend")
    if not findings:
        return FINE
    _note("what is told above was left as it is, and keys that it may need must stay in the ring")
    return FAILED


def _owned(settings: Settings, sealer: Sealer | None, work: Callable[[Settings, Sealer | None], Awaitable[T]]) -> T:
    """`work` while no server has the data directory."""
    if settings.log != "sqlite":
        raise ConfigError("with log = memory nothing is kept: there is nothing to encrypt")
    if not settings.data_dir.is_dir():
        raise ConfigError(f"there is no data directory {settings.data_dir}")
    ownership = Ownership(settings.data_dir)
    try:
        return asyncio.run(_awaited(work(settings, sealer)))
    finally:
        ownership.release()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def _count(settings: Settings, sealer: Sealer | None) -> tuple[Counter[str], Counter[str]]:
    log = log_resealing.count_keys(settings.data_dir)
    if not _has_store(settings):
        return log, Counter()
    store = await open_store(_url(settings), sealer)
    try:
        return log, await store_resealing.count_keys(store)
    finally:
        await store.close()


class _Resealed(NamedTuple):
    records: int
    rows: int
    report: Report


async def _reseal(settings: Settings, sealer: Sealer | None) -> _Resealed:
    """What fails in one database is told with what is damaged: the other one is encrypted all the same."""
    if sealer is None:
        raise ConfigError("there is no key to encrypt with: set encryption_keys_file or encryption_keys")
    report = Report()
    records = rows = 0
    try:
        progress = _progress("records of streams")
        records = log_resealing.reseal_log(settings.data_dir, sealer, report, on_progress=progress)
    except LogError as exc:
        report.find(settings.data_dir / LOG_FILE_NAME, "", exc.message)
    if _has_store(settings):
        try:
            progress = _progress("rows of the chat backend")
            rows = await store_resealing.reseal_store(_url(settings), sealer, report, on_progress=progress)
        except (StoreCorrupt, StoreUnavailable) as exc:
            report.find(store_resealing.place_of(_url(settings)), "", exc.message)
    for file in kept_wals(settings.data_dir):
        report.find(file, "", _KEPT)
    return _Resealed(records, rows, report)


def _url(settings: Settings) -> URL:
    configured = settings.database_url.get_secret_value() if settings.database_url is not None else None
    return database_url(configured, settings.data_dir)


def _has_store(settings: Settings) -> bool:
    return settings.database_url is not None or (settings.data_dir / FILE_NAME).exists()


def _progress(what: str) -> Callable[[int], None]:
    console = Console(file=sys.stderr, highlight=False)

    def tell(count: int) -> None:
        if console.is_terminal:
            console.print(f"{count:,} {what}", end="\r")

    return tell


def _note(line: str) -> None:
    Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True).print(line)


def _print(facts: object) -> None:
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
