"""Model routes made by API: in force in the registry, and kept in a file for the next start.

The file holds route tables only, which name providers and hold neither addresses nor secrets. It is replaced as a
whole (written beside, synced, renamed), so a crash leaves the old one or the new one. Its one writer is the process
that owns the data directory. A change that cannot be kept is not made.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from ..errors import ConfigError, InputError, RouteNotKept
from ..integrity import file_sum
from ..integrity.findings import Report
from ..tables import RouteTable, read_table
from .registry import Registry

_log = logging.getLogger(__name__)

VERSION = 1
FILE_NAME = "routes.json"

T = TypeVar("T")


class KeptRoute(NamedTuple):
    """One route as it is listed. `fixed`: of the settings file. `error`: why it is not in force; None where it is.

    `persistent`: whether it will be there after the next start.
    """

    name: str
    table: RouteTable
    fixed: bool
    persistent: bool
    error: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """`sum`: of the routes as compact JSON; "" where there is none (a file of the first release, or made by hand)."""

    version: int
    routes: dict[str, object]
    sum: str = ""


class _Idle(NamedTuple):
    """A route of the file that cannot be in force now, as long as its provider is not configured."""

    table: RouteTable
    error: str


class RouteStore:
    """`path`: the file; None keeps nothing. Use it in one event loop, and `load` it before any request is served."""

    def __init__(self, registry: Registry, path: Path | None) -> None:
        self._registry = registry
        self._path = path
        self._idle: dict[str, _Idle] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Put the routes of the file in force; those that cannot be are kept, and listed with the reason.

        Raises `ConfigError`, naming the file, where it cannot be read.
        """
        if self._path is None:
            return
        for name, table in (await asyncio.to_thread(_read, self._path)).items():
            try:
                self._registry.set_route(name, table)
            except InputError as exc:
                _log.warning("the route %s is not in force: %s", name, exc.message)
                self._idle[name] = _Idle(table, exc.message)

    def routes(self) -> list[KeptRoute]:
        """Those of the settings file first."""
        kept = self._path is not None
        routes = [KeptRoute(name, table, fixed, fixed or kept) for name, table, fixed in self._registry.routes()]
        return routes + [KeptRoute(name, idle.table, False, kept, idle.error) for name, idle in self._idle.items()]

    async def set(self, name: str, table: RouteTable) -> bool:
        """Make or replace a route; whether it is new. Raises `InputError`, `RouteFixed`, `RouteNotKept`."""

        def change() -> bool:
            is_new = self._registry.set_route(name, table)
            return self._idle.pop(name, None) is None and is_new

        return await self._change(name, change)

    async def remove(self, name: str) -> None:
        """Raises `UnknownRoute`, `RouteFixed`, `RouteNotKept`. Streams that run on it end as they would have."""

        def change() -> None:
            if self._idle.pop(name, None) is None:
                self._registry.remove_route(name)

        await self._change(name, change)

    async def _change(self, name: str, change: Callable[[], T]) -> T:
        # Shielded: a caller that is cancelled must not leave a change that is half made, or two writers of the file.
        return await asyncio.shield(asyncio.ensure_future(self._changed(name, change)))

    async def _changed(self, name: str, change: Callable[[], T]) -> T:
        async with self._changing:
            before, idle = self._own().get(name), self._idle.get(name)
            result = change()
            try:
                await self._save()
            except RouteNotKept:
                self._restore(name, before, idle)
                raise
            return result

    async def _save(self) -> None:
        if self._path is None:
            return
        tables = {**self._own(), **{name: idle.table for name, idle in self._idle.items()}}
        file = _File(VERSION, dict(tables), file_sum(msgspec.json.encode(tables)))
        data = msgspec.json.format(msgspec.json.encode(file), indent=2)
        try:
            await asyncio.to_thread(_replace, self._path, data + b"\n")
        except OSError as exc:
            _log.error("%s cannot be written: %s", self._path, exc.strerror)
            raise RouteNotKept(f"the route cannot be kept: {exc.strerror}") from exc

    def _restore(self, name: str, before: RouteTable | None, idle: _Idle | None) -> None:
        if before is not None:
            self._registry.set_route(name, before)
        elif name in self._own():
            self._registry.remove_route(name)
        if idle is not None:
            self._idle[name] = idle

    def _own(self) -> Mapping[str, RouteTable]:
        return {name: table for name, table, fixed in self._registry.routes() if not fixed}


def check_routes(data_dir: Path, report: Report) -> None:
    """Whether the file of the routes can be read, and is as it was written."""
    path = data_dir / FILE_NAME
    if not path.exists():
        return
    report.count("files")
    try:
        report.count("routes", len(_read(path)))
    except ConfigError as exc:
        report.find(path, "", exc.message)


def _read(path: Path) -> dict[str, RouteTable]:
    """No file: no routes. Raises `ConfigError`."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise ConfigError(f"{path} is damaged: {exc}") from exc
    if kept.version != VERSION:
        raise ConfigError(f"{path} is of version {kept.version}, which this release does not know")
    if kept.sum and kept.sum != file_sum(msgspec.json.encode(kept.routes)):
        raise ConfigError(f'{path} does not match its checksum: it is damaged; if you changed it, remove its "sum"')
    try:
        return {name: read_table(table, RouteTable, where=f"routes.{name}") for name, table in kept.routes.items()}
    except InputError as exc:
        raise ConfigError(f"{path} is damaged: {exc.message}") from exc


def _replace(path: Path, data: bytes) -> None:
    """Durable when it returns; readable by the owner only, as the log beside it. Raises `OSError`."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
