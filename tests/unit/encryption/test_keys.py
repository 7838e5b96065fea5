from __future__ import annotations

import base64
import fcntl
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headwater.encryption import Key, KeyRing, add_key, keys, new_key
from headwater.errors import ConfigError

ONE, TWO = Key(bytes(32), 5), Key(bytes(31) + b"\1", 6)


def text(*keys: Key) -> str:
    return ", ".join(base64.b64encode(key.secret).decode() for key in keys)


def test_an_id_is_the_keys_own_and_tells_nothing_of_it() -> None:
    assert ONE.name == ONE.id.hex() != TWO.name
    assert len(ONE.id) == 4
    assert repr(ONE) == f"Key({ONE.name})"
    assert len(new_key(1).secret) == 32
    assert new_key(1) != new_key(1)


def test_keys_of_a_variable() -> None:
    ring = KeyRing.from_text(text(TWO, ONE) + ",")
    assert (ring.active.name, ring.names) == (TWO.name, [TWO.name, ONE.name])


@pytest.mark.parametrize(
    ("given", "why"),
    [("", "empty"), ("no base64!", "key 1 of 1 is not 32 bytes"), (f"{text(ONE)},AAAA", "key 2 of 2 is not 32 bytes")],
)
def test_a_variable_that_holds_no_keys_is_refused_without_quoting_it(given: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        KeyRing.from_text(given)
    assert "AAAA" not in refused.value.message


def test_a_key_twice_and_too_many_are_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        KeyRing([ONE, TWO, ONE])
    with pytest.raises(ConfigError, match="more than 1000"):
        KeyRing(new_key(0) for _ in range(1001))


def test_young_keys_stand_behind_those_that_seal() -> None:
    old, young, younger = Key(bytes(32), 1_000), new_key(2_000), new_key(2_500)
    ring = KeyRing([younger, young, old])
    assert ring.settled(2_999, 1_000).keys == (old, younger, young)
    assert ring.settled(3_000, 1_000).keys == (young, old, younger)
    assert ring.settled(3_500, 1_000).keys == ring.keys
    # Nothing that is older is there: a first key seals at once, and goes on until its successor may.
    assert ring.settled(1_000, 5_000).active == old
    assert KeyRing([younger]).settled(2_500, 1_000).keys == (younger,)


def test_a_file_keeps_the_ring(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ring.json"
    KeyRing([ONE]).with_key(TWO).save(path)
    assert KeyRing.load(path).keys == (TWO, ONE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["ring.json"]


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    with pytest.raises(ConfigError, match="headwater encryption rotate"):
        KeyRing.load(path)
    KeyRing([ONE]).save(path)
    kept = json.loads(path.read_text())
    for changed, why in (
        ({"version": 9}, "of version 9"),
        ({"keys": [kept["keys"][0] | {"id": TWO.name}]}, "its id is not its own"),
        ({"keys": [kept["keys"][0] | {"key": "AA"}]}, "is not 32 bytes"),
        ({"keys": "none"}, "damaged"),
    ):
        path.write_text(json.dumps(kept | changed))
        with pytest.raises(ConfigError, match=why):
            KeyRing.load(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        KeyRing.load(path)
    with pytest.raises(ConfigError, match="cannot read"):
        KeyRing.load(path / "below")
    with pytest.raises(ConfigError, match="cannot write"):
        KeyRing([ONE]).save(path / "below")


def test_a_key_is_added_and_a_first_one_makes_the_ring(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ring.json"
    with pytest.raises(ConfigError, match="there is no key ring"):
        add_key(path, 1_000, age_ms=0)
    first, key = add_key(path, 1_000)
    assert first.keys == (key,) == KeyRing.load(path).keys
    same, key = add_key(path, 1_999, age_ms=1_000)
    assert (same.keys, key) == (first.keys, None)
    assert KeyRing.load(path).keys == first.keys
    ring, key = add_key(path, 2_000, age_ms=1_000)
    assert ring.keys == (key, *first.keys) == KeyRing.load(path).keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_writers_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    with ThreadPoolExecutor(8) as pool:
        added = [key for _, key in pool.map(lambda now_ms: add_key(path, now_ms), range(40))]
    assert set(KeyRing.load(path).names) == {key.name for key in added if key is not None}
    assert len(added) == 40


def test_a_ring_that_another_writes_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LOCK_WAIT_S", 0)
    KeyRing([ONE]).save(path := tmp_path / "ring.json")
    with open(tmp_path / "ring.json.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process is writing"):
            add_key(path, 1_000)
    assert KeyRing.load(path).keys == (ONE,)
    assert add_key(path, 1_000)[0].keys[1:] == (ONE,)


def test_what_is_read_before_the_lock_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyRing([ONE]).save(path := tmp_path / "ring.json")
    flock = fcntl.flock

    def beaten(number: int, flags: int) -> None:
        """Another writer was quicker."""
        KeyRing([TWO, ONE]).save(path)
        flock(number, flags)

    monkeypatch.setattr(fcntl, "flock", beaten)
    ring, key = add_key(path, 7)
    assert ring.keys == (key, TWO, ONE)
    ring, key = add_key(path, 7, age_ms=2)
    assert (ring.keys, key) == ((TWO, ONE), None)


def test_two_saves_at_a_time_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = tmp_path / "ring.json", os.fsync

    def meanwhile(number: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        KeyRing([TWO]).save(path)
        assert KeyRing.load(path).keys == (TWO,)
        fsync(number)

    monkeypatch.setattr(os, "fsync", meanwhile)
    KeyRing([ONE]).save(path)
    assert KeyRing.load(path).keys == (ONE,)
    assert os.listdir(tmp_path) == ["ring.json"]


def test_a_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    KeyRing([ONE]).save(path := tmp_path / "ring.json")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        KeyRing([TWO]).save(path)
    assert KeyRing.load(path).keys == (ONE,)
    assert os.listdir(tmp_path) == ["ring.json"]


def pretend_owner(monkeypatch: pytest.MonkeyPatch, user: int, group: int) -> None:
    """What is opened from now on belongs to these."""
    fstat = os.fstat
    monkeypatch.setattr(
        os, "fstat", lambda number: os.stat_result((*fstat(number)[:4], user, group, *fstat(number)[6:]))
    )


def test_the_rings_owner_and_a_symbolic_link_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    pretend_owner(monkeypatch, os.getuid() + 1, os.getgid())
    monkeypatch.setattr(os, "fchown", lambda _, user, group: given.append((user, group)))
    (tmp_path / "mounted").mkdir()
    link, ring = tmp_path / "ring.json", tmp_path / "mounted" / "secret.json"
    link.symlink_to(ring)
    first, _ = add_key(link, 1_000)
    assert given == []
    owner = (os.getuid(), ring.stat().st_gid)
    add_key(link, 2_000)
    assert given == [owner]
    # A lock is given away by who makes it, and never afterwards.
    ring.with_name("secret.json.lock").unlink()
    add_key(link, 3_000)
    assert given == [owner] * 3
    assert link.is_symlink()
    assert KeyRing.load(ring).keys[2:] == first.keys
    assert sorted(os.listdir(ring.parent)) == ["secret.json", "secret.json.lock"]
    assert sorted(os.listdir(tmp_path)) == ["mounted", "ring.json"]


def test_a_ring_that_its_owner_would_lose_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    KeyRing([ONE]).save(path := tmp_path / "ring.json")
    monkeypatch.setattr(os, "fchown", refused)
    with monkeypatch.context() as other:
        pretend_owner(other, os.getuid() + 1, path.stat().st_gid)
        for write in (lambda: KeyRing([TWO, ONE]).save(path), lambda: add_key(path, 1_000)):
            with pytest.raises(ConfigError, match=f"belongs to user {os.getuid()}, .*: write it as that user"):
                write()
        assert KeyRing.load(path).keys == (ONE,)
        assert os.listdir(tmp_path) == ["ring.json"]
    # Another group takes nothing away.
    pretend_owner(monkeypatch, os.getuid(), path.stat().st_gid + 1)
    KeyRing([TWO, ONE]).save(path)
    assert KeyRing.load(path).keys == (TWO, ONE)
