"""Sealed records: AES-256-GCM with a key derived for each stream and each table.

A sealed record is `E`, a version, the key's id (4 bytes), a nonce (12) and the ciphertext with its tag (16). The
derived key is HMAC-SHA256(key, purpose): so no derived key seals more than one stream or one table, and random nonces
stay far below the 2^32 records a key that NIST SP 800-38D section 8.3 allows. Authenticated with it are the head and
the record's place (`context`): a record that is put in the place of another does not open.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .keys import ID_BYTES, KeyRing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_HEAD = b"E\x01"
_HEAD_BYTES = len(_HEAD) + ID_BYTES
_NONCE_BYTES = 12
_TAG_BYTES = 16
OVERHEAD_BYTES = _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES
_PURPOSE = b"headwater 1\0"
# One a live stream; each takes about half a KiB, and some 6 µs to make.
_CIPHERS = 4096


class Unsealable(Exception):
    """The record is damaged, in another's place, or its key is not in the ring."""


def is_sealed(record: bytes) -> bool:
    """Nothing that is stored plain begins so: segments begin with 1, deflate with x, JSON with a bracket."""
    return record[:2] == _HEAD


def key_of(record: bytes) -> bytes:
    """The id of the key that a sealed record needs."""
    return record[len(_HEAD) : _HEAD_BYTES]


class Sealer:
    """Seals with the ring's first key and opens with all. For any thread."""

    def __init__(self, ring: KeyRing) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._new_cipher, self._invalid = AESGCM, InvalidTag
        self._cipher = lru_cache(maxsize=_CIPHERS)(self._make_cipher)
        self.adopt(ring)

    def adopt(self, ring: KeyRing) -> None:
        """Go on with another ring."""
        self.ring = ring
        self._secrets = {key.id: key.secret for key in ring.keys}
        self._active = ring.active.id
        self._head = _HEAD + self._active
        self._cipher.cache_clear()

    @property
    def active(self) -> bytes:
        """The id of the key that seals."""
        return self._active

    def seal(self, purpose: bytes, context: bytes, plain: bytes) -> bytes:
        head, key_id = self._head, self._head[len(_HEAD) :]
        nonce = os.urandom(_NONCE_BYTES)
        return head + nonce + self._cipher(key_id, purpose).encrypt(nonce, plain, head + context)

    def open(self, purpose: bytes, context: bytes, sealed: bytes) -> bytes:
        """Raises `Unsealable`."""
        key_id = key_of(sealed)
        if len(sealed) < OVERHEAD_BYTES:
            raise Unsealable("it is cut off")
        if key_id not in self._secrets:
            raise Unsealable(f"it needs the key {key_id.hex()}, which is not in the key ring")
        nonce, text = sealed[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES], sealed[_HEAD_BYTES + _NONCE_BYTES :]
        try:
            return self._cipher(key_id, purpose).decrypt(nonce, text, sealed[:_HEAD_BYTES] + context)
        except self._invalid as exc:
            raise Unsealable("it does not open: it is damaged, or another record's") from exc

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the key names that the ring does not have."""
        return sorted(set(names) - set(self.ring.names))

    def _make_cipher(self, key_id: bytes, purpose: bytes) -> AESGCM:
        return self._new_cipher(hmac.digest(self._secrets[key_id], _PURPOSE + purpose, "sha256"))


def refuse_missing_keys(where: str, names: list[str], sealer: Sealer | None) -> None:
    """`names`: of the keys that records in `where` need. Raises `ConfigError`."""
    if names and sealer is None:
        raise ConfigError(
            f"{where} is encrypted with {_named(names)}: set encryption_keys_file (or HEADWATER_ENCRYPTION_KEYS)"
        )
    if sealer is not None and (missing := sealer.missing(names)):
        raise ConfigError(
            f"{where} needs {_named(missing)}, and the key ring holds {_named(sealer.ring.names)}: a key is wrong, or"
            " was removed while records still need it"
        )


def _named(names: list[str]) -> str:
    return f"the key {names[0]}" if len(names) == 1 else f"the keys {', '.join(names)}"
