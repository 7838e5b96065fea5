"""Cursors: the position of a viewer, `epoch.seq` as text (`1.57`), sent as the SSE `id:`.

The seq is the last one that the viewer has; `-1` (in memory only) stands for "nothing yet".
"""

from __future__ import annotations

from typing import NamedTuple


class Cursor(NamedTuple):
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"


def parse_cursor(text: str) -> Cursor | None:
    """`None` for anything that is not a cursor of ours: the caller answers that with `reset`, never with an error."""
    epoch, dot, seq = text.partition(".")
    # isdecimal also accepts other scripts' digits, and 19 digits bound what int() must parse (CVE-2020-10735).
    if not (dot and epoch.isascii() and seq.isascii() and epoch.isdecimal() and seq.isdecimal()):
        return None
    if len(epoch) > 19 or len(seq) > 19:
        return None
    return Cursor(int(epoch), int(seq))
