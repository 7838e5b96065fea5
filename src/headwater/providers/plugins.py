"""Providers from other packages: entry points of the group `headwater.providers`.

An entry point is a callable that takes `ProviderOptions` and returns a `WireProtocol`, several, or a `Provider`. Its
name is used as `type` in a provider's table. Only the one that is asked for is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from ..errors import ConfigError
from .options import Made, Maker, ProviderOptions

GROUP = "headwater.providers"
# A shorter header value ("1", "true") is none, and would blot out words.
_SHORTEST_SECRET = 8


def plugin_names() -> list[str]:
    """The names of all that are installed, sorted."""
    return sorted(entry_points(group=GROUP).names)


def plugin(name: str) -> Maker | None:
    """The maker of that name; None where no package has it. Raises `ConfigError` for one that does not import."""
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        return None
    # Whatever another package raises, on import or with its options, is told as that package's fault.
    try:
        make = found.load()
    except Exception as exc:
        raise ConfigError(f"the provider plug-in {name} ({found.value}) does not load: {_said(exc)}") from exc
    if not callable(make):
        raise ConfigError(f"the provider plug-in {name} ({found.value}) is not callable")

    def checked(options: ProviderOptions) -> Made:
        try:
            made = make(options)
        except ConfigError:
            raise
        except Exception as exc:  # noqa: BLE001 -- told, but not chained: its own words may hold the options' secrets
            raise ConfigError(f"the provider plug-in {name} failed: {_said(exc, options)}") from None
        parts = made if isinstance(made, Sequence) and made else [made]
        if not (hasattr(made, "producer") or all(hasattr(part, "decoder") for part in parts)):
            raise ConfigError(f"the provider plug-in {name} made a {type(made).__name__}, which is no provider")
        return made  # type: ignore[no-any-return]

    return checked


def _said(exc: Exception, options: ProviderOptions | None = None) -> str:
    """One line, without the secrets of `options`."""
    said = " ".join(f"{type(exc).__name__}: {exc}".split())
    secrets = [options.api_key, *options.headers.values()] if options is not None else []
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            said = said.replace(secret, "***")
    return said[:300]
