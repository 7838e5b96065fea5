"""`headwater check` and `headwater encryption`: what they say, and their exit codes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headwater.encryption import KeyRing, Sealer
from headwater.errors import ConfigError, LogInUse, LogUnavailable
from headwater.logs.sqlite.ownership import Ownership
from headwater.terminal import check as checking
from headwater.terminal.check import check, look_at
from headwater.terminal.encryption import Place, reencrypt, rotate, status
from tests.integration.data_kit import fill


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    import asyncio

    asyncio.run(fill(tmp_path / "data", crashed=False))
    return tmp_path / "data"


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_ENCRYPTION_KEYS_FILE", str(tmp_path / "ring.json"))
    return tmp_path / "ring.json"


def test_a_sound_directory_and_a_damaged_one(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(data_dir=str(data_dir)) == 0
    assert "6 streams, 82 segments" in (told := capsys.readouterr().out)
    assert told.strip().endswith("no damage")
    with closing(sqlite3.connect(data_dir / "streams.db")) as db, db:
        db.execute("UPDATE stream SET owner = 'else'")
        db.execute("UPDATE journal SET sum = 1")
    assert check(data_dir=str(data_dir)) == 1
    told = capsys.readouterr().out
    assert "streams.db: stream s1: stream s1: its record does not match its checksum" in told
    assert check(data_dir=str(data_dir), as_json=True) == 1
    assert len(json.loads(capsys.readouterr().out)["findings"]) > 6


def test_a_long_list_is_cut(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "MAX_TOLD", 2)
    with closing(sqlite3.connect(data_dir / "streams.db")) as db, db:
        db.execute("UPDATE stream SET owner = 'else'")
    assert check(data_dir=str(data_dir)) == 1
    assert "… and 4 more: --json tells all" in capsys.readouterr().out


def test_what_cannot_be_checked_is_told(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no data directory"):
        check(data_dir=str(tmp_path / "none"))
    owner = Ownership(data_dir)
    with pytest.raises(LogInUse):
        check(data_dir=str(data_dir))
    owner.release()

    def broken(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checking, "check_routes", broken)
    with pytest.raises(LogUnavailable, match="Permission denied"):
        look_at(data_dir)


def test_the_ring_and_what_it_encrypts(data_dir: Path, ring: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, plain = Place("", str(data_dir)), Place("", str(data_dir), as_json=True)
    assert rotate(place) == 0
    told = capsys.readouterr().err
    assert "Back up the ring" in told
    assert f"{KeyRing.load(ring).active.name} encrypts from now on" in told
    assert reencrypt(place) == 0
    assert "encrypted with the newest key: " in capsys.readouterr().err
    assert rotate(plain) == 0
    told = json.loads(capsys.readouterr().out)
    made = KeyRing.load(ring)
    assert told == {
        "key": made.active.name,
        "keys": made.names,
        "file": str(ring),
        "encrypts_from_ms": made.active.created_ms + 60_000,
    }
    assert status(place) == 0
    shown = capsys.readouterr().out
    assert f"{told['key']} (newest)" in shown
    assert "not encrypted" in shown
    assert reencrypt(plain) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["streams"] > 80
    assert done["chat"] >= 7
    assert status(plain) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["streams"].keys() == counts["chat"].keys() == {told["key"]}
    assert look_at(data_dir, Sealer(KeyRing.load(ring))).findings == []
    assert rotate(place) == 0
    assert "encrypts in 60 s, when every server has it" in capsys.readouterr().err


def test_what_is_damaged_is_told_and_all_else_is_encrypted(
    data_dir: Path, ring: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, as_json = Place("", str(data_dir)), Place("", str(data_dir), as_json=True)
    rotate(place)
    with closing(sqlite3.connect(data_dir / "streams.db")) as db, db:
        db.execute("UPDATE journal SET data = x'00' WHERE id = (SELECT max(id) FROM journal)")
        db.execute("UPDATE stream SET owner = 'else' WHERE id = 's1'")
    (data_dir / "streams.db-wal.damaged").write_bytes(b"pages")
    capsys.readouterr()
    assert reencrypt(place) == 1
    told = capsys.readouterr().err
    assert "streams.db: stream s1: it does not match its checksum, or does not open, and is left as it is" in told
    assert "streams.db: journal row " in told
    assert "streams.db-wal.damaged: a copy of a damaged write-ahead log" in told
    assert "must stay in the ring" in told
    monkeypatch.setattr("headwater.terminal.check.MAX_TOLD", 1)
    assert reencrypt(place) == 1
    assert "… and 2 more: --json tells all" in capsys.readouterr().err
    assert reencrypt(as_json) == 1
    done = json.loads(capsys.readouterr().out)
    assert [finding["file"] for finding in done["findings"]] == ["streams.db"] * 2 + ["streams.db-wal.damaged"]
    assert status(place) == 0
    assert "streams.db-wal.damaged: a copy of a damaged" in capsys.readouterr().out
    assert status(as_json) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["damaged_files"] == ["streams.db-wal.damaged"]
    assert counts["streams"][""] > 1
    assert counts["chat"].keys() == {KeyRing.load(ring).active.name}


def test_one_database_that_cannot_be_opened_leaves_the_other_to_be_encrypted(
    data_dir: Path, ring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, as_json = Place("", str(data_dir)), Place("", str(data_dir), as_json=True)
    rotate(place)
    sound = (data_dir / "streams.db").read_bytes()
    (data_dir / "streams.db").write_bytes(b"no database" * 1000)
    capsys.readouterr()
    assert reencrypt(as_json) == 1
    done = json.loads(capsys.readouterr().out)
    assert done["chat"] >= 7
    assert [finding["file"] for finding in done["findings"]] == ["streams.db"]
    (data_dir / "streams.db").write_bytes(sound)
    (data_dir / "chat.sqlite3").write_bytes(b"no database" * 1000)
    assert reencrypt(as_json) == 1
    done = json.loads(capsys.readouterr().out)
    assert done["streams"] > 80
    assert [finding["file"] for finding in done["findings"]] == ["chat.sqlite3"]


def test_without_a_ring_or_anything_kept(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place("", str(data_dir))
    with pytest.raises(ConfigError, match="set encryption_keys_file"):
        rotate(place)
    with pytest.raises(ConfigError, match="no key to encrypt with"):
        reencrypt(place)
    assert status(place) == 0
    assert "not encrypted" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no data directory"):
        status(Place("", str(tmp_path / "none")))
    (tmp_path / "empty").mkdir()
    assert status(Place("", str(tmp_path / "empty"))) == 0
    monkeypatch.setenv("HEADWATER_LOG", "memory")
    with pytest.raises(ConfigError, match="nothing is kept"):
        status(place)
