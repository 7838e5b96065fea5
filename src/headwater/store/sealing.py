"""Which columns of the chat backend are sealed, and how: the one seam between records and their rows.

Whoever writes one of these columns calls `sealed` before, whoever reads one calls `opened` after, both with the
connection. Without a key both only see to it that no plain text can be taken for a sealed one. A sealed value is bound
to its table, its column and its row: one that was put elsewhere does not open. Texts and JSON hold base64.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec
from sqlalchemy import JSON, LargeBinary, RowMapping, Table

from ..encryption import Sealer, Unsealable, is_sealed
from ..encryption import key_of as key_of_record
from ..errors import StoreCorrupt
from ..integrity import shown
from . import tables

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Row = TypeVar("_Row")

OPTION: Final = "headwater_seals"
# What a JSON column gives that holds none any more.
BROKEN: Final = object()
# Damaged values that are told in the log, so that a failing disk does not fill it.
_MAX_TOLD = 1000
# Before a sealed value, and before a plain one that begins so. U+0001 is in no text that people write.
MARK: Final = "\x01hw1:"
_ESCAPE: Final = "\x01hw0:"
_MARK_BYTES, _ESCAPE_BYTES = MARK.encode(), _ESCAPE.encode()

RowKey: TypeAlias = tuple[object, ...]


class Sealed(NamedTuple):
    """`key`: the columns that name the row, and `columns`: those that are sealed."""

    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]


SEALED: Final = {
    sealed.table.name: sealed
    for sealed in (
        Sealed(tables.workspaces, ("id",), ("name", "system_prompt", "refusal", "metadata")),
        Sealed(tables.threads, ("id",), ("title", "metadata")),
        Sealed(tables.messages, ("id",), ("content", "parts", "reasoning", "error", "usage", "sources", "metadata")),
        Sealed(tables.documents, ("id",), ("name", "error", "metadata")),
        Sealed(tables.document_versions, ("document_id", "version"), ("sha256", "content", "text")),
        Sealed(tables.passages, ("document_id", "version", "ordinal"), ("text", "section")),
        Sealed(tables.embeddings, ("passage_id", "model"), ("vector",)),
    )
}


class Seals:
    """`sealer` None: nothing is sealed, and what is sealed cannot be read. For any thread."""

    def __init__(self, sealer: Sealer | None = None) -> None:
        self.sealer = sealer
        self._told: set[str] = set()

    def seal(self, table: Table, key: RowKey, column: str, value: Any) -> Any:
        """A value as it is stored. None and "" say nothing, and stay."""
        if value is None or value in ("", b""):
            return value
        if self.sealer is None:
            return _escaped(value)
        if isinstance(value, str):
            plain = value.encode()
        elif isinstance(value, bytes):
            plain = value
        else:
            plain = msgspec.json.encode(value)
        record = self.sealer.seal(table.name.encode(), _context(column, key), plain)
        return _MARK_BYTES + record if isinstance(value, bytes) else MARK + base64.b64encode(record).decode()

    def open(self, table: Table, key: RowKey, column: str, stored: Any) -> Any:
        """The inverse. What is not sealed was stored before there was a key. Raises `StoreCorrupt`."""
        if isinstance(stored, memoryview):
            stored = bytes(stored)
        if not _is_of(table, column, stored):
            raise StoreCorrupt(f"{_place(table, column, key)} is not what can have been stored there")
        record = _record(stored)
        if record is None:
            return _unescaped(stored)
        where = _place(table, column, key)
        if self.sealer is None:
            raise StoreCorrupt(f"{where} is encrypted, and there is no key ring")
        try:
            plain = self.sealer.open(table.name.encode(), _context(column, key), record)
        except Unsealable as exc:
            raise StoreCorrupt(f"{where} cannot be decrypted: {exc}") from exc
        if isinstance(stored, bytes):
            return plain
        return plain.decode() if _is_text(table, column) else msgspec.json.decode(plain)

    def tell(self, exc: StoreCorrupt) -> None:
        """Once for each value; the message names table, column and row, and nothing of what they hold."""
        if exc.message not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(exc.message)
            _log.error("%s", exc.message)


def seals_of(connection: AsyncConnection) -> Seals:
    found: Seals = connection.sync_connection.get_execution_options()[OPTION]  # type: ignore[union-attr]
    return found


def sealed(connection: AsyncConnection, table: Table, key: RowKey, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as they are stored in the row with this key."""
    seals, columns = seals_of(connection), SEALED[table.name].columns
    return {name: seals.seal(table, key, name, value) if name in columns else value for name, value in values.items()}


