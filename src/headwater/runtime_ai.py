"""What the settings `ai_…` of reference 001 mean: its routes' own provider and model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .chat.settings import AiChatSettings
from .config import Settings
from .errors import ConfigError
from .providers.wire.openai_chat import OPENAI_BASE_URL
from .tables import ProviderTable

PROVIDER = "ai"
# Of the reference.
DEFAULT_MODEL = "gpt-3.5-turbo"
# What the provider's table refers to, as no secret is in a table.
_KEY = "HEADWATER_AI_API_KEY"


class OwnProvider(NamedTuple):
    """`variables`: what the table refers to, beside the environment."""

    table: ProviderTable
    variables: Mapping[str, str]


def own_provider(settings: Settings) -> OwnProvider | None:
    """The provider that `ai_api_key` and `ai_api_url` tell of. Raises `ConfigError`."""
    key, url = settings.ai_api_key.get_secret_value().strip(), settings.ai_api_url
    if not key and not url:
        return None
    if PROVIDER in settings.providers:
        raise ConfigError(f"providers.{PROVIDER}: the name is taken by the settings ai_api_key and ai_api_url")
    if not key and url.rstrip("/") == OPENAI_BASE_URL:
        raise ConfigError("ai_api_url is OpenAI's own address and needs ai_api_key")
    table = ProviderTable(type="openai", base_url=url, api_key=f"env:{_KEY}" if key else "")
    return OwnProvider(table, {_KEY: key})


def ai_chat_settings(settings: Settings) -> AiChatSettings:
    """With a provider of their own, the routes ask for its models and no others."""
    own = bool(settings.ai_api_key.get_secret_value().strip() or settings.ai_api_url)
    return AiChatSettings(
        enabled=settings.ai_enabled,
        model=settings.ai_model or (DEFAULT_MODEL if own else ""),
        provider=PROVIDER if own else "",
    )
