"""The key ring by the settings, and how a running server follows it."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import select

from headwater import runtime_encryption
from headwater.config import load_settings
from headwater.encryption import Key, KeyRing, Sealer, new_key
from headwater.errors import ConfigError
from headwater.logs import MemoryLog, SqliteLog
from headwater.logs.sqlite.keys import key_names
from headwater.runtime_encryption import Rotation, keep_keys, open_sealer, ring_path
from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.store.tables import sealing
from tests.conformance.logs.stories import assert_intact, begun, committed

FIRST = Key(bytes(32), 1_000)


class Kept:
    """A ring in its file, a log and a database that are sealed with it."""

    def __init__(self, path: Path, sealer: Sealer, log: SqliteLog, store: Store) -> None:
        self.path = path
        self.sealer = sealer
        self.log = log
        self.store = store

    def rotation(self, every_s: float = 0) -> Rotation:
        return Rotation(self.sealer, self.path, every_s=every_s, log=self.log, store=self.store)

    async def noted(self) -> list[str]:
        """The keys that both databases say they need."""
        names = await self.noted_by_store()
        assert names == key_names(self.log._storage.reading)
        return names

    async def noted_by_store(self) -> list[str]:
        async with self.store.read() as connection:
            return sorted((await connection.execute(select(sealing.c.key))).scalars())


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    ring = KeyRing([FIRST])
    ring.save(path := tmp_path / "ring.json")
    sealer = Sealer(ring)
    log = await SqliteLog.open(tmp_path / "data", sealer=sealer)
    store = await open_store(database_url(None, tmp_path / "data"), sealer)
    yield Kept(path, sealer, log, store)
    await store.close()
    await log.close()


def test_a_sealer_by_the_settings(tmp_path: Path) -> None:
    assert open_sealer(load_settings(data_dir=tmp_path)) is None
    text = base64.b64encode(FIRST.secret).decode()
    sealer = open_sealer(load_settings(data_dir=tmp_path, encryption_keys=text))
    assert sealer is not None
    assert sealer.ring.names == [FIRST.name]
    KeyRing([FIRST]).save(ring := tmp_path / "ring.json")
    sealer = open_sealer(load_settings(data_dir=tmp_path / "data", encryption_keys_file=ring))
    assert sealer is not None
    for given, why in (
        ({"encryption_keys": text, "encryption_keys_file": ring}, "exclude each other"),
        ({"encryption_rotate_s": 5}, "needs encryption_keys_file"),
        ({"encryption_keys_file": tmp_path / "none.json"}, "encryption rotate"),
    ):
        with pytest.raises(ConfigError, match=why):
            open_sealer(load_settings(**{"data_dir": tmp_path / "data"} | given))
    with pytest.raises(ConfigError, match="must not lie in data_dir"):
        open_sealer(load_settings(data_dir=tmp_path, encryption_keys_file=ring))
    with pytest.raises(ConfigError, match="no key ring to work on"):
        ring_path(load_settings(data_dir=tmp_path))


async def test_a_new_key_of_the_file_is_noted_and_then_used(kept: Kept) -> None:
    story = await begun(kept.log, "s1", texts=2)
    await kept.rotation().look(5_000)
    assert await kept.noted() == [FIRST.name]
    ring = KeyRing([FIRST]).with_key(new_key(2_000))
    ring.save(kept.path)
    await kept.rotation().look(61_999)
    assert (kept.sealer.active, kept.sealer.missing(ring.names)) == (FIRST.id, [])
    await kept.rotation().look(62_000)
    assert kept.sealer.active == ring.active.id
    assert await kept.noted() == sorted(ring.names)
    await committed(kept.log, story.text("with the new one"))
    await committed(kept.log, story.end())
    await kept.log.compact()
    await assert_intact(kept.log, story)


async def test_a_key_that_is_old_gets_a_successor(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    await kept.rotation(every_s=10).look(10_999)
    assert KeyRing.load(kept.path).names == [FIRST.name]
    await kept.rotation(every_s=10).look(11_000)
    ring = KeyRing.load(kept.path)
    assert ring.keys[1] == FIRST
    assert ring.active.created_ms == 11_000
    assert kept.sealer.active == FIRST.id
    await kept.rotation().look(71_000)
    assert kept.sealer.active == ring.active.id
    assert "back up" in caplog.text
    assert await kept.noted() == sorted(ring.names)


async def test_servers_that_share_a_ring_can_always_read_each_other(kept: Kept) -> None:
    other = Sealer(KeyRing([FIRST]))
    sealers = (kept.sealer, other)
    rotations = (
        kept.rotation(every_s=1_000),
        Rotation(other, kept.path, every_s=1_000, log=MemoryLog(), store=kept.store),
    )
    used = set()
    # The second looks half a period after the first.
    for step in range(200):
        await rotations[step % 2].look(900_000 + step * 15_000)
        for one, another in (sealers, sealers[::-1]):
            record = one.seal(b"p", b"c", b"text")
            assert another.open(b"p", b"c", record) == b"text"
        used.add(kept.sealer.active)
        assert {one.active.hex() for one in sealers} <= set(await kept.noted_by_store())
    assert len(used) == 4


async def test_a_server_that_starts_waits_with_a_young_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = KeyRing([FIRST]).with_key(new_key(100_000))
    ring.save(path := tmp_path / "ring.json")
    settings = load_settings(data_dir=tmp_path / "data", encryption_keys_file=path)

    def active(now_ms: int, *, newest: bool = False) -> bytes:
        monkeypatch.setattr(runtime_encryption, "wall_ms", lambda: now_ms)
        sealer = open_sealer(settings, newest=newest)
        assert sealer is not None
        assert sealer.missing(ring.names) == []
        return sealer.active

    assert active(159_999) == FIRST.id
    assert active(160_000) == ring.active.id
    assert active(100_000, newest=True) == ring.active.id


async def test_two_servers_whose_key_is_old_make_one_successor(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, other = fcntl.flock, Sealer(KeyRing([FIRST]))

    def beaten(number: int, flags: int) -> None:
        """The other server saw the same old key, and was quicker."""
        monkeypatch.setattr(fcntl, "flock", flock)
        other.adopt(KeyRing.load(kept.path).with_key(new_key(11_000)))
        other.ring.save(kept.path)
        flock(number, flags)

    monkeypatch.setattr(fcntl, "flock", beaten)
    await kept.rotation(every_s=10).look(11_001)
    assert KeyRing.load(kept.path).names == other.ring.names
    assert kept.sealer.open(b"p", b"c", other.seal(b"p", b"c", b"text")) == b"text"


async def test_a_ring_that_lost_a_key_is_not_followed(kept: Kept) -> None:
    KeyRing([new_key(1)]).save(kept.path)
    with pytest.raises(ConfigError, match=f"lacks keys that this server works with: {FIRST.name}"):
        await kept.rotation().look(5_000)
    assert kept.sealer.ring.names == [FIRST.name]


async def test_a_server_looks_after_its_ring(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime_encryption, "LOOK_EVERY_S", 0.001)
    settings = load_settings(data_dir=tmp_path / "data", encryption_keys_file=kept.path)
    with caplog.at_level(logging.WARNING):
        async with AsyncExitStack() as stack:
            keep_keys(stack, settings, None, kept.log, None)
            keep_keys(stack, settings, kept.sealer, MemoryLog(), None)
            kept.path.write_text("{")
            while "the key ring stays as it was" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.001)
            ring = KeyRing([FIRST]).with_key(new_key(2_000))
            ring.save(kept.path)
            while kept.sealer.active != ring.active.id:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
