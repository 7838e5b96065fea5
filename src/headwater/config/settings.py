"""The one model of all settings, what they say together, and the order of their sources."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ..errors import ConfigError
from .chat import Conversations, Documents, Embeddings, Identity
from .fields import TABLES
from .server import Access, Amounts, Compressing, Models, Monitor, Server, Storage, Times
from .sources import ENV_PREFIX, plain_values, read_toml

_LATER_LOGS = ("postgres", "redis")


# Fields come in the order of the bases from the last one to the first.
class Settings(
    Monitor,
    Compressing,
    Amounts,
    Times,
    Embeddings,
    Documents,
    Conversations,
    Models,
    Storage,
    Identity,
    Access,
    Server,
    BaseSettings,
):
    """Every setting of Headwater. Units are in the names: `_s` seconds, `_ms` milliseconds, `_bytes` bytes."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        defer_build=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        variables = {name: value for name, value in env_settings().items() if name not in TABLES}
        file = init_settings().get("config") or variables.get("config")
        values = read_toml(Path(str(file)).expanduser(), settings_cls.model_fields) if file else {}
        return (
            init_settings,
            InitSettingsSource(settings_cls, init_kwargs=plain_values() | variables),
            InitSettingsSource(settings_cls, init_kwargs=values),
        )

    @model_validator(mode="before")
    @classmethod
    def _agree_on_log(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Memory durability and the memory log are one choice: naming either implies the other."""
        log, durability = values.get("log"), values.get("durability")
        if log in _LATER_LOGS:
            raise ValueError(f"log = {log} comes with a later release; this release has memory and sqlite")
        if "memory" not in (log, durability):
            return values
        if {log, durability} - {"memory", None}:
            raise ValueError(f"log = {log} and durability = {durability} contradict each other")
        return {**values, "log": "memory", "durability": "memory"}

    @property
    def keyed(self) -> bool:
        """Whether the settings ask callers for a key or a token."""
        tokens = self.jwt_secret.get_secret_value() or self.jwt_public_key or self.jwt_jwks_url
        return bool(self.api_keys or self.admin_keys or tokens)

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach `host`."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return True

    def check_exposure(self) -> Self:
        """Raises `ConfigError` for an address that others can reach without any API key. For servers only."""
        if self.exposed and not self.keyed and not self.allow_anonymous:
            raise ConfigError(
                f"host {self.host} can be reached by others: set HEADWATER_API_KEYS, or --allow-anonymous to serve"
                " without keys"
            )
        return self

    def warnings(self) -> list[str]:
        """What is set but has no effect, one sentence each."""
        found = []
        if self.redis_url is not None:
            found.append("redis_url is set but not used: this release has the logs memory and sqlite")
        if self.log_content and not self.access_log:
            found.append("log_content has no effect without access_log")
        if self.alert_webhook_url.get_secret_value() and not self.metrics:
            found.append("alert_webhook_url has no effect without metrics")
        if self.otlp_endpoint and not self.metrics:
            found.append("otlp_endpoint has no effect without metrics")
        return found
