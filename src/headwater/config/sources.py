"""Where values come from beside flags: variables and the TOML file. Knows no setting's bounds or default."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import ConfigError

ENV_PREFIX = "HEADWATER_"

# Read by `headwater chat` and `headwater tail`, and no settings of a server.
CLIENT_VARIABLES = ("HEADWATER_URL", "HEADWATER_API_KEY")

# Names of other programs, the strongest first; ours with the prefix is stronger than any of them. `LLM_PROVIDER` is
# AnythingLLM's; the settings of reference 001 are read as it writes them and as variables are written.
PLAIN_VARIABLES = {
    "llm_provider": ("LLM_PROVIDER",),
    **{name: (name.upper(), name) for name in ("ai_enabled", "ai_api_key", "ai_model", "ai_api_url")},
}


def plain_values() -> dict[str, str]:
    """What variables without our prefix say, by setting."""
    named = {name: _plain_variable(name) for name in PLAIN_VARIABLES}
    return {name: os.environ[variable].strip() for name, variable in named.items() if variable}


def variable_of(name: str) -> str:
    """The variable that a setting is taken from; "" where none has it. Case means nothing after our prefix."""
    wanted = f"{ENV_PREFIX}{name}".upper()
    ours = (variable for variable, value in os.environ.items() if value and variable.upper() == wanted)
    return next(ours, "") or _plain_variable(name)


def _plain_variable(name: str) -> str:
    return next((one for one in PLAIN_VARIABLES.get(name, ()) if os.environ.get(one, "").strip()), "")


def read_toml(path: Path, names: Collection[str]) -> dict[str, Any]:
    """The file's settings. Raises `ConfigError`, also for a key that is not among `names`."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    for name in values:
        if name not in names or name == "config":
            raise ConfigError(f"{path}: {unknown(name, names)}")
    return values


def unknown(name: str, names: Collection[str]) -> str:
    """Says that `name` is no setting, with the nearest one that is."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"{name!r} is not a setting" + (f"; did you mean {near[0]!r}?" if near else "")
