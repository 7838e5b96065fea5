"""What the banner says: of an earlier process's streams, of what is kept, and of who is let in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headwater.config import load_settings
from headwater.runtime import open_runtime
from headwater.streams import RecoveryReport
from headwater.terminal.serve import _access, _database, _recovered, banner


@pytest.mark.parametrize(
    ("continued", "restarted", "interrupted", "said"),
    [
        (1, 0, 0, "1 stream continued"),
        (2, 1, 0, "2 streams continued, 1 restarted"),
        (0, 0, 1, "1 stream ended as interrupted"),
        (0, 3, 2, "3 streams restarted, 2 ended as interrupted"),
        (1, 1, 1, "1 stream continued, 1 restarted, 1 ended as interrupted"),
    ],
)
def test_only_what_happened_is_told(continued: int, restarted: int, interrupted: int, said: str) -> None:
    assert _recovered(RecoveryReport(continued=continued, restarted=restarted, interrupted=interrupted)) == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"api_keys": "a"}, "1 API key"),
        ({"api_keys": "a,b"}, "2 API keys"),
        ({"admin_keys": "a"}, "1 API key, 1 of them for administration"),
        ({"api_keys": "a,b", "admin_keys": "c"}, "3 API keys, 1 of them for administration"),
        ({}, "single user: this machine only, no key"),
        ({"host": "0.0.0.0"}, "anonymous: whoever reaches this address may use it"),
    ],
)
def test_who_is_let_in_is_told_without_any_key(values: dict[str, str], said: str) -> None:
    assert _access(load_settings(**values)) == said


async def test_the_banner_tells_what_came_of_the_last_process(tmp_path: Path) -> None:
    async with open_runtime(load_settings(log="memory", data_dir=tmp_path), chat=False) as runtime:
        told = dict(banner("http://127.0.0.1:1", runtime))
        assert "recovered" not in told
        again = msgspec.structs.replace(runtime, recovered=RecoveryReport(continued=0, restarted=2, interrupted=1))
        assert dict(banner("http://127.0.0.1:1", again))["recovered"] == "2 streams restarted, 1 ended as interrupted"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"database_url": "postgresql://ann:secret@db/x"}, "conversations and documents in database_url"),
        ({"data_dir": "/here"}, "conversations and documents: sqlite in /here"),
        ({"log": "memory"}, "conversations and documents: memory: nothing survives a restart"),
    ],
)
def test_where_conversations_are_kept_is_told_without_a_password(values: dict[str, str], said: str) -> None:
    assert _database(load_settings(**values)) == said
