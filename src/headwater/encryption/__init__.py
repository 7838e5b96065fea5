"""Encryption at rest: a ring of keys, and records that are sealed with them (decision 0015).

Knows no log, no database and no setting. `cryptography` is imported when the first sealer is made.
"""

from __future__ import annotations

from .keys import Key, KeyRing, add_key, new_key
from .sealing import OVERHEAD_BYTES, Sealer, Unsealable, is_sealed, key_of, refuse_missing_keys

__all__ = [
    "OVERHEAD_BYTES",
    "Key",
    "KeyRing",
    "Sealer",
    "Unsealable",
    "add_key",
    "is_sealed",
    "key_of",
    "new_key",
    "refuse_missing_keys",
]
