"""The encryption's part of the composition: the key ring by the settings, and its keys' age."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from pathlib import Path

from .config import Settings
from .encryption import KeyRing, Sealer, add_key
from .errors import ConfigError, HeadwaterError
from .logs import SqliteLog
from .server.ports import ChatServices
from .store import Store
from .streams import Log

_logger = logging.getLogger(__name__)

# How soon a running server knows of a key that was added to the ring.
LOOK_EVERY_S = 30.0


def settling_ms() -> int:
    """How old a key is when servers seal with it: by then all that share the ring have looked, and can open."""
    return round(2 * LOOK_EVERY_S * 1000)


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def open_sealer(settings: Settings, *, newest: bool = False) -> Sealer | None:
    """None where nothing is to be encrypted. `newest`: the newest key seals, however young. Raises `ConfigError`."""
    text, path = settings.encryption_keys.get_secret_value(), settings.encryption_keys_file
    if text and path is not None:
        raise ConfigError("encryption_keys and encryption_keys_file exclude each other")
    if settings.encryption_rotate_s and path is None:
        raise ConfigError("encryption_rotate_s needs encryption_keys_file, to which it adds the keys")
    if text:
        return Sealer(KeyRing.from_text(text))
    if path is None:
        return None
    ring = KeyRing.load(ring_path(settings))
    return Sealer(ring if newest else ring.settled(wall_ms(), settling_ms()))


def ring_path(settings: Settings) -> Path:
    """Raises `ConfigError`: a key that lies beside what it locks protects nothing, and goes into the same backup."""
    path = settings.encryption_keys_file
    if path is None:
        raise ConfigError("set encryption_keys_file (HEADWATER_ENCRYPTION_KEYS_FILE): there is no key ring to work on")
    if path.absolute().resolve().is_relative_to(settings.data_dir.absolute().resolve()):
        raise ConfigError(f"encryption_keys_file must not lie in data_dir: {path}")
    return path


class Rotation:
    """Brings a running server up to date with its key ring, and adds a key where the newest is `every_s` old."""

    def __init__(self, sealer: Sealer, path: Path, *, every_s: float, log: Log, store: Store | None) -> None:
        self._sealer = sealer
        self._path = path
        self._every_s = every_s
        self._log = log
        self._store = store

    async def look(self, now_ms: int) -> None:
        """Raises `ConfigError`, `LogError`, `StoreUnavailable`; then the ring is as it was."""
        ring = (await asyncio.to_thread(self._renewed, now_ms)).settled(now_ms, settling_ms())
        if ring.names == self._sealer.ring.names:
            return
        if gone := set(self._sealer.ring.names) - set(ring.names):
            raise ConfigError(f"{self._path} lacks keys that this server works with: {', '.join(sorted(gone))}")
        name = ring.active.name
        if isinstance(self._log, SqliteLog):
            await self._log.use_key(name)
        if self._store is not None:
            await self._store.note_key(name)
        self._sealer.adopt(ring)

    def _renewed(self, now_ms: int) -> KeyRing:
        """The ring in the file, to which a key is added first where it is time for one. Blocks."""
        ring, age_ms = KeyRing.load(self._path), self._every_s * 1000
        if age_ms and now_ms - ring.active.created_ms >= age_ms:
            # On disk before anything is sealed with it.
            ring, added = add_key(self._path, now_ms, age_ms=age_ms)
            if added is not None:
                wait_s = settling_ms() // 1000
                _logger.warning("a new key encrypts in %d s: %s; back up %s", wait_s, added.name, self._path)
        return ring


def keep_keys(
    stack: AsyncExitStack, settings: Settings, sealer: Sealer | None, log: Log, chat: ChatServices | None
) -> None:
    """Look after the ring until the stack is left."""
    if sealer is None or settings.encryption_keys_file is None:
        return
    rotation = Rotation(
        sealer,
        settings.encryption_keys_file,
        every_s=settings.encryption_rotate_s,
        log=log,
        store=None if chat is None else chat.backend.store,
    )
    task = asyncio.create_task(_keep(rotation), name="headwater-key-ring")
    stack.push_async_callback(_ended, task)


async def _keep(rotation: Rotation) -> None:
    while True:
        try:
            await rotation.look(wall_ms())
        except HeadwaterError as exc:
            _logger.warning("the key ring stays as it was: %s", exc.message)
        except Exception:
            _logger.exception("looking after the key ring failed")
        await asyncio.sleep(LOOK_EVERY_S)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
