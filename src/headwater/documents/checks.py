"""What a document may be called, and carry."""

from __future__ import annotations

import msgspec

from ..errors import InputError
from ..events import JsonObject
from ..store.texts import storable, storable_json

MAX_NAME_CHARACTERS = 500
MAX_MEDIA_TYPE_CHARACTERS = 200


def checked_name(name: str) -> str:
    """Raises `InputError`."""
    name = storable(name.strip())
    if not name:
        raise InputError("the document's name is empty", param="name")
    if len(name) > MAX_NAME_CHARACTERS:
        raise InputError(f"the document's name is longer than {MAX_NAME_CHARACTERS} characters", param="name")
    return name


def checked_media_type(media_type: str) -> str:
    """Raises `InputError`."""
    if len(media_type) > MAX_MEDIA_TYPE_CHARACTERS:
        raise InputError("the document's media type is too long", param="media_type")
    return storable(media_type)


def checked_metadata(metadata: JsonObject | None, *, max_bytes: int) -> JsonObject:
    """Raises `InputError`."""
    if not metadata:
        return {}
    try:
        size = len(msgspec.json.encode(metadata))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InputError("the document's metadata is not JSON", param="metadata") from exc
    if size > max_bytes:
        raise InputError(f"the document's metadata is larger than {max_bytes} bytes", param="metadata")
    return {storable(key): storable_json(value) for key, value in metadata.items()}
