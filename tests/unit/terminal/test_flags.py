"""Flags made from the settings."""

from __future__ import annotations

from typing import Any

import click.testing
import pytest
import typer
from typer.testing import CliRunner

from headwater.config import TABLES, Settings
from headwater.terminal.flags import choices_of, default_of, flagged, metavar_of, with_settings


def _app(seen: list[dict[str, Any]]) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(with_settings(seen.append, "Help."))
    return app


def test_every_setting_but_tables_is_a_flag_and_only_what_was_given_is_passed_on() -> None:
    assert set(Settings.model_fields) - set(flagged()) == set(TABLES) == {"providers", "routes", "prices"}
    seen: list[dict[str, Any]] = []
    command = typer.main.get_command(_app(seen))
    for name in flagged():
        flag = "--" + name.replace("_", "-")
        seen.clear()
        is_switch = Settings.model_fields[name].annotation is bool
        result = click.testing.CliRunner().invoke(command, [flag] if is_switch else [flag, "1"])
        assert result.exit_code == 0, result.output
        assert seen == [{name: True if is_switch else "1"}]


def test_a_switch_can_be_turned_off_against_the_file() -> None:
    seen: list[dict[str, Any]] = []
    CliRunner().invoke(_app(seen), ["--no-allow-anonymous"])
    assert seen == [{"allow_anonymous": False}]


@pytest.mark.parametrize(
    ("name", "metavar", "default"),
    [
        ("port", "NUMBER", "8000"),
        ("heartbeat_s", "SECONDS", "15"),
        ("retry_ms", "MS", "2000"),
        ("max_body_bytes", "BYTES", "8388608"),
        ("data_dir", "DIRECTORY", "$XDG_DATA_HOME/headwater, else ~/.local/share/headwater"),
        ("durability", "memory|commit|fsync", "commit"),
        ("api_keys", "TEXT", "none"),
        ("linger_s", "SECONDS", "per dialect"),
        ("allow_anonymous", "TEXT", "false"),
        ("config", "FILE", "none"),
        ("embedding_dimensions", "NUMBER", "per model"),
        ("embedding", "none|openai|ollama|local", "none"),
        ("jwt_secret", "TEXT", "none"),
        ("database_url", "URL", "chat.sqlite3 in data_dir"),
    ],
)
def test_units_and_defaults_are_shown(name: str, metavar: str, default: str) -> None:
    field = Settings.model_fields[name]
    assert metavar_of(name, field) == metavar
    assert default_of(field) == default


def test_literal_settings_have_choices() -> None:
    assert choices_of(Settings.model_fields["durability"]) == ("memory", "commit", "fsync")
    assert choices_of(Settings.model_fields["openai_api"]) == ("chat", "responses")
    assert choices_of(Settings.model_fields["heartbeat_s"]) == ()
