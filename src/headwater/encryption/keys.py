"""The key ring: the keys that records are sealed with. The first one seals, the others still open.

A key's id is a part of its own digest, so that a wrong key is never taken for a missing one that records name. A ring
comes from a variable (keys in base64, separated by commas) or from a file, which Headwater can add keys to.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..errors import ConfigError

KEY_BYTES = 32
ID_BYTES = 4
VERSION = 1
MAX_KEYS = 1000


class Key(msgspec.Struct, frozen=True):
    """`created_ms`: 0 where nobody knows. `repr` does not tell the secret."""

    secret: bytes
    created_ms: int = 0

    @property
    def id(self) -> bytes:
        return hashlib.sha256(b"headwater key id\0" + self.secret).digest()[:ID_BYTES]

    @property
    def name(self) -> str:
        """The id as people see it."""
        return self.id.hex()

    def __repr__(self) -> str:
        return f"Key({self.name})"


class _KeptKey(msgspec.Struct):
    id: str
    created_ms: int
    key: str


class _File(msgspec.Struct):
    version: int
    keys: list[_KeptKey]


class KeyRing:
    """At least one key, the newest first. Raises `ConfigError` for none, too many or the same twice."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        if not self.keys:
            raise ConfigError("the key ring is empty")
        if len(self.keys) > MAX_KEYS:
            raise ConfigError(f"the key ring holds more than {MAX_KEYS} keys")
        if len({key.id for key in self.keys}) < len(self.keys):
            raise ConfigError("the key ring holds a key twice")

    @property
    def active(self) -> Key:
        return self.keys[0]

    @property
    def names(self) -> list[str]:
        return [key.name for key in self.keys]

    def with_key(self, key: Key) -> KeyRing:
        """The same ring with a key that seals from now on."""
        return KeyRing([key, *self.keys])

    @classmethod
    def from_text(cls, text: str) -> KeyRing:
        """Keys in base64, separated by commas. Raises `ConfigError`, which never quotes any of it."""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return cls(Key(_decoded(part, f"key {number} of {len(parts)}")) for number, part in enumerate(parts, 1))

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Raises `ConfigError`, also for a file that others may read."""
        try:
            mode = path.stat().st_mode
            data = path.read_bytes()
        except FileNotFoundError:
            raise ConfigError(
                f"there is no key ring {path}: `headwater encryption rotate` makes one with a first key"
            ) from None
        except OSError as exc:
            raise ConfigError(f"cannot read the key ring {path}: {exc.strerror}") from exc
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"the key ring {path} is open to others: chmod 600")
        try:
            kept = msgspec.json.decode(data, type=_File)
        except (msgspec.DecodeError, UnicodeError) as exc:
            # Not told from what: it may quote a key.
            raise ConfigError(f"the key ring {path} is damaged: it is no JSON of the right shape") from exc
        if kept.version != VERSION:
            raise ConfigError(f"the key ring {path} is of version {kept.version}, which this release does not know")
        keys = []
        for each in kept.keys:
            key = Key(_decoded(each.key, f"{path}: key {each.id[:16]}"), each.created_ms)
            if key.name != each.id:
                raise ConfigError(f"{path}: key {each.id[:16]} is damaged: its id is not its own")
            keys.append(key)
        return cls(keys)

    def save(self, path: Path) -> None:
        """Replace the file as a whole; durable, and readable by its owner only. Raises `ConfigError`."""
        keys = [_KeptKey(key.name, key.created_ms, base64.b64encode(key.secret).decode()) for key in self.keys]
        data = msgspec.json.format(msgspec.json.encode(_File(VERSION, keys)), indent=2) + b"\n"
        new = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            _sync(path.parent)
        except OSError as exc:
            raise ConfigError(f"cannot write the key ring {path}: {exc.strerror}") from exc


def new_key(now_ms: int) -> Key:
    return Key(secrets.token_bytes(KEY_BYTES), now_ms)


def _decoded(text: str, what: str) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ConfigError(f"{what} is not {KEY_BYTES} bytes in base64")
    return secret


def _sync(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
