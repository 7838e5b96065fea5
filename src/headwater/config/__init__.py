"""The settings: one frozen model, filled from flags > `HEADWATER_<NAME>` > the TOML file > defaults.

`load_settings` is the way in: it turns whatever is wrong into one readable `ConfigError` that says which source holds
the value. The model is the only place that knows names, bounds and defaults: flags and the reference page are made
from it. This package knows nothing of HTTP servers or logs; it reads the environment and at most one file. A new
setting is a field in `server` or `chat`.
"""

from .fields import TABLES, default_data_dir
from .loading import load_settings, variable_warnings
from .settings import Settings
from .sources import CLIENT_VARIABLES, ENV_PREFIX

__all__ = [
    "CLIENT_VARIABLES",
    "ENV_PREFIX",
    "TABLES",
    "Settings",
    "default_data_dir",
    "load_settings",
    "variable_warnings",
]
