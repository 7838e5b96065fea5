"""`headwater keys`, command by command, on a database in a file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from headwater.cli import main
from headwater.identity import Meter
from headwater.identity.api_key import ApiKey
from headwater.identity.records import ApiKeys
from headwater.identity.usage import Usage, insert_usage
from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.terminal.exits import FAILED, FINE, MISUSED


class Command:
    """`headwater keys …` in a data directory: the exit code, and what was printed where."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = FINE) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["keys", *arguments, "--data-dir", str(self.directory)])
        captured = self._capsys.readouterr()
        self.err = captured.err
        assert caught.value.code == code, captured
        return captured.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def stored(self) -> list[ApiKey]:
        async def read() -> list[ApiKey]:
            store = await open_store(database_url(None, self.directory))
            try:
                return list(await ApiKeys(store).list())
            finally:
                await store.close()

        return asyncio.run(read())


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(tmp_path / "data", capsys)


def test_a_key_goes_to_stdout_alone_and_once(keys: Command) -> None:
    text = keys("create", "web", "--organization", "acme", "--user", "ann", "--budget-tokens", "5000").strip()
    assert text.startswith("hw_")
    assert "scopes: chat, documents" in keys.err
    assert text not in keys.err
    [key] = keys.stored()
    assert (key.name, key.tenant, key.budget_tokens, key.expires_ms) == ("web", "org:acme/user:ann", 5000, None)
    assert text not in keys("list") + keys("list", "--json") + keys.err


def test_every_flag_of_a_key(keys: Command) -> None:
    card = keys.json(
        *("create", "--scope", "read", "--scope", "admin", "--project", "p", "--expires-in", "30d"),
        *("--requests-per-minute", "1", "--tokens-per-minute", "2", "--budget-cost", "0.5", "--budget-period", "day"),
    )
    assert (card["scopes"], card["project"]) == (["admin", "read"], "p")
    limits = card["limits"]
    assert (limits["requests_per_minute"], limits["tokens_per_minute"]) == (1, 2)
    assert (limits["budget_cost"], limits["budget_period"]) == (0.5, "day")
    [key] = keys.stored()
    assert key.expires_ms is not None
    assert key.expires_ms - key.created_ms == 30 * 86_400_000
    assert card["key"].startswith(key.prefix)


def test_a_key_for_what_was_made_without_keys(keys: Command) -> None:
    keys("create", "--single-user")
    assert keys.stored()[0].tenant == ""
    keys("create", "--single-user", "--user", "ann", code=MISUSED)
    assert "exclude each other" in keys.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scope", "root"], "--scope: invalid enum value 'root'; there are admin, chat, documents, read"),
        (["--expires-in", "soon"], "--expires-in: write 90, 15m, 12h or 30d"),
        (["--expires-in", "0"], "--expires-in: "),
        (["--budget-tokens", "0"], "--budget-tokens: "),
        (["--budget-period", "year"], "--budget-period: "),
        (["--user", "a\n"], "must not hold control characters"),
    ],
)
def test_wrong_usage_names_the_flag(keys: Command, arguments: list[str], said: str) -> None:
    assert keys("create", *arguments, code=MISUSED) == ""
    assert said in keys.err
    assert not (keys.directory / "chat.sqlite3").exists()


def test_a_list_says_what_the_keys_are_and_have_used(keys: Command) -> None:
    assert keys.json("list") == []
    long = "an-organization-of-a-name-that-is-longer-than-a-terminal-would-show-in-a-cell-of-this-table"
    keys("create", "one", "--organization", "acme", "--user", "ann", "--budget-tokens", "5000")
    keys("create", "two", "--expires-in", "0.001", "--organization", long)
    two, one = keys.stored() if keys.stored()[0].name == "two" else keys.stored()[::-1]
    keys("create", "three")
    [three] = [key for key in keys.stored() if key.name == "three"]
    keys("revoke", three.prefix)
    _count(keys, one.meter, 1234)
    listed = {line.split()[1]: line for line in keys("list").splitlines()}
    assert one.prefix in listed["one"]
    for said in ("acme/ann", "active", "never", "1,234 of 5,000"):
        assert said in listed["one"]
    assert "expired" in listed["two"]
    assert long in listed["two"]  # in a pipe nothing is folded
    assert "revoked" in listed["three"]
    assert [card["id"] for card in keys.json("list", two.prefix)] == [two.id]


def _count(keys: Command, meter: Meter, tokens: int) -> None:
    async def write() -> None:
        import time

        store: Store = await open_store(database_url(None, keys.directory))
        await insert_usage(store, [Usage("s", (meter.name,), tokens, 0.0, time.time_ns() // 1_000_000)])
        await store.close()

    asyncio.run(write())


def test_a_key_is_revoked_by_id_or_prefix_and_can_be_forgotten(keys: Command) -> None:
    for _ in range(2):
        keys("create")
    one, other = keys.stored()
    keys("revoke", one.id)
    assert f"{one.prefix} is revoked" in keys.err
    assert keys.json("revoke", other.prefix)["active"] is False
    keys("revoke", one.id, "--forget")
    assert "is forgotten" in keys.err
    assert [key.id for key in keys.stored()] == [other.id]
    keys("revoke", one.id, code=FAILED)
    assert "no such key" in keys.err


def test_a_key_gets_a_new_secret_and_the_old_one_its_time(keys: Command) -> None:
    text = keys("create").strip()
    [key] = keys.stored()
    new = keys("rotate", key.prefix, "--grace", "15m").strip()
    assert new.startswith("hw_")
    assert new != text
    assert f"{key.prefix} holds 900 s more" in keys.err
    assert keys.json("rotate", key.id)["key"] not in (text, new)
    keys("rotate", key.id, "--grace", "8d", code=MISUSED)
    assert "--grace: " in keys.err
    keys("revoke", key.id)
    keys("rotate", key.id, code=FAILED)
    keys("rotate", "nothing", code=FAILED)


def test_settings_come_from_where_the_server_has_them(
    keys: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "headwater.toml"
    file.write_text(f'data_dir = "{keys.directory}"\n', encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["keys", "create", "--config", str(file)])
    assert caught.value.code == FINE
    assert len(keys.stored()) == 1
    monkeypatch.setenv("HEADWATER_LOG", "memory")
    capsys.readouterr()
    keys("list", code=MISUSED)
    assert "POST /v1/keys" in keys.err
