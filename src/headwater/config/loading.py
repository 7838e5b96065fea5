"""Settings from all their sources, and in words what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError
from .fields import TABLES, is_secret
from .settings import Settings
from .sources import CLIENT_VARIABLES, ENV_PREFIX, unknown, variable_of


def load_settings(**values: object) -> Settings:
    """Settings from all sources; `values` (flags, keyword arguments) are the strongest, `None` means not given.

    Raises `ConfigError` with one line that names the source, the setting and what is wrong, never a secret.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as exc:
        raise ConfigError("; ".join(_explain(error, given) for error in exc.errors())) from None


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
            "this server has no API key; HEADWATER_API_KEY is what clients send, set HEADWATER_API_KEYS for what the"
            " server asks for"
        )
    return warnings


def _explain(error: Mapping[str, Any], given: Mapping[str, object]) -> str:
    """One validation error as `<where>: <what>`."""
    name = str(error["loc"][0]) if error["loc"] else ""
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if not name:
        return message
    if name in TABLES:
        return message if name in given else f"in the settings file: {message}"
    if error["type"] == "extra_forbidden":
        return unknown(name, Settings.model_fields)
    hidden = is_secret(Settings.model_fields[name]) or error["type"] == "value_error"
    got = "" if hidden else f", not {error['input']!r}"
    where = name if name in given else variable_of(name) or f"{name} in the settings file"
    return f"{where}: {message}{got}"
