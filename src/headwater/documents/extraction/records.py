"""What extraction is asked with and what it gives. Knows no format and no library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

MIB = 1024 * 1024


class ReadLimits(msgspec.Struct, frozen=True):
    """What one document may cost. All are security limits: documents come from strangers.

    `max_ratio`: a zip's expanded size over its packed size; Word files stay below 50. `max_memory_bytes`: address
    space of the worker process. `timeout_s`: wall time and, beside it, CPU time.
    """

    max_bytes: int = 50 * MIB
    max_pages: int = 2_000
    max_characters: int = 20_000_000
    max_expanded_bytes: int = 500 * MIB
    max_ratio: float = 200.0
    timeout_s: float = 300.0
    max_memory_bytes: int = 2_048 * MIB


class Progress(msgspec.Struct, frozen=True):
    """`done` of `total` units. `total` of passages is an estimate until the last, which has `done == total`."""

    stage: Literal["extraction", "chunking"]
    done: int
    total: int
    unit: str


Report = Callable[[Progress], None]


class Given(NamedTuple):
    """A document as its extractor gets it. `charset`: as declared beside the bytes; "" where it was not."""

    content: bytes
    charset: str
    limits: ReadLimits


class Extracted(NamedTuple):
    """The text of a document and where its parts begin, in characters.

    `pages[i]` is the start of page i + 1, in ascending order; empty for formats without pages. `sections` are
    (start, path) in ascending order; a path is "Heading > Sub".
    """

    text: str
    media_type: str
    markup: Literal["plain", "markdown"]
    pages: list[int]
    sections: list[tuple[int, str]]
