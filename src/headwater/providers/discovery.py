"""Which providers there are: those of the settings' tables, and those that the environment tells of.

In the order of preference: the one that `llm_provider` selects, the tables in their order, the environment in the
order of `PRESETS`, recordings last. A table with a preset's name amends what the environment says of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from msgspec.structs import replace

from ..errors import ConfigError, ProviderError
from ..tables import ProviderTable
from .extractive import Extractive
from .fetch import fetch
from .http_provider import HttpProvider
from .options import Made, Maker, ProviderOptions
from .plugins import plugin, plugin_names
from .ports import Provider, Transport
from .presets import PRESETS, Preset, preset_name
from .replay import Replay
from .transport_errors import check_headers
from .transport_httptools import HttptoolsTransport

_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
# A server on the same machine answers within a millisecond; a start must not wait for one that is not there.
_PROBE_TIMEOUT_S = 0.5
REPLAY, EXTRACTIVE = "replay", "extractive"
BUILT_IN = {EXTRACTIVE: "the built-in model", REPLAY: "the recordings"}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 -- recognised, not bound
_BARE = ProviderTable()
_PARTICULAR = ("headers", "stream", "api", "api_version")


class Surroundings(NamedTuple):
    """What providers are found in. All but `environ` and `transport` come from the settings, by the same names.

    `tables` is the setting `providers`; `openai_api` is `chat`, `responses` or "". `own_address`: the host and port
    that Headwater itself listens on, which no provider may have; None where it listens on none, or on any free port.
    """

    environ: Mapping[str, str]
    transport: Transport
    recordings_dir: Path | None = None
    replay_pace: float = 1.0
    tables: Mapping[str, ProviderTable] = {}
    llm_provider: str = ""
    openai_api: str = ""
    own_address: tuple[str, int] | None = None

    def value(self, *names: str) -> str:
        """The first variable that is set, without the blanks and line breaks that copying a key brings along."""
        return next((value for name in names if (value := self.environ.get(name, "").strip())), "")


class Found(NamedTuple):
    """A provider, and the table that holds its limits. `local`: what it is asked stays here or in a private network."""

    provider: Provider
    table: ProviderTable
    local: bool = False


async def find_providers(around: Surroundings) -> list[Found]:
    """Raises `ConfigError`, in one line, for a table or a variable that cannot work."""
    found: dict[str, Found] = {}
    kinds: dict[str, str] = {}
    for name, table in around.tables.items():
        kinds[name] = _kind_of(table.type or name)
        found[name] = _from_table(around, name, kinds[name], table)
    amended = {preset_name(name) for name in around.tables}
    for name, preset in PRESETS.items():
        if name not in amended and (announced := await _announced(around, name, preset)) is not None:
            found[name], kinds[name] = announced, name
    found[EXTRACTIVE] = Found(Extractive(), _BARE, local=True)
    found[REPLAY] = Found(Replay(around.recordings_dir, pace=around.replay_pace), _BARE, local=True)
    if around.llm_provider:
        chosen = _chosen(around, kinds, around.llm_provider.strip())
        first = found.pop(chosen, None) or _selected(around, chosen)
        found = {chosen: first, **found}
    return list(found.values())


def transport_for(environ: Mapping[str, str], *, connect_timeout_s: float = 10.0) -> Transport:
    """Our own transport, or aiohttp's where the environment names a proxy."""
    if any(environ.get(name, "").strip() for name in _PROXIES):
        from .transport_aiohttp import AiohttpTransport  # late: importing aiohttp is a tenth of a start

        return AiohttpTransport(connect_timeout_s=connect_timeout_s)
    return HttptoolsTransport(connect_timeout_s=connect_timeout_s)


def _kind_of(name: str) -> str:
    """The preset that `name` means by any of its spellings, else a plug-in's name."""
    return preset_name(name) or name


