"""The settings: sources and their order, bounds, and errors a person can act on."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import ValidationError

from headwater import cli
from headwater.config import CLIENT_VARIABLES, Settings, default_data_dir, load_settings, variable_warnings
from headwater.config.sources import PLAIN_VARIABLES
from headwater.errors import ConfigError
from headwater.tables import Price, ProviderTable, RouteTable, Target
from headwater.terminal.flags import group_of

# Variables of other programs that settings are read from, too.
PLAIN = [one for names in PLAIN_VARIABLES.values() for one in names]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEADWATER_{name.upper()}", raising=False)
    for name in PLAIN:
        monkeypatch.delenv(name, raising=False)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "headwater.toml"
    path.write_text(text)
    return path


def test_the_names_and_defaults_fixed_by_the_issue() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.durability) == ("127.0.0.1", 8000, "commit")
    assert (settings.heartbeat_s, settings.head_wait_s, settings.log) == (15, 5, "sqlite")
    fixed = """host port data_dir log database_url redis_url durability default_model linger_s heartbeat_s
        first_token_timeout_s idle_timeout_s total_timeout_s head_wait_s flush_ms max_connections max_body_bytes
        api_keys cors_origins"""
    assert set(fixed.split()) <= set(Settings.model_fields)


def test_flags_beat_the_environment_which_beats_the_file_which_beats_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path, "port = 1\nheartbeat_s = 1\ngrace_s = 1\n")
    monkeypatch.setenv("HEADWATER_PORT", "2")
    monkeypatch.setenv("HEADWATER_HEARTBEAT_S", "2")
    settings = load_settings(config=str(path), port="3", linger_s=None)
    assert (settings.port, settings.heartbeat_s, settings.grace_s, settings.retry_ms) == (3, 2, 1, 2000)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_CONFIG", str(_file(tmp_path, "port = 77")))
    assert load_settings().port == 77


def test_a_tilde_in_a_path_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _file(tmp_path, 'data_dir = "~/streams"')
    assert load_settings(config="~/headwater.toml").data_dir == tmp_path / "streams"


def test_codings_are_a_list_or_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().compression == ("gzip", "zstd", "br", "deflate")
    assert load_settings(compression="br, gzip").compression == ("br", "gzip")
    assert load_settings(config=_file(tmp_path, 'compression = ["zstd"]')).compression == ("zstd",)
    monkeypatch.setenv("HEADWATER_COMPRESSION", "off")
    assert load_settings().compression == ()
    monkeypatch.setenv("HEADWATER_COMPRESSION", "gzip,off")
    with pytest.raises(ConfigError, match="HEADWATER_COMPRESSION: should be 'gzip'"):
        load_settings()


def test_lists_are_comma_separated_text_or_toml_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_API_KEYS", " one, two ,,")
    path = _file(tmp_path, 'cors_origins = ["https://a.example", "http://localhost:3000"]')
    settings = load_settings(config=path)
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PORT", "")
    assert load_settings().port == 8000


def test_keys_are_never_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "hunter2" not in repr(load_settings(api_keys="hunter2", redis_url="redis://:hunter2@h"))
    with pytest.raises(ConfigError) as caught:
        load_settings(api_keys=["hunter2", 5], admin_keys=["hunter2", 5], redis_url={"hunter2": 1})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError) as raw:
        Settings(api_keys=["hunter2", 5])  # type: ignore[arg-type]
    assert "hunter2" not in str(raw.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"port": "70000"}, "port: should be less than or equal to 65535, not '70000'"),
        ({"port": "http"}, "port: should be a valid integer"),
        ({"heartbeat_s": "nan"}, "heartbeat_s: should be"),
        ({"total_timeout_s": "inf"}, "total_timeout_s: should be"),
        ({"flush_ms": 26}, "flush_ms: should be less than or equal to 25"),
        ({"log": "rocks"}, "log: should be 'memory', 'sqlite', 'postgres' or 'redis', not 'rocks'"),
        ({"log": "postgres"}, "this release has memory and sqlite"),
        ({"log": "redis"}, "this release has memory and sqlite"),
        ({"log": "sqlite", "durability": "memory"}, "contradict"),
        ({"log": "memory", "durability": "fsync"}, "contradict"),
        ({"cors_origins": "a.example"}, "cors_origins: an origin is"),
        ({"cors_origins": "https://a.example/path"}, "cors_origins: an origin is"),
        ({"prot": 1}, "'prot' is not a setting; did you mean 'port'?"),
        ({"qqqq": 1}, "'qqqq' is not a setting"),
        ({"config": "/nonexistent/headwater.toml"}, "cannot read /nonexistent/headwater.toml: No such file"),
    ],
)
def test_one_readable_line_for_a_wrong_value(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(**values)
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message


def test_the_line_names_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, "grace_s = -1")
    with pytest.raises(ConfigError, match="grace_s in the settings file: should be greater"):
        load_settings(config=path)
    monkeypatch.setenv("HEADWATER_GRACE_S", "-2")
    with pytest.raises(ConfigError, match=r"HEADWATER_GRACE_S: should be greater.*not '-2'"):
        load_settings(config=path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("heartbeat = 3", "headwater.toml: 'heartbeat' is not a setting; did you mean 'heartbeat_s'?"),
        ("config = 'x.toml'", "'config' is not a setting"),
        ("port 80", "is not TOML"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(config=_file(tmp_path, text))
    assert expected in str(caught.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "headwater.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_settings(config=path)


@pytest.mark.parametrize(
    "values", [{"log": "memory"}, {"durability": "memory"}, {"log": "memory", "durability": "memory"}]
)
def test_memory_is_one_choice(values: dict[str, object]) -> None:
    settings = load_settings(**values)
    assert (settings.log, settings.durability) == ("memory", "memory")


@pytest.mark.parametrize(
    ("host", "exposed"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("localhost", False),
        ("::1", False),
        ("[::1]", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.1", True),
        ("box.example", True),
    ],
)
def test_which_hosts_are_exposed(host: str, exposed: bool) -> None:
    settings = load_settings(host=host)
    assert settings.exposed is exposed
    if not exposed:
        assert settings.check_exposure() is settings
        return
    with pytest.raises(ConfigError, match="can be reached by others"):
        settings.check_exposure()
    load_settings(host=host, api_keys="k").check_exposure()
    load_settings(host=host, admin_keys="k").check_exposure()
    load_settings(host=host, allow_anonymous=True).check_exposure()


def test_an_unused_address_of_a_later_log_only_warns() -> None:
    assert load_settings().warnings() == []
    [warning] = load_settings(redis_url="redis://h").warnings()
    assert warning.startswith("redis_url is set but not used")
    assert load_settings(database_url="postgresql://h/d").warnings() == []


def test_unknown_variables_of_our_prefix_are_named_with_the_nearest_setting() -> None:
    environ = {
        "HEADWATER_PROT": "1",
        "headwater_port": "2",
        "HEADWATER_QQQQ": "secret",
        "HEADWATER_EMPTY": "",
        "HEADWATER_URL": "http://h",
        "HEADWATER_CONFIG": "f",
        "OTHER_PROT": "1",
    }
    assert variable_warnings(load_settings(), environ) == [
        "HEADWATER_PROT is not a setting and has no effect; did you mean HEADWATER_PORT?",
        "HEADWATER_QQQQ is not a setting and has no effect",
    ]


def test_a_clients_key_in_the_environment_of_a_server_without_one() -> None:
    environ = {"HEADWATER_API_KEY": "hunter2"}
    [warning] = variable_warnings(load_settings(), environ)
    assert "this server has no API key" in warning
    assert "set HEADWATER_API_KEYS" in warning
    assert "hunter2" not in warning
    assert variable_warnings(load_settings(api_keys="k"), environ) == []
    assert variable_warnings(load_settings(admin_keys="k"), environ) == []


def test_the_variables_of_the_other_commands_are_known() -> None:
    group: Any = typer.main.get_command(cli.app)
    read = {param.envvar for command in group.commands.values() for param in command.params} - {None}
    assert read == set(CLIENT_VARIABLES)


def test_recordings_come_from_a_directory(tmp_path: Path) -> None:
    assert load_settings(recordings_dir=str(tmp_path)).recordings_dir == tmp_path
    for wrong in (tmp_path / "missing", _file(tmp_path, "")):
        with pytest.raises(ConfigError, match=r"^recordings_dir: .* is not a directory$"):
            load_settings(recordings_dir=wrong)


def test_the_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "headwater"
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / ".local/share/headwater"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert load_settings().data_dir == tmp_path / ".local/share/headwater"


def test_settings_stand_under_one_heading_each() -> None:
    headings = [heading for heading, _ in groupby(map(group_of, Settings.model_fields.values()))]
    assert headings[:3] == ["Server", "Access", "Identity"]
    assert len(headings) == len(set(headings))


def test_every_setting_says_what_it_is_and_numbers_have_bounds() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if field.annotation in (int, float):
            bounds = {type(item).__name__ for item in field.metadata}
            assert bounds & {"Ge", "Gt"}, name


TABLES = """
[providers.fast]
type = "groq"
api_key = "env:GROQ_KEY"
max_concurrent = 4
[routes."acme/best"]
targets = [{ provider = "fast", model = "m" }]
[prices."fast/m"]
input = 0.5
"""


def test_tables_come_from_the_file(tmp_path: Path) -> None:
    settings = load_settings(config=_file(tmp_path, TABLES))
    assert settings.providers == {"fast": ProviderTable(type="groq", api_key="env:GROQ_KEY", max_concurrent=4)}
    assert settings.routes == {"acme/best": RouteTable(targets=[Target(provider="fast", model="m")])}
    assert settings.prices == {"fast/m": Price(input=0.5)}
    assert load_settings().providers == load_settings().routes == load_settings().prices == {}


def test_tables_have_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PROVIDERS", '{"x": {"type": "groq"}}')
    settings = load_settings()
    assert settings.providers == {}
    [warning] = variable_warnings(settings, {"HEADWATER_PROVIDERS": "hunter2"})
    assert warning == "HEADWATER_PROVIDERS has no effect: providers are tables of the settings file"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[providers.x]\nbase_urll = 'a'", "in the settings file: providers.x: object contains unknown field"),
        ("[providers.x]\napi_key = 'sk-hunter2'", 'providers.x: api_key must be "env:VARIABLE"'),
        ("[providers.x]\nmax_concurrent = -1", "providers.x.max_concurrent: expected `int` >= 0"),
        ("[providers.'a\tb']\ntype = 'x'", "providers: 'a\\tb' is not a name"),
        ("providers = 3", "providers must be tables: [providers.NAME]"),
        ("[routes.r]\ntargets = []", "routes.r.targets: expected `array` of length >= 1"),
        ("[[routes.r.targets]]\nprovider = 'p'\nweight = -1", "routes.r.targets[0].weight: expected `float` >= 0"),
        ("[prices.p]\ncurrency = 'euro'", "prices.p.currency: expected `str` matching regex"),
        ("[prices.gpt-4.1]\ninput = 1", 'a name with a dot needs quotes: [prices."gpt-4.1"]'),
        ("[prices.gpt-4]\ninput = 1\n[prices.gpt-4.1]", 'needs quotes: [prices."gpt-4.1"]'),
        ("[[routes.a.b-3.5.targets]]\nprovider = 'p'", 'needs quotes: [routes."a.b-3.5"]'),
        (
            "[providers.x]\napi_ky = 'hunter2'",
            "providers.x: object contains unknown field `api_ky`; did you mean 'api_key'?",
        ),
        ("[providers.x]\nzzz = 'a'", "providers.x: object contains unknown field `zzz`"),
        ("[providers.x.heders]\na = 'b'", "did you mean 'headers'?"),
        ("[prices.x]\ninptu = 1", "prices.x: object contains unknown field `inptu`; did you mean 'input'?"),
        (
            "[[routes.r.targets]]\nprovidr = 'p'",
            "routes.r.targets[0]: object contains unknown field `providr`; did you mean",
        ),
        ("[[routes.r.targets]]\nprovider = 'p'\nprice = { inptu = 1 }", "unknown field `inptu`; did you mean 'input'?"),
        ("[providers.x]\napi = 'chatt'", "providers.x.api: must be 'chat' or 'responses', not 'chatt'"),
        ("[providers.x.headers]\nAuthorization = 'Bearer hunter2'", 'the header Authorization must be "env:VARIABLE"'),
        ("[providers.x]\nheaders = { X-API-Key = 'hunter2' }", 'the header X-API-Key must be "env:VARIABLE"'),
        ("openai_api = 'both'", "openai_api in the settings file: should be 'chat' or 'responses'"),
    ],
)
def test_a_wrong_table_is_one_line_with_its_path(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(config=_file(tmp_path, text))
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_header_may_be_a_reference_and_others_plain_text(tmp_path: Path) -> None:
    text = "[providers.x.headers]\nAuthorization = 'env:TOKEN'\nX-Team = 'red'"
    headers = load_settings(config=_file(tmp_path, text)).providers["x"].headers
    assert headers == {"Authorization": "env:TOKEN", "X-Team": "red"}


def test_tables_given_in_python_are_told_without_a_file() -> None:
    assert load_settings(prices={"m": {"input": 1}}).prices == {"m": Price(input=1)}
    with pytest.raises(ConfigError, match=r"^prices\.m\.input: expected"):
        load_settings(prices={"m": {"input": "1"}})


def test_the_provider_may_be_selected_without_our_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AnythingLLM's deployments have it; our own variable is stronger, the file weaker."""
    path = _file(tmp_path, "llm_provider = 'file'")
    assert load_settings(config=path).llm_provider == "file"
    monkeypatch.setenv("LLM_PROVIDER", " lmstudio\n")
    assert load_settings(config=path).llm_provider == "lmstudio"
    monkeypatch.setenv("HEADWATER_LLM_PROVIDER", "groq")
    assert load_settings(config=path).llm_provider == "groq"
    assert load_settings(llm_provider="ollama").llm_provider == "ollama"
