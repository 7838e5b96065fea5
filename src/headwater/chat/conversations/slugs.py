"""Slugs: the part of an address that names a workspace, or a thread in its workspace."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from ...errors import InputError
from ...store.texts import fold

# Room for a number behind it, in a column of 128.
MADE_CHARACTERS = 100
_SLUG = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_OTHER = re.compile(r"[^a-z0-9]+")


def slug_of(name: str, *, otherwise: str) -> str:
    """`name` in ASCII, lower case, its words joined by dashes; `otherwise` where nothing of it is left."""
    return _OTHER.sub("-", fold(name)).strip("-")[:MADE_CHARACTERS].rstrip("-") or otherwise


def check_slug(slug: str) -> str:
    """A slug that the caller chose. Raises `InputError`."""
    # Dots alone would be lost from an address: clients resolve `a/../b`.
    if not _SLUG.fullmatch(slug) or not slug.strip("."):
        raise InputError("a slug is 1 to 128 letters, digits and -_. (and not dots alone)", param="slug")
    return slug


async def free_slug(base: str, is_taken: Callable[[str], Awaitable[bool]]) -> str:
    """`base`, or the first of `base-2`, `base-3` … that is free; asks a number of times that grows as the logarithm."""
    if not await is_taken(base):
        return base
    taken, free = 1, 2
    while await is_taken(f"{base}-{free}"):
        taken, free = free, free * 2
    while free - taken > 1:
        middle = (taken + free) // 2
        if await is_taken(f"{base}-{middle}"):
            taken = middle
        else:
            free = middle
    return f"{base}-{free}"
