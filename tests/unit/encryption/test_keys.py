from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from headwater.encryption import Key, KeyRing, new_key
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