def _chosen(around: Surroundings, kinds: Mapping[str, str], wanted: str) -> str:
    """The provider's name that `llm_provider` means: a table's, or a kind's by any of its spellings."""
    if wanted in kinds or wanted in BUILT_IN:
        return wanted
    kind = _kind_of(wanted)
    named = next((name for name, its in kinds.items() if its == kind), None)
    if named is not None:
        return named
    if kind in PRESETS or kind in plugin_names():
        return kind
    known = ", ".join([*around.tables, *PRESETS, *plugin_names(), *BUILT_IN])
    raise ConfigError(f"LLM_PROVIDER: there is no provider {wanted[:100]!r}; there are: {known}")


def _selected(around: Surroundings, kind: str) -> Found:
    """One that was asked for, though nothing else tells of it."""
    preset = PRESETS.get(kind)
    if preset is None:
        return _found(around, kind, kind, ProviderOptions(name=kind))
    options = _options(around, kind, preset, _BARE, amends=True)
    return _found(around, kind, kind, _complete(f"LLM_PROVIDER = {kind}", preset, options, amends=True))


async def _announced(around: Surroundings, name: str, preset: Preset) -> Found | None:
    """The provider whose variables are set, or that answers on this machine."""
    key, address = around.value(*preset.key_variables), around.value(*preset.url_variables)
    there = {"key": key and (preset.base_url or address), "address": address, "either": key or address}[preset.needs]
    if not preset.announced or not (there or preset.probed):
        return None
    options = _options(around, name, preset, _BARE, amends=True)
    made = _make(name, preset.make, options)
    if not there and not await _answers(around.transport, made):
        return None
    return Found(_provider(around, made, options), _BARE, _is_local(options))


async def _answers(transport: Transport, made: Made) -> bool:
    """Whether the server is there now and lists models as its protocol says."""
    assert hasattr(made, "list_models")  # noqa: S101 -- only single protocols are probed for
    try:
        status, _, _ = await fetch(transport, made.list_models(), timeout_s=_PROBE_TIMEOUT_S)
    except ProviderError:
        return False
    return status == 200


def _from_table(around: Surroundings, name: str, kind: str, table: ProviderTable) -> Found:
    where = f"providers.{name}"
    if name in BUILT_IN:
        raise ConfigError(f"{where}: the name is taken by {BUILT_IN[name]}")
    preset = PRESETS.get(kind)
    if preset is None:
        options = ProviderOptions(
            name=name,
            base_url=table.base_url,
            api_key=_resolved(around, f"{where}.api_key", table.api_key),
            headers=_headers(around, where, table),
            table=table,
        )
        return _found(around, where, kind, options)
    for field in _PARTICULAR:
        if getattr(table, field) != getattr(_BARE, field) and field not in preset.takes:
            raise ConfigError(f"{where}.{field} has no effect on {kind}")
    amends = preset_name(name) == kind
    options = _options(around, name, preset, table, amends=amends)
    return _found(around, where, kind, _complete(where, preset, options, amends=amends))


def _options(around: Surroundings, name: str, preset: Preset, table: ProviderTable, *, amends: bool) -> ProviderOptions:
    """The table, and where it `amends` the preset of its own name, what the preset's variables add to it.

    Tables of other names get nothing that they do not name, so that no key goes to an address it was not meant for.
    """
    where = f"providers.{name}"
    found = around.value if amends else lambda *names: ""
    headers = {header: value for header, variable in preset.header_variables.items() if (value := found(variable))}
    for field, variable in preset.table_variables.items():
        table = replace(table, **{field: getattr(table, field) or found(variable)})
    if "api" in preset.takes:
        table = replace(table, api=table.api or around.openai_api)
    return ProviderOptions(
        name=name,
        base_url=_address(where, preset, table.base_url or found(*preset.url_variables)),
        api_key=_resolved(around, f"{where}.api_key", table.api_key) or found(*preset.key_variables),
        headers={**headers, **_headers(around, where, table)},
        table=table,
    )