def opened(
    connection: AsyncConnection,
    table: Table,
    row: Mapping[str, Any] | RowMapping,
    key: RowKey | None = None,
    *,
    instead: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A row, or some columns of it, as they were before. `key` None: the row has its columns. Raises `StoreCorrupt`.

    `instead`: for lists, what sealed columns give that do not open, which is told in the log.
    """
    seals, what = seals_of(connection), SEALED[table.name]
    if key is None:
        key = tuple(row[name] for name in what.key)
    plain = {}
    for name, value in row.items():
        if name in what.columns:
            try:
                plain[name] = seals.open(table, key, name, value)
            except StoreCorrupt as exc:
                if instead is None or name not in instead:
                    raise
                seals.tell(exc)
                plain[name] = instead[name]
        elif isinstance(value, str) and not _is_unicode(value):
            raise StoreCorrupt(f"{_place(table, name, key)} is not what can have been stored there")
        else:
            plain[name] = value
    return plain


def readable(
    connection: AsyncConnection, rows: Iterable[_Row], read: Callable[[AsyncConnection, _Row], _T]
) -> list[_T]:
    """What `read` makes of those rows that open. The others are told in the log, and keep nobody from the rest."""
    found = []
    for row in rows:
        try:
            found.append(read(connection, row))
        except StoreCorrupt as exc:
            seals_of(connection).tell(exc)
    return found


def loads(stored: str) -> Any:
    """A JSON column's value; `BROKEN` where it is none, so that it fails its own row and no other."""
    try:
        stored.encode()
        return json.loads(stored)
    except (ValueError, TypeError, AttributeError):
        return BROKEN


def key_of(stored: object) -> bytes | None:
    """The id of the key that a stored value is sealed with; None: it is plain."""
    record = _record(stored)
    return None if record is None else key_of_record(record)


def _record(stored: object) -> bytes | None:
    if isinstance(stored, str) and stored.startswith(MARK):
        try:
            record = base64.b64decode(stored[len(MARK) :], validate=True)
        except ValueError:  # also what is no ASCII
            record = b""  # too short to open
        return record
    if isinstance(stored, bytes) and stored.startswith(_MARK_BYTES) and is_sealed(stored[len(_MARK_BYTES) :]):
        return stored[len(_MARK_BYTES) :]
    return None


def _escaped(value: Any) -> Any:
    if isinstance(value, str) and value.startswith((MARK, _ESCAPE)):
        return _ESCAPE + value
    if isinstance(value, bytes) and value.startswith((_MARK_BYTES, _ESCAPE_BYTES)):
        return _ESCAPE_BYTES + value
    return value


def _unescaped(stored: Any) -> Any:
    if isinstance(stored, str):
        return stored.removeprefix(_ESCAPE)
    return stored.removeprefix(_ESCAPE_BYTES) if isinstance(stored, bytes) else stored


def _context(column: str, key: RowKey) -> bytes:
    return "\0".join([column, *map(str, key)]).encode("utf-8", "surrogatepass")


def _is_of(table: Table, column: str, stored: object) -> bool:
    """Whether the column can hold this. One flipped bit makes a text bytes, nothing, or no text at all."""
    if stored is None:
        return bool(table.c[column].nullable)
    kind = table.c[column].type
    if isinstance(kind, JSON):
        return stored is not BROKEN
    if isinstance(kind, LargeBinary):
        return isinstance(stored, bytes)
    return isinstance(stored, str) and _is_unicode(stored)


def _is_unicode(text: str) -> bool:
    """False: bytes that were no UTF-8 became surrogates when they were read."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(table: Table, column: str, key: RowKey) -> str:
    return f"{table.name}.{column} of {shown(' '.join(map(str, key)))}"


def _is_text(table: Table, column: str) -> bool:
    return table.c[column].type.python_type is str
