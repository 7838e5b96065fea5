"""The settings of reference 001: a provider of its routes' own, and their model."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.chat.settings import AiChatSettings
from headwater.config import Settings, load_settings
from headwater.errors import ConfigError
from headwater.events import text_of
from headwater.request import ChatRequest
from headwater.runtime import open_registry, open_runtime
from headwater.runtime_ai import ai_chat_settings, own_provider
from headwater.streams import NewStream
from tests.upstream import Upstream, prompt
from tests.upstream.script import Script

KEY = "sk-the-routes-own"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        for variable in (f"HEADWATER_{name.upper()}", name.upper(), name):
            monkeypatch.delenv(variable, raising=False)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPEN_AI_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")


def test_without_them_there_is_nothing() -> None:
    settings = load_settings(ai_enabled=False, ai_model="m")
    assert own_provider(settings) is None
    assert ai_chat_settings(settings) == AiChatSettings(enabled=False, model="m")
    assert ai_chat_settings(load_settings()) == AiChatSettings()


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ({"ai_api_key": KEY}, "gpt-3.5-turbo"),
        ({"ai_api_key": KEY, "ai_model": "gpt-4o"}, "gpt-4o"),
        ({"ai_api_url": "http://127.0.0.1:9/v1"}, "gpt-3.5-turbo"),
    ],
)
def test_with_a_key_or_an_address_there_is_a_provider(given: dict[str, str], model: str) -> None:
    settings = load_settings(**given)
    own = own_provider(settings)
    assert own is not None
    assert KEY not in repr(own.table)
    assert own.table.base_url == given.get("ai_api_url", "")
    assert ai_chat_settings(settings) == AiChatSettings(model=model, provider="ai")


def test_openais_own_address_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="needs ai_api_key"):
        own_provider(load_settings(ai_api_url="https://api.openai.com/v1/"))


def test_the_name_can_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "headwater.toml"
    path.write_text('[providers.ai]\ntype = "vllm"\nbase_url = "http://127.0.0.1:9/v1"\n')
    with pytest.raises(ConfigError, match=r"providers\.ai"):
        own_provider(load_settings(config=path, ai_api_key=KEY))


async def test_the_provider_comes_last_and_is_asked_with_its_key(tmp_path: Path) -> None:
    """The reference's default address is OpenAI's; here it is the address that the setting names."""
    async with Upstream(api_key=KEY) as upstream:
        settings = load_settings(data_dir=tmp_path, ai_api_key=KEY, ai_api_url=upstream.openai_url, grace_s=0)
        async with open_runtime(settings, chat=False) as running:
            assert running.registry.names == ["ollama", "extractive", "replay", "ai"]
            route = await running.registry.resolve(ai_chat_settings(settings).model_of(None))
            assert (route.provider_name, route.targets[0].model) == ("ai", "gpt-3.5-turbo")
            request = ChatRequest("ai/fake-1", [{"role": "user", "content": prompt(tokens=3)}])
            route = await running.registry.resolve(request.model)
            channel, _ = await running.hub.create(NewStream(owner=""), route.producer(request))
            await channel.wait_end()
            assert text_of(await running.hub.read_all(channel)) == Script(tokens=3).answer()


async def test_default_address_and_llm_provider(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, ai_api_key=KEY, llm_provider="ai")
    registry = await open_registry(settings)
    assert registry.names[0] == "ai"
    await registry.close()
