"""How a setting is declared: its types, its heading, what is told of it. Knows no setting by its name, but tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

from ..errors import InputError
from ..tables import Price, ProviderTable, RouteTable, check_name, check_quotes, read_table

MIB = 2**20

TableT = TypeVar("TableT", ProviderTable, RouteTable, Price)

LogName: TypeAlias = Literal["memory", "sqlite", "postgres", "redis"]
DurabilityName: TypeAlias = Literal["memory", "commit", "fsync"]
LogFormat: TypeAlias = Literal["console", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
OpenAIApi: TypeAlias = Literal["chat", "responses"]
CodingName: TypeAlias = Literal["gzip", "zstd", "br", "deflate"]
PrometheusAccess: TypeAlias = Literal["admin", "key", "open", "off"]

# Settings that are tables by name: they stand in the file only, and have neither flag nor variable.
TABLES: dict[str, type[ProviderTable] | type[RouteTable] | type[Price]] = {
    "providers": ProviderTable,
    "routes": RouteTable,
    "prices": Price,
}


class Group(BaseModel):
    """Settings under one heading. Only the whole, `Settings`, is ever made."""

    model_config = ConfigDict(defer_build=True)


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


def _split_codings(value: object) -> object:
    """`off` is the empty list, which a variable cannot hold."""
    return () if value == "off" else _split(value)


def _expand(value: object) -> object:
    return os.path.expanduser(value) if isinstance(value, str) else value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if value != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query):
        raise ValueError(f"an origin is * or scheme://host[:port] without a path, got {value!r}")
    return value


def _address(value: str) -> str:
    """Does not quote what is wrong: there may be a password in it."""
    try:
        parts = urlsplit(value)
        right = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        right = False
    if value and not right:
        raise ValueError("an address is http://host[:port]/… or https://host[:port]/…")
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


Address: TypeAlias = Annotated[str, AfterValidator(_address)]
FilePath: TypeAlias = Annotated[Path, BeforeValidator(_expand)]
Directory: TypeAlias = Annotated[FilePath, AfterValidator(_is_directory)]
Secrets: TypeAlias = Annotated[tuple[Annotated[SecretStr, Field(min_length=1)], ...], NoDecode, BeforeValidator(_split)]
Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Codings: TypeAlias = Annotated[tuple[CodingName, ...], NoDecode, BeforeValidator(_split_codings)]
Providers: TypeAlias = Annotated[dict[str, ProviderTable], NoDecode, _reader("providers", ProviderTable)]
Routes: TypeAlias = Annotated[dict[str, RouteTable], NoDecode, _reader("routes", RouteTable)]
Prices: TypeAlias = Annotated[dict[str, Price], NoDecode, _reader("prices", Price)]
Origins: TypeAlias = Annotated[tuple[Annotated[str, BeforeValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]


def setting(group: str, default: Any, description: str, *, shown: str = "", **bounds: Any) -> Any:
    """A field under the heading `group`; `shown` replaces a default that is not one fixed value."""
    extra: JsonDict = {"group": group, "shown": shown}
    if callable(default):
        return Field(default_factory=default, description=description, json_schema_extra=extra, **bounds)
    return Field(default, description=description, json_schema_extra=extra, **bounds)


def secret(group: str, description: str) -> Any:
    """A field for a `SecretStr` that is empty where none is given."""
    return setting(group, SecretStr(""), description, shown="none")


def is_secret(field: FieldInfo) -> bool:
    """Whether a value of the field, right or wrong, must not be shown."""
    return _holds_secret(field.annotation)


def _holds_secret(kind: object) -> bool:
    return kind is SecretStr or any(map(_holds_secret, get_args(kind)))
