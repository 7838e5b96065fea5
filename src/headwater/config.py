"""The settings: one frozen model, filled from flags > `HEADWATER_<NAME>` > the TOML file > defaults.

`load_settings` is the way in: it turns whatever is wrong into one readable `ConfigError` that says which source holds
the value. The model is the only place that knows names, bounds and defaults: flags and the reference page are made
from it. This module knows nothing of HTTP servers or logs; it reads the environment and at most one file.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, SecretStr, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from .errors import ConfigError, InputError
from .tables import Price, ProviderTable, RouteTable, check_name, check_quotes, read_table

ENV_PREFIX = "HEADWATER_"
MIB = 2**20

TableT = TypeVar("TableT", ProviderTable, RouteTable, Price)

LogName: TypeAlias = Literal["memory", "sqlite", "postgres", "redis"]
DurabilityName: TypeAlias = Literal["memory", "commit", "fsync"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
OpenAIApi: TypeAlias = Literal["chat", "responses"]

# Read by `headwater chat` and `headwater tail`, and no settings of a server.
CLIENT_VARIABLES = ("HEADWATER_URL", "HEADWATER_API_KEY")

LATER_LOGS = ("postgres", "redis")

# Settings that are tables by name: they stand in the file only, and have neither flag nor variable.
TABLES: dict[str, type[ProviderTable] | type[RouteTable] | type[Price]] = {
    "providers": ProviderTable,
    "routes": RouteTable,
    "prices": Price,
}
# The variable of AnythingLLM and others; HEADWATER_LLM_PROVIDER is stronger.
LLM_PROVIDER = "LLM_PROVIDER"


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/headwater`, else `~/.local/share/headwater` (XDG base directory specification)."""
    base = os.environ.get("XDG_DATA_HOME", "")
    # The specification has relative paths ignored.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share"
    return root / "headwater"


def _split(value: object) -> object:
    """Comma-separated text is a list too, so that one variable or flag can hold it."""
    if isinstance(value, str):
        return [part for part in (part.strip() for part in value.split(",")) if part]
    return value


def _expand(value: object) -> object:
    return os.path.expanduser(value) if isinstance(value, str) else value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if value != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query):
        raise ValueError(f"an origin is * or scheme://host[:port] without a path, got {value!r}")
    return value


def _is_directory(value: Path) -> Path:
    if not value.is_dir():
        raise ValueError(f"{value} is not a directory")
    return value


def _reader(setting: str, kind: type[TableT]) -> PlainValidator:
    """Reads the tables of one setting; what is wrong is told with its path."""

    def read(value: object) -> dict[str, TableT]:
        if not isinstance(value, Mapping):
            raise ValueError(f"{setting} must be tables: [{setting}.NAME]")  # noqa: TRY004 -- what pydantic takes
        try:
            names = {check_name(str(name), where=setting): table for name, table in value.items()}
            for name, table in names.items():
                check_quotes(name, table, kind, where=setting)
            return {name: read_table(table, kind, where=f"{setting}.{name}") for name, table in names.items()}
        except InputError as exc:
            raise ValueError(exc.message) from exc

    return PlainValidator(read)


