"""How a log's records are sealed: with a key of their stream, and bound to their kind and place in it."""

from __future__ import annotations

import struct
from typing import Literal, TypeAlias

from ..encryption import OVERHEAD_BYTES, Sealer, Unsealable, is_sealed
from ..errors import LogCorrupt

Kind: TypeAlias = Literal["journal", "archive", "request", "ended"]

_place = struct.Struct("<qq").pack


class Seals:
    """`sealer` None: nothing is sealed, and what is sealed cannot be read. For any thread."""

    def __init__(self, sealer: Sealer | None = None) -> None:
        self.sealer = sealer
        self.overhead_bytes = 0 if sealer is None else OVERHEAD_BYTES

    def seal(self, stream: str, kind: Kind, data: bytes, first_seq: int = 0, count: int = 0) -> bytes:
        if self.sealer is None:
            return data
        return self.sealer.seal(b"stream " + stream.encode(), kind.encode() + _place(first_seq, count), data)

    def open(self, stream: str, kind: Kind, data: bytes, first_seq: int = 0, count: int = 0) -> bytes:
        """What is not sealed is as it is: it was stored before there was a key. Raises `LogCorrupt`."""
        if not is_sealed(data):
            return data
        if self.sealer is None:
            raise LogCorrupt(f"the {kind} at seq {first_seq} is encrypted, and there is no key ring")
        try:
            return self.sealer.open(b"stream " + stream.encode(), kind.encode() + _place(first_seq, count), data)
        except Unsealable as exc:
            raise LogCorrupt(f"the {kind} at seq {first_seq} cannot be decrypted: {exc}") from exc


PLAIN = Seals()
