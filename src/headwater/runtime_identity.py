"""The identity's part of the composition: who may call, by the settings alone or with keys of a database."""

from __future__ import annotations

import logging
from typing import TypeVar

import msgspec
from pydantic import SecretStr

from .config import Settings
from .identity import Identity, IdentitySettings, StoreSource

_logger = logging.getLogger(__name__)

T = TypeVar("T", bound=msgspec.Struct)


def open_identity(settings: Settings, stores: StoreSource | None = None) -> Identity:
    """`stores`: where keys are kept; None: there are those of the settings only. Raises `ConfigError`."""
    own = part_of(settings, IdentitySettings)
    for warning in own.warnings():
        _logger.warning("%s", warning)
    return Identity(own, stores, data_dir=None if settings.log == "memory" else settings.data_dir)


def part_of(settings: Settings, kind: type[T]) -> T:
    """The settings that a package goes by, by the same names."""
    shared = set(kind.__struct_fields__) & set(type(settings).model_fields)
    return kind(**{name: _plain(getattr(settings, name)) for name in shared})


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.get_secret_value() if isinstance(value, SecretStr) else value
