"""The key ring: the keys that records are sealed with. The first one seals, the others still open.

A key's id is a part of its own digest, so that a wrong key is never taken for a missing one that records name. A ring
comes from a variable (keys in base64, separated by commas) or from a file, which Headwater can add keys to.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import msgspec

from ..errors import ConfigError

KEY_BYTES = 32
ID_BYTES = 4
VERSION = 1
MAX_KEYS = 1000
# Who writes a ring has it for a few milliseconds.
LOCK_WAIT_S = 10.0
_LOCK_RETRY_S = 0.02


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

    def settled(self, now_ms: int, wait_ms: float) -> KeyRing:
        """To work with, never to save: keys younger than `wait_ms` stand at the end, so that they open but do not seal.

        Where all are as young, the oldest seals.
        """
        young = list(takewhile(lambda key: now_ms - key.created_ms < wait_ms, self.keys[:-1]))
        return KeyRing([*self.keys[len(young) :], *young])

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
        """Replace the file as a whole; durable, and readable by its owner only, who stays. Raises `ConfigError`.

        A symbolic link stays, too. Who adds to a ring that others may write uses `add_key`.
        """
        path = path.resolve()
        keys = [_KeptKey(key.name, key.created_ms, base64.b64encode(key.secret).decode()) for key in self.keys]
        data = msgspec.json.format(msgspec.json.encode(_File(VERSION, keys)), indent=2) + b"\n"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number, new = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(data)
                    file.flush()
                    _give_to_owner_of(path, file.fileno())
                    os.fsync(file.fileno())
                os.replace(new, path)
            except BaseException:
                Path(new).unlink(missing_ok=True)
                raise
            _sync(path.parent)
        except OSError as exc:
            raise ConfigError(f"cannot write the key ring {path}: {exc.strerror}") from exc


def new_key(now_ms: int) -> Key:
    return Key(secrets.token_bytes(KEY_BYTES), now_ms)


def add_key(path: Path, now_ms: int, *, age_ms: float | None = None) -> tuple[KeyRing, Key | None]:
    """The ring as it is then, on disk, and the key that was added to it. Raises `ConfigError`.

    Without `age_ms` a first key makes the ring; with it a key is added only to a ring that is there, and only where
    the newest key is that old. For any number of processes at a time: no writer loses another's key.
    """
    path = path.resolve()
    with _the_only_writer(path):
        if age_ms is None and not path.exists():
            ring = KeyRing([new_key(now_ms)])
        else:
            ring = KeyRing.load(path)
            if age_ms is not None and now_ms - ring.active.created_ms < age_ms:
                return ring, None
            ring = ring.with_key(new_key(now_ms))
        ring.save(path)
    return ring, ring.active


@contextmanager
def _the_only_writer(path: Path) -> Iterator[None]:
    """Among all processes. The lock is a file of its own, because the ring's is replaced, and it stays."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = _opened(lock, path)
    except OSError as exc:
        raise ConfigError(f"cannot write the key ring {path}: {lock}: {exc.strerror}") from exc
    try:
        _lock(number, path)
        yield
    finally:
        os.close(number)


def _opened(lock: Path, ring: Path) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        number = os.open(lock, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        # Its owner stays who it is: it may be another name of a file that root must not give away.
        return os.open(lock, flags)
    try:
        _give_to_owner_of(ring, number)
    except BaseException:
        os.close(number)
        lock.unlink(missing_ok=True)
        raise
    return number


def _give_to_owner_of(ring: Path, number: int) -> None:
    """So that a server can still use what root wrote. Nothing where there is no ring yet."""
    try:
        owner = ring.stat()
    except FileNotFoundError:
        return
    own = os.fstat(number)
    if (own.st_uid, own.st_gid) == (owner.st_uid, owner.st_gid):
        return
    try:
        os.fchown(number, owner.st_uid, owner.st_gid)
    except OSError as exc:
        # The group does not matter: it may not even read the file.
        if own.st_uid != owner.st_uid:
            raise ConfigError(
                f"the key ring {ring} belongs to user {owner.st_uid}, to whom the new one cannot be given"
                f" ({exc.strerror}): write it as that user"
            ) from exc


def _lock(number: int, path: Path) -> None:
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise ConfigError(f"another process is writing the key ring {path}") from None
        except OSError as exc:
            raise ConfigError(f"the key ring {path} cannot be locked: {exc.strerror}") from exc
        else:
            return
        time.sleep(_LOCK_RETRY_S)


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
