"""What a provider is made from, and what may be made: the one interface of presets and plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from ..tables import ProviderTable
from .ports import Provider, WireProtocol


class ProviderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of one provider. References to variables are resolved: this holds secrets.

    `name` is the provider's name in the settings; `base_url`, `api_key` and `headers` (names in lower case) may be
    empty. `table` has the rest; of it, limits are obeyed for every provider, `models` and `drop_unsupported` for every
    protocol, so that a maker has to look at neither.
    """

    name: str
    base_url: str = ""
    api_key: str = ""
    headers: Mapping[str, str] = {}
    table: ProviderTable = ProviderTable()

    def __repr__(self) -> str:
        return f"ProviderOptions(name={self.name!r}, base_url={self.base_url!r})"


Made: TypeAlias = WireProtocol | Sequence[WireProtocol] | Provider
"""A protocol, several in the order in which they are tried, or a whole provider that does its own I/O."""

Maker: TypeAlias = Callable[[ProviderOptions], Made]
"""Raises `ConfigError` for options that cannot work."""