FilePath: TypeAlias = Annotated[Path, BeforeValidator(_expand)]
Directory: TypeAlias = Annotated[FilePath, AfterValidator(_is_directory)]
Secrets: TypeAlias = Annotated[tuple[Annotated[SecretStr, Field(min_length=1)], ...], NoDecode, BeforeValidator(_split)]
Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Providers: TypeAlias = Annotated[dict[str, ProviderTable], NoDecode, _reader("providers", ProviderTable)]
Routes: TypeAlias = Annotated[dict[str, RouteTable], NoDecode, _reader("routes", RouteTable)]
Prices: TypeAlias = Annotated[dict[str, Price], NoDecode, _reader("prices", Price)]
Origins: TypeAlias = Annotated[tuple[Annotated[str, BeforeValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]


def _setting(group: str, default: Any, description: str, *, shown: str = "", **bounds: Any) -> Any:
    """A field under the heading `group`; `shown` replaces a default that is not one fixed value."""
    extra: JsonDict = {"group": group, "shown": shown}
    if callable(default):
        return Field(default_factory=default, description=description, json_schema_extra=extra, **bounds)
    return Field(default, description=description, json_schema_extra=extra, **bounds)


SERVER, ACCESS, STORAGE = "Server", "Access", "Storage"
MODELS, TIMES, AMOUNTS = "Models", "Times", "Amounts"


class Settings(BaseSettings):
    """Every setting of Headwater. Units are in the names: `_s` seconds, `_ms` milliseconds, `_bytes` bytes."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    config: FilePath | None = _setting(SERVER, None, "TOML file with settings by these names.")
    host: str = _setting(SERVER, "127.0.0.1", "Address to listen on.", min_length=1)
    port: int = _setting(SERVER, 8000, "TCP port; 0 takes a free one.", ge=0, le=65535)
    log_level: LogLevel = _setting(SERVER, "info", "Least severe message to report.")

    api_keys: Secrets = _setting(
        ACCESS,
        (),
        "Keys that callers must send as a bearer token; any one is enough. Prefer the environment or the file:"
        " a flag is visible in the process list.",
    )
    admin_keys: Secrets = _setting(
        ACCESS,
        (),
        "Keys that may also change model routes; they are API keys as well. Other keys can only read the routes.",
    )
    allow_anonymous: bool = _setting(ACCESS, False, "Serve a host that others can reach without any API key.")
    allowed_hosts: Names = _setting(
        ACCESS, (), "Further host names that a server without keys answers to, as behind a proxy of this machine."
    )
    cors_origins: Origins = _setting(
        ACCESS, (), "Origins whose pages may call the API; * for any, never with credentials."
    )

    data_dir: FilePath = _setting(
        STORAGE,
        default_data_dir,
        "Directory of the stream log. One server at a time owns it.",
        shown="$XDG_DATA_HOME/headwater, else ~/.local/share/headwater",
    )
    log: LogName = _setting(
        STORAGE, "sqlite", "Where streams are kept. `postgres` and `redis` are reserved for a later release."
    )
    durability: DurabilityName = _setting(
        STORAGE,
        "commit",
        "What a visible event survives: `commit` a killed process, `fsync` also a power cut, `memory` nothing"
        " (implies log = memory).",
    )
    database_url: SecretStr | None = _setting(STORAGE, None, "PostgreSQL address, reserved for a later release.")
    redis_url: SecretStr | None = _setting(STORAGE, None, "Redis address, reserved for a later release.")
    retention_max_age_s: float = _setting(
        STORAGE, 604_800.0, "Finished streams older than this are deleted; 0 keeps them.", ge=0
    )
    retention_max_bytes: int = _setting(
        STORAGE,
        4096 * MIB,
        "The oldest finished streams are deleted above this size of the log; 0 sets no bound.",
        ge=0,
    )

    default_model: str = _setting(
        MODELS, "", "Model of a request that names none. Empty: the first model of the first provider found."
    )
    llm_provider: str = _setting(
        MODELS,
        "",
        "Provider that comes first: a table's name, or a kind as AnythingLLM writes it (`openai`, `lmstudio` …). The"
        " variable may also be plain `LLM_PROVIDER`.",
    )
    openai_api: OpenAIApi | None = _setting(
        MODELS,
        None,
        "Which of OpenAI's two APIs its provider is asked through.",
        shown="responses for OpenAI's own host, else chat",
    )
    providers: Providers = _setting(MODELS, dict, "Upstreams by name, see below.", shown="none")
    routes: Routes = _setting(MODELS, dict, "Public model names and where their answers come from.", shown="none")
    prices: Prices = _setting(MODELS, dict, "Prices by `provider/model` or model.", shown="none")
    breaker_failures: int = _setting(
        MODELS,
        5,
        "Failures in a row after which a model's other targets are preferred for a while; 0 never.",
        ge=0,
        le=1000,
    )
    breaker_open_s: float = _setting(
        MODELS,
        10.0,
        "How long they are preferred until one request probes it again; doubles with each failed probe, up to 300.",
        gt=0,
        le=300,
    )
    recordings_dir: Directory | None = _setting(
        MODELS, None, "Directory of transcripts; each is served as a model of the `replay` provider."
    )
    replay_pace: float = _setting(
        MODELS,
        1.0,
        "Speed of the `replay` provider: 1 as recorded, 2 twice as fast, 0 without pauses.",
        ge=0,
        le=1000,
    )

    linger_s: float | None = _setting(
        TIMES,
        None,
        "How long a stream lives on without viewers. Unset: 10 for dialects whose SDKs cannot resume"
        " (`openai_chat`), 300 for the others.",
        shown="per dialect",
        ge=0,
        le=86_400,
    )
    heartbeat_s: float = _setting(TIMES, 15.0, "Silence after which a viewer gets a comment line.", ge=0.1, le=3600)
    head_wait_s: float = _setting(
        TIMES,
        5.0,
        "How long API dialects hold the status line, so that an upstream's 401, 429 or 503 keeps its status.",
        ge=0,
        le=120,
    )
    connect_timeout_s: float = _setting(TIMES, 10.0, "Opening a connection to a provider.", gt=0, le=600)
    first_token_timeout_s: float = _setting(TIMES, 120.0, "From the request to the first token.", gt=0, le=86_400)
    idle_timeout_s: float = _setting(
        TIMES, 60.0, "Silence of the provider between chunks; its comments count as life.", gt=0, le=86_400
    )
    total_timeout_s: float = _setting(TIMES, 3600.0, "A whole stream, from acceptance to its end.", gt=0, le=604_800)
    queue_timeout_s: float = _setting(TIMES, 30.0, "Waiting for a free slot to generate in.", gt=0, le=86_400)
    priority_ageing_s: float = _setting(
        TIMES,
        10.0,
        "How much longer a request of the next lower priority waits for a slot: how far `high` may overtake `normal`,"
        " and `normal` `low`. 0 serves all in the order of their coming.",
        ge=0,
        le=3600,
    )
    send_timeout_s: float = _setting(
        TIMES, 30.0, "A viewer that takes no bytes for this long is cut off.", gt=0, le=3600
    )
    log_retry_s: float = _setting(
        TIMES, 5.0, "How long a failing log is tried again before its streams are ended.", ge=0, le=600
    )
    log_timeout_s: float = _setting(
        TIMES, 30.0, "How long a commit may take before its streams are ended.", gt=0, le=3600
    )
    grace_s: float = _setting(TIMES, 20.0, "Time that streams get to finish at shutdown.", ge=0, le=3600)
    retry_ms: int = _setting(TIMES, 2000, "What browsers are told to wait before they reconnect.", ge=0, le=600_000)
    flush_ms: float = _setting(TIMES, 5.0, "Longest output delay, taken only under load.", ge=0, le=25)

    max_connections: int = _setting(AMOUNTS, 10_000, "Viewers held at once.", ge=1, le=1_000_000)
    max_streams: int = _setting(AMOUNTS, 2000, "Streams generating at once.", ge=1, le=100_000)
    max_queued: int = _setting(AMOUNTS, 1000, "Streams waiting to generate; more are refused.", ge=0, le=1_000_000)
    max_body_bytes: int = _setting(AMOUNTS, 8 * MIB, "Largest request body.", ge=1024, le=1024 * MIB)
    max_header_bytes: int = _setting(AMOUNTS, 65_536, "Largest request head.", ge=1024, le=MIB)
    max_stream_bytes: int = _setting(
        AMOUNTS, 64 * MIB, "Largest stream; a longer one ends in an error.", ge=65_536, le=1024 * MIB
    )
    tail_bytes: int = _setting(
        AMOUNTS,
        32_768,
        "Newest part of a stream held in memory; slower viewers read the log.",
        ge=1024,
        le=16 * MIB,
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
        values = read_toml(Path(str(file)).expanduser()) if file else {}
        if "llm_provider" not in variables and (selected := os.environ.get(LLM_PROVIDER, "").strip()):
            variables["llm_provider"] = selected
        return (
            init_settings,
            InitSettingsSource(settings_cls, init_kwargs=variables),
            InitSettingsSource(settings_cls, init_kwargs=values),
        )

    @model_validator(mode="before")
    @classmethod
    def _agree_on_log(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Memory durability and the memory log are one choice: naming either implies the other."""
        log, durability = values.get("log"), values.get("durability")
        if log in LATER_LOGS:
            raise ValueError(f"log = {log} comes with a later release; this release has memory and sqlite")
        if "memory" not in (log, durability):
            return values
        if {log, durability} - {"memory", None}:
            raise ValueError(f"log = {log} and durability = {durability} contradict each other")
        return {**values, "log": "memory", "durability": "memory"}

    @property
    def keyed(self) -> bool:
        """Whether callers need a key."""
        return bool(self.api_keys or self.admin_keys)

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
        unused = [name for name in ("database_url", "redis_url") if getattr(self, name) is not None]
        return [f"{name} is set but not used: this release has the logs memory and sqlite" for name in unused]


def variable_warnings(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Variables of our prefix that a server does not obey, one sentence each. Holds no value of theirs."""
    clients = (name.removeprefix(ENV_PREFIX).lower() for name in CLIENT_VARIABLES)
    names = [*(name for name in Settings.model_fields if name not in TABLES), *clients]
    found = [name for name, value in environ.items() if value and name.upper().startswith(ENV_PREFIX)]
    warnings = []
    for variable in sorted(found):
        name = variable[len(ENV_PREFIX) :].lower()
        if name in names:
            continue
        if name in TABLES:
            warnings.append(f"{variable} has no effect: {name} are tables of the settings file")
            continue
        # Without the prefix, which would make any two of them look alike.
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {ENV_PREFIX}{near[0].upper()}?" if near else ""
        warnings.append(f"{variable} is not a setting and has no effect{hint}")
    if "HEADWATER_API_KEY" in found and not settings.keyed:
        warnings.append(
            "this server has no API key: HEADWATER_API_KEY is what clients send, set HEADWATER_API_KEYS for what the"
            " server asks for"
        )
    return warnings


def load_settings(**values: object) -> Settings:
    """Settings from all sources; `values` (flags, keyword arguments) are the strongest, `None` means not given.

    Raises `ConfigError` with one line that names the source, the setting and what is wrong, never a secret.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as exc:
        raise ConfigError("; ".join(_explain(error, given) for error in exc.errors())) from None


def read_toml(path: Path) -> dict[str, Any]:
    """The file's settings. Raises `ConfigError`, also for a key that is no setting."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    for name in values:
        if name not in Settings.model_fields or name == "config":
            raise ConfigError(f"{path}: {unknown(name)}")
    return values


def unknown(name: str) -> str:
    """Says that `name` is no setting, with the nearest one that is."""
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"{name!r} is not a setting" + (f"; did you mean {near[0]!r}?" if near else "")


def _explain(error: Mapping[str, Any], given: Mapping[str, object]) -> str:
    """One validation error as `<where>: <what>`."""
    name = str(error["loc"][0]) if error["loc"] else ""
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if not name:
        return message
    if name in TABLES:
        return message if name in given else f"in the settings file: {message}"
    if error["type"] == "extra_forbidden":
        return unknown(name)
    secret = name in ("api_keys", "admin_keys", "database_url", "redis_url")
    got = "" if secret or error["type"] == "value_error" else f", not {error['input']!r}"
    if name in given:
        where = name
    else:
        variable = f"{ENV_PREFIX}{name.upper()}"
        where = variable if os.environ.get(variable) else f"{name} in the settings file"
    return f"{where}: {message}{got}"
