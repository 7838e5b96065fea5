"""Text that both databases take, and text compared without regard to case and accents.

`fold` is one rule in two places: SQLite calls the Python function (`database` registers it as `headwater_fold`),
PostgreSQL computes the same with `normalize` and a regular expression that does not depend on the database's locale.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

from sqlalchemy import ColumnElement, LargeBinary, cast, func, literal, literal_column

# NUL is what PostgreSQL cannot keep in a text, lone surrogates are what UTF-8 cannot carry.
_REFUSED = re.compile("[\x00\ud800-\udfff]")
# Unicode's blocks of combining diacritical marks. Vowel signs of other scripts are letters, and stay.
_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_remove_marks = re.compile(f"[{_MARKS}]+").sub
# Further than any JSON of ours; what lies deeper is left out rather than a limit of the interpreter met.
MAX_DEPTH: Final = 100

FOLD_FUNCTION: Final = "headwater_fold"


def is_storable(text: str) -> bool:
    return (text.isascii() and "\x00" not in text) or _REFUSED.search(text) is None


def storable(text: str) -> str:
    """`text` with what a database cannot hold replaced by U+FFFD."""
    return text if is_storable(text) else _REFUSED.sub("\ufffd", text)


def storable_json(value: object, *, depth: int = MAX_DEPTH) -> object:
    """`value` (JSON as Python has it) as both databases take it: see `storable`; NaN and infinities become null."""
    if depth <= 0:
        return None
    match value:
        case str():
            return storable(value)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {storable(str(key)): storable_json(item, depth=depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [storable_json(item, depth=depth - 1) for item in value]
        case _:
            return value


def fold(text: str) -> str:
    """Case and accents removed: `École` and `ECOLE` give `ecole`, `Straße` gives `strasse`."""
    if text.isascii():
        return text.lower()
    return _remove_marks("", unicodedata.normalize("NFKD", text)).casefold()


def fold_stored(text: bytes | None) -> str:
    """`fold` as SQLite calls it: with bytes, since a text that is none any more would fail the whole query."""
    return fold(text.decode("utf-8", "replace")) if text else ""


def contains_folded(column: ColumnElement[str], text: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether `column` contains `text`, both folded. No character of it has a special meaning."""
    folded = fold(text)
    if is_sqlite:
        return func.instr(getattr(func, FOLD_FUNCTION)(cast(column, LargeBinary)), folded) > 0
    plain = func.regexp_replace(func.normalize(column, literal_column("NFKD")), f"[{_MARKS}]+", "", "g")
    # What `casefold` does beyond single letters' case, and after NFKD is left over.
    for letter, folded_letter in (("ß", "ss"), ("ẞ", "ss"), ("ς", "σ")):
        plain = func.replace(plain, letter, folded_letter)
    return plain.op("~")(literal("".join(map(_in_any_case, folded))))


def _in_any_case(character: str) -> str:
    """A regular expression that matches it in any case, also where the database's locale knows only ASCII's."""
    cases = {character, character.upper(), character.lower(), character.title()}
    found = sorted(case for case in cases if len(case) == 1 and case.casefold() == character)
    if len(found) > 1:
        return f"[{''.join(found)}]"
    return character if character.isalnum() or not character.isascii() else f"\\{character}"
