"""What is checked of a caller's values before they reach the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

import msgspec

from ...errors import InputError
from ...events import JsonObject
from ...store.numbers import MAX_NUMBER
from ...store.texts import is_storable, storable, storable_json
from ..records import MAX_NAME_CHARACTERS

MAX_METADATA_BYTES = 65_536
# As deep as a prompt or a client's settings may go; far below what the interpreter can follow.
MAX_METADATA_DEPTH = 32
MAX_PAGE = 1000

Fields = TypeVar("Fields", bound=Mapping[str, object])


def check_fields(fields: Mapping[str, object], kind: type[Fields]) -> JsonObject:
    """`fields` as columns' values. Raises `InputError` that names the field."""
    for name in fields:
        if name not in kind.__annotations__:
            raise InputError(f"there is no field {name[:100]!r}", param=name[:100])
    try:
        checked = dict(msgspec.convert(fields, kind))
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$.")
        param = path.rstrip("`")
        raise InputError(f"{param}: {text[:1].lower()}{text[1:]}", param=param) from exc
    if "metadata" in checked:
        checked["metadata"] = check_metadata(checked["metadata"])
    return {name: storable(value) if isinstance(value, str) else value for name, value in checked.items()}


def check_metadata(value: object) -> JsonObject:
    """What a client keeps beside a row. Raises `InputError`."""
    if not isinstance(value, dict):
        raise InputError("metadata must be an object", param="metadata")
    if is_deeper(value, MAX_METADATA_DEPTH):
        raise InputError(f"metadata is nested deeper than {MAX_METADATA_DEPTH}", param="metadata")
    try:
        size = len(msgspec.json.encode(storable_json(value)))
    except TypeError as exc:
        raise InputError("metadata must be JSON", param="metadata") from exc
    if size > MAX_METADATA_BYTES:
        raise InputError(f"metadata is larger than {MAX_METADATA_BYTES} bytes", param="metadata")
    return cast(JsonObject, storable_json(value))


def is_deeper(value: object, depth: int) -> bool:
    """Whether JSON is nested deeper than `depth`; level by level, so that no depth is too much to ask about."""
    level = [value]
    for _ in range(depth + 1):
        level = [inner for item in level if isinstance(item, dict | list) for inner in _inside(item)]
        if not level:
            return False
    return True


def _inside(value: dict[object, object] | list[object]) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else value


def check_name(text: str, *, param: str, empty: bool = True) -> str:
    """A name, title or model, without space around it. Raises `InputError`."""
    text = storable(text.strip())
    if len(text) > MAX_NAME_CHARACTERS or not (text or empty):
        least = "up to" if empty else "1 to"
        raise InputError(f"{param} must have {least} {MAX_NAME_CHARACTERS} characters", param=param)
    return text


def check_limit(limit: int) -> int:
    """How many rows a page may have. Raises `InputError`."""
    if not 1 <= limit <= MAX_PAGE:
        raise InputError(f"limit must be from 1 to {MAX_PAGE}", param="limit")
    return limit


def is_possible(ref: str | int) -> bool:
    """Whether a row can have this as its id, slug or number; what cannot be must not reach the database's driver."""
    return is_storable(ref) if isinstance(ref, str) else 1 <= ref <= MAX_NUMBER
