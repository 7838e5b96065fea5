"""API keys as texts: how one is made, what is kept of it, and those that stand in the settings.

Only SHA-256 digests are kept. A slow hash (argon2, bcrypt) makes guessing a *weak* secret expensive; a key has 238
random bits, which no speed of hashing brings within reach, and a slow hash would cost every request milliseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import ConfigError

# The form is for scanners of leaked secrets, too: a fixed beginning, then letters and digits only.
MARK = "hw_"
PREFIX_CHARACTERS = 8
SECRET_CHARACTERS = 40
_ALPHABET = string.digits + string.ascii_letters
_FORM = re.compile(rb"hw_[0-9A-Za-z]{8}_[0-9A-Za-z]{32,64}")

_DIGEST_PREFIX = "sha256:"
_OWNER_DIGITS = 32


class NewKey(NamedTuple):
    """`text` is shown once. `prefix`: its public beginning, by which people tell keys apart. `digest`: hex."""

    text: str
    prefix: str
    digest: str


def new_key() -> NewKey:
    prefix = MARK + _random(PREFIX_CHARACTERS)
    text = f"{prefix}_{_random(SECRET_CHARACTERS)}"
    return NewKey(text, prefix, hashlib.sha256(text.encode()).hexdigest())


def looks_like_key(presented: bytes) -> bool:
    """Whether the database need be asked at all."""
    return _FORM.fullmatch(presented) is not None


def _random(characters: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(characters))


class KeyRing:
    """The keys of the settings, as digests only. Raises `ConfigError` for a malformed one."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)
        self.owners = frozenset(digest.hex()[:_OWNER_DIGITS] for digest in self._digests)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def owner(self, presented: bytes) -> str | None:
        """The owner name behind a key, or `None`. Takes the same time whichever key it is, or none."""
        return self.owner_of_digest(hashlib.sha256(presented).digest())

    def owner_of_digest(self, digest: bytes) -> str | None:
        known = False
        for candidate in self._digests:
            known |= hmac.compare_digest(candidate, digest)
        return digest.hex()[:_OWNER_DIGITS] if known else None


def _digest(key: str) -> bytes:
    if not key.startswith(_DIGEST_PREFIX):
        return hashlib.sha256(key.encode()).digest()
    try:
        digest = bytes.fromhex(key.removeprefix(_DIGEST_PREFIX))
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ConfigError("an API key that starts with sha256: must be followed by 64 hex digits")
    return digest
