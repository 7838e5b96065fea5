"""One stream's figures in slots of time, so that those of a period can be told, also after its end.

Bounded whatever the stream does: when there are too many slots, two become one and their width doubles. A slot that is
over is held as it is stored, some hundred bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ..streams.log import Outcome
from .sketch import Sketch, keys_of

MAX_SLOTS = 32
FIRST_WIDTH_S = 5


class Slot(msgspec.Struct, array_like=True):
    """What happened in a slot. `returned`: of the viewers that came, those with a cursor; the rest as in `Counts`.

    New fields are added at the end: rows on disk have those that there were.
    """

    texts: int = 0
    text_bytes: int = 0
    attached: int = 0
    returned: int = 0
    drops: int = 0
    retransmissions: int = 0
    packets_lost: int = 0
    gaps: Sketch = msgspec.field(default_factory=Sketch)
    rtt: Sketch = msgspec.field(default_factory=Sketch)

    @property
    def is_empty(self) -> bool:
        return not (self.texts or self.attached or self.drops or self.gaps.bins or self.rtt.bins)

    def merge(self, other: Slot) -> None:
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.gaps.merge(other.gaps)
        self.rtt.merge(other.rtt)


_NUMBERS = tuple(name for name in Slot.__struct_fields__ if name not in ("gaps", "rtt"))
_encode_slot = msgspec.msgpack.Encoder().encode
_decode_slot = msgspec.msgpack.Decoder(Slot).decode


class Recorded(msgspec.Struct, array_like=True):
    """As it is kept. Unix milliseconds; `end_ms`: of the stream's end, or of now. `slots`: encoded, b"" where empty.

    `whole`: whether the stream was seen from its start on. `outcome` None: it runs.
    """

    began_ms: float
    end_ms: float
    width_ms: float
    whole: bool
    outcome: Outcome | None
    slots: list[bytes]

    def between(self, start_ms: float, end_ms: float) -> Cut:
        """The slots that a period touches, as one, and the time that they are of."""
        whole = Slot()
        first_ms, last_ms = self.end_ms, self.began_ms
        for place, data in enumerate(self.slots):
            slot_ms = self.began_ms + place * self.width_ms
            # What follows the last slot's time is the last slot's.
            after_ms = self.end_ms if place == len(self.slots) - 1 else min(slot_ms + self.width_ms, self.end_ms)
            if slot_ms > end_ms or after_ms < start_ms:
                continue
            first_ms, last_ms = min(first_ms, slot_ms), max(last_ms, after_ms)
            if data:
                whole.merge(_decode_slot(data))
        return Cut(whole, first_ms, max(first_ms, last_ms))


class Cut(NamedTuple):
    slot: Slot
    start_ms: float
    end_ms: float


class Track:
    """`open`: the slot under way. `call`: the gaps of the provider's call under way. `gaps`: seconds between deliveries
    that are in neither yet, always the same list. `told`: how many of them whoever adds up all streams has seen, and
    `keys`: of the first of them, which it has told. `began_s` on the loop's clock is `began_ms` on the wall's.
    """

    __slots__ = ("_closed", "_width_s", "began_ms", "began_s", "call", "gaps", "keys", "open", "told", "whole")

    def __init__(self, began_s: float, began_ms: float, *, whole: bool) -> None:
        self.began_s = began_s
        self.began_ms = began_ms
        self.whole = whole
        self.gaps: list[float] = []
        self.keys: list[int] = []
        self.told = 0
        self.open = Slot()
        self.call = Sketch()
        self._width_s: float = FIRST_WIDTH_S
        self._closed: list[bytes] = []

    def untold(self) -> list[float]:
        """The gaps that have come since the last time. Ask before they go into a slot."""
        gaps = self.gaps[self.told :] if self.told else self.gaps.copy()
        self.told = len(self.gaps)
        return gaps

    def roll(self, now: float) -> None:
        """Close the slots that are over; call it about once a second."""
        place = int((now - self.began_s) / self._width_s)
        while len(self._closed) < place:
            self._settle()
            self._closed.append(b"" if self.open.is_empty else _encode_slot(self.open))
            self.open = Slot()
            if len(self._closed) == MAX_SLOTS:
                self._widen()
                place = int((now - self.began_s) / self._width_s)

    def _settle(self) -> None:
        gaps, keys = self.gaps, self.keys
        if gaps:
            more = Sketch()
            more.add_all(gaps, keys + keys_of(gaps[len(keys) :]))
            self.open.gaps.merge(more)
            self.call.merge(more)
            gaps.clear()
            keys.clear()
        self.told = 0

    def end_call(self) -> Sketch:
        """The gaps of the call that is over; what comes now is of another."""
        self._settle()
        call, self.call = self.call, Sketch()
        return call

    def _widen(self) -> None:
        self._width_s *= 2
        closed, self._closed = self._closed, []
        for left, right in zip(closed[::2], closed[1::2], strict=True):
            if left and right:
                both = _decode_slot(left)
                both.merge(_decode_slot(right))
                self._closed.append(_encode_slot(both))
            else:
                self._closed.append(left or right)

    def recorded(self, now: float, outcome: Outcome | None = None) -> Recorded:
        """As it is now."""
        self._settle()
        return Recorded(
            self.began_ms,
            self.began_ms + (now - self.began_s) * 1000,
            self._width_s * 1000,
            self.whole,
            outcome,
            [*self._closed, b"" if self.open.is_empty else _encode_slot(self.open)],
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Recorded).decode


def encode_recorded(recorded: Recorded) -> bytes:
    """As it is stored: about a hundred bytes for each slot in which something happened."""
    return _encode(recorded)


def decode_recorded(row: bytes) -> Recorded | None:
    """None for what is none, as after damage."""
    try:
        recorded = _decode(row)
        recorded.between(recorded.began_ms, recorded.end_ms)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return recorded
