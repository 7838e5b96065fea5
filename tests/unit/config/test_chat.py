"""The settings of the chat backend: the same as its structs, secrets kept, and the names of reference 001."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from pydantic import SecretStr

from headwater.chat.settings import ChatSettings
from headwater.config import Settings, load_settings, variable_warnings
from headwater.config.fields import is_secret
from headwater.config.sources import PLAIN_VARIABLES
from headwater.documents.ingest import IngestSettings
from headwater.documents.settings import DocumentSettings
from headwater.errors import ConfigError
from headwater.identity.settings import IdentitySettings
from headwater.terminal.flags import choices_of

STRUCTS: list[type[msgspec.Struct]] = [ChatSettings, DocumentSettings, IngestSettings, IdentitySettings]
SECRETS = sorted(name for name, field in Settings.model_fields.items() if is_secret(field))
AI = ("ai_enabled", "ai_api_key", "ai_model", "ai_api_url")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEADWATER_{name.upper()}", raising=False)
    for names in PLAIN_VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


def _plain(value: object) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "headwater.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("struct", STRUCTS)
def test_a_structs_fields_are_settings_with_the_same_defaults_and_types(struct: type[msgspec.Struct]) -> None:
    settings = load_settings()
    values = {name: _plain(getattr(settings, name)) for name in struct.__struct_fields__}
    assert msgspec.convert(values, struct) == struct()
    for name, kind in typing.get_type_hints(struct).items():
        if get_origin(kind) is Literal:
            assert set(choices_of(Settings.model_fields[name])) == set(get_args(kind)), name


def test_what_is_secret() -> None:
    theirs = {"ai_api_key", "embedding_api_key", "jwt_secret", "ticket_secret"}
    theirs |= {"alert_webhook_url", "alert_webhook_secret", "encryption_keys"}
    assert set(SECRETS) == theirs | {"api_keys", "admin_keys", "database_url", "redis_url"}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_told_by_nothing(name: str, tmp_path: Path) -> None:
    settings = load_settings(**{name: "hunter2"})
    assert "hunter2" not in f"{settings!r} {settings} {settings.warnings()}"
    assert "hunter2" in str(_plain(getattr(settings, name)))
    for wrong in ({"hunter2": 1}, [["hunter2"]], ["hunter2", 5]):
        with pytest.raises(ConfigError, match=rf"^{name}: ") as caught:
            load_settings(**{name: wrong})
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match=f"^{name} in the settings file: ") as caught:
        load_settings(config=_file(tmp_path, f"[{name}]\nhunter2 = 'hunter2'"))
    assert "hunter2" not in str(caught.value)


def test_an_empty_secret_is_none(tmp_path: Path) -> None:
    settings = load_settings(config=_file(tmp_path, "jwt_secret = ''"))
    assert not settings.jwt_secret.get_secret_value()
    assert not settings.keyed


@pytest.mark.parametrize(
    "values", [{"jwt_secret": "s" * 32}, {"jwt_public_key": "PEM"}, {"jwt_jwks_url": "https://h/keys"}]
)
def test_a_server_that_asks_for_tokens_may_be_exposed(values: dict[str, str]) -> None:
    settings = load_settings(host="0.0.0.0", **values)
    assert settings.keyed
    assert settings.check_exposure() is settings
    assert variable_warnings(settings, {"HEADWATER_API_KEY": "k"}) == []


@pytest.mark.parametrize("spelt", [str.upper, str.lower])
def test_the_variables_of_reference_001(
    spelt: typing.Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path, "ai_model = 'file'\nai_enabled = true")
    assert load_settings(config=path).ai_model == "file"
    told = {"ai_enabled": "false", "ai_api_key": " k\n", "ai_model": "m", "ai_api_url": "http://127.0.0.1:1/v1"}
    for name, value in told.items():
        monkeypatch.setenv(spelt(name), value)
    settings = load_settings(config=path)
    assert [_plain(getattr(settings, name)) for name in AI] == [False, "k", "m", "http://127.0.0.1:1/v1"]
    assert variable_warnings(settings, dict.fromkeys(map(spelt, AI), "1")) == []
    monkeypatch.setenv("HEADWATER_AI_MODEL", "ours")
    assert load_settings(config=path).ai_model == "ours"
    assert load_settings(config=path, ai_model="flag").ai_model == "flag"


def test_upper_case_is_stronger_and_blank_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_MODEL", " ")
    monkeypatch.setenv("ai_model", "lower")
    assert load_settings().ai_model == "lower"
    monkeypatch.setenv("AI_MODEL", "upper")
    assert load_settings().ai_model == "upper"


def test_the_line_names_the_variable_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ai_enabled", "perhaps")
    with pytest.raises(ConfigError, match=r"^ai_enabled: should be a valid boolean.*, not 'perhaps'$"):
        load_settings()
    monkeypatch.setenv("AI_ENABLED", "perhaps")
    with pytest.raises(ConfigError, match=r"^AI_ENABLED: "):
        load_settings()
    monkeypatch.setenv("headwater_ai_enabled", "maybe")
    with pytest.raises(ConfigError, match=r"^headwater_ai_enabled: .*not 'maybe'"):
        load_settings()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"min_score": 1.1}, "min_score: should be less than or equal to 1"),
        ({"passages": 101}, "passages: should be less than or equal to 100"),
        ({"query_refusal": ""}, "query_refusal: "),
        ({"titles": "words,model"}, "titles: should be 'model', 'words' or 'off'"),
        ({"search_candidates": 9}, "search_candidates: should be greater than or equal to 10"),
        ({"similarity_floor": 1}, "similarity_floor: should be less than or equal to 0.9"),
        ({"embedding_batch": 2049}, "embedding_batch: should be less than or equal to 2048"),
        ({"embedding_dimensions": 0}, "embedding_dimensions: should be greater than or equal to 1"),
        ({"embedding": "cohere"}, "embedding: should be 'none', 'openai', 'ollama' or 'local'"),
        ({"max_documents": 0}, "max_documents: should be greater than or equal to 1"),
        ({"jwt_leeway_s": 301}, "jwt_leeway_s: should be less than or equal to 300"),
        ({"jwt_tenant": "team"}, "jwt_tenant: should be 'user', 'project' or 'organization'"),
        ({"ticket_ttl_s": 0.5}, "ticket_ttl_s: should be greater than or equal to 1"),
        ({"key_cache_s": 61}, "key_cache_s: should be less than or equal to 60"),
        ({"user_budget_period": "year"}, "user_budget_period: should be 'day', 'month' or 'total'"),
        ({"user_budget_cost": -1}, "user_budget_cost: should be greater than or equal to 0"),
        (
            {"passage_characters": 100, "passage_overlap_characters": 51},
            "passage_overlap_characters must be at most half of passage_characters",
        ),
    ],
)
def test_bounds(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(**values)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("name", ["ai_api_url", "embedding_url"])
@pytest.mark.parametrize("wrong", ["hunter2@h", "ftp://hunter2@h", "http://", "http://[hunter2"])
def test_an_address_that_is_none_is_not_quoted(name: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: an address is http://host") as caught:
        load_settings(**{name: wrong})
    assert "hunter2" not in str(caught.value)
