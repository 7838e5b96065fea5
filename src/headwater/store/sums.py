"""Checksums of the rows of a SQLite database: the table `row_sums`, which triggers keep, so that no write can miss it.

They are beside the rows and not in them: PostgreSQL looks after its pages itself (`initdb --data-checksums`), and
nothing that reads rows has to know. `headwater check` compares them; a row that is gone is told as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..integrity import sum_of
from ..integrity.sums import Value

SUM_FUNCTION = "headwater_sum"

TABLE = """
CREATE TABLE row_sums (kind TEXT NOT NULL, key TEXT NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (kind, key))
WITHOUT ROWID
"""


class Summed(NamedTuple):
    """A table whose rows are summed: its key's columns, the others, and those among them that are real numbers."""

    table: str
    key: Sequence[str]
    columns: Sequence[str]
    reals: frozenset[str] = frozenset()


def row_sum(*values: Value) -> int:
    """The SQL function `headwater_sum`."""
    return sum_of(values)


def statements(summed: Summed) -> Iterator[str]:
    """What brings the sums of an existing table up to date, and keeps them so from then on."""
    table = summed.table
    yield f"INSERT INTO row_sums SELECT {_values(summed, table)} FROM {table}"  # noqa: S608
    # No `INSERT OR REPLACE`: the conflict clause of the statement that fires a trigger goes before the trigger's own.
    its = f"kind = '{table}' AND key = "
    forget = f"DELETE FROM row_sums WHERE {its}"  # noqa: S608
    note = f"INSERT INTO row_sums VALUES ({_values(summed, 'new')})"  # noqa: S608
    change = f"UPDATE row_sums SET sum = {_sum(summed, 'new')} WHERE {its}{_key(summed, 'new')}"  # noqa: S608
    for when, work in (
        ("insert", f"{forget}{_key(summed, 'new')}; {note}"),
        ("update", change),
        ("delete", f"{forget}{_key(summed, 'old')}"),
    ):
        yield f"CREATE TRIGGER {table}_sum_{when} AFTER {when.upper()} ON {table} BEGIN {work}; END"


def mismatches(summed: Summed) -> str:
    """A query of the keys of rows that are not what was written, or not there, or there and never written."""
    table, key = summed.table, _key(summed, summed.table)
    return f"""
        SELECT {key} FROM {table} LEFT JOIN row_sums ON row_sums.kind = '{table}' AND row_sums.key = {key}
        WHERE row_sums.sum IS NOT {_sum(summed, table)}
        UNION ALL
        SELECT key FROM row_sums WHERE kind = '{table}' AND key NOT IN (SELECT {key} FROM {table})
    """  # noqa: S608


def holds(summed: Summed) -> str:
    """A condition on a row of the table: it is what was written."""
    its = f"kind = '{summed.table}' AND key = {_key(summed, summed.table)}"
    return f"(SELECT sum FROM row_sums WHERE {its}) IS {_sum(summed, summed.table)}"  # noqa: S608


def _values(summed: Summed, row: str) -> str:
    return f"'{summed.table}', {_key(summed, row)}, {_sum(summed, row)}"


def _key(summed: Summed, row: str) -> str:
    return " || char(31) || ".join(f'{row}."{column}"' for column in summed.key)


def _sum(summed: Summed, row: str) -> str:
    """Of the values as they are stored; as bytes, so that a text which is none any more is no error but a mismatch."""
    columns = (*summed.key, *summed.columns)
    parts = (f'{row}."{name}"' if name in summed.reals else f'CAST({row}."{name}" AS BLOB)' for name in columns)
    return f"{SUM_FUNCTION}({', '.join(parts)})"