def _address(where: str, preset: Preset, told: str) -> str:
    try:
        return preset.address(told)
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc.message}") from exc


def _complete(where: str, preset: Preset, options: ProviderOptions, *, amends: bool) -> ProviderOptions:
    """The options, if nothing is missing. Raises `ConfigError` naming what helps, a variable only if it is read."""
    if not options.base_url:
        advice = f"set {preset.url_variables[0]}, or base_url in its table" if amends else "set base_url in its table"
        raise ConfigError(f"{where} needs an address: {advice}")
    needs_key = preset.needs == "key" or (preset.needs == "either" and options.base_url == preset.base_url)
    if needs_key and not options.api_key:
        own = f"{preset.key_variables[0]}, or " if amends else ""
        raise ConfigError(f'{where} needs a key: set {own}api_key = "env:VARIABLE" in its table')
    return options


def _resolved(around: Surroundings, where: str, text: str) -> str:
    """What `env:VARIABLE` refers to, or the text itself. Raises `ConfigError` where the variable is not set."""
    scheme, colon, variable = text.partition(":")
    if scheme != "env" or not colon:
        return text
    value = around.value(variable)
    if not value:
        raise ConfigError(f"{where}: the variable {variable} is not set")
    return value


def _headers(around: Surroundings, where: str, table: ProviderTable) -> dict[str, str]:
    return {
        header.lower(): _resolved(around, f"{where}.headers.{header}", text) for header, text in table.headers.items()
    }


def _found(around: Surroundings, where: str, kind: str, options: ProviderOptions) -> Found:
    return Found(_made(around, where, kind, options), options.table, _is_local(options))


def _is_local(options: ProviderOptions) -> bool:
    """As the table says; else by the address alone: whoever can answer for a name can lead it elsewhere."""
    if options.table.local is not None:
        return options.table.local
    try:
        host = urlsplit(options.base_url).hostname or ""
        return host in _LOOPBACK or ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def _made(around: Surroundings, where: str, kind: str, options: ProviderOptions) -> Provider:
    preset = PRESETS.get(kind)
    make = preset.make if preset is not None else plugin(kind)
    if make is None:
        known = ", ".join([*PRESETS, *plugin_names()])
        hint = "" if options.table.type else '; add type to its table, as type = "openai-compatible"'
        raise ConfigError(f"{where}: there is no provider of the type {kind[:100]!r}{hint}; there are: {known}")
    return _provider(around, _make(where, make, options), options)


def _make(where: str, make: Maker, options: ProviderOptions) -> Made:
    try:
        # Every request would fail on it; it is told at the start, and never with its value.
        check_headers({**options.headers, "api-key": options.api_key})
        return make(options)
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc.message}") from exc


def _leads_to(address: tuple[str, int], base_url: str) -> bool:
    """Whether `base_url` names the host and port of a server on this machine; names are not looked up."""
    own, own_port = address
    try:
        parts = urlsplit(base_url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return False  # its maker says what is wrong with it
    own, host = own.strip("[]").lower(), parts.hostname or ""
    return port == own_port and (host == own or (host in _LOOPBACK and own in _LOOPBACK | _EVERYWHERE))


def _provider(around: Surroundings, made: Made, options: ProviderOptions) -> Provider:
    """A whole provider as it is; protocols on the shared transport. Raises `ConfigError` for our own address."""
    if around.own_address is not None and _leads_to(around.own_address, options.base_url):
        host, port = around.own_address
        raise ConfigError(
            f"the provider {options.name} has this server's own address ({host}:{port}), so that it would ask itself:"
            " give one of them another port"
        )
    if hasattr(made, "producer"):
        provider = cast("Provider", made)
        if provider.name != options.name:
            raise ConfigError(f"providers.{options.name}: its maker named it {provider.name!r}, not by its options")
        return provider
    return HttpProvider(
        options.name,
        made,
        around.transport,
        models=options.table.models,
        drop_unsupported=options.table.drop_unsupported,
    )
