"""What the server needs from whoever wires it: a directory of models. It never sees a provider's address or secret."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from ..request import ChatRequest
from ..streams import Hub, Producer
from .settings import ServerSettings


class Resolved(NamedTuple):
    """A public model name and what serves it. `producer` raises `InputError` for what its provider cannot take."""

    model: str
    provider_name: str
    producer_factory: Callable[[ChatRequest], Producer]


class ModelCard(msgspec.Struct, frozen=True):
    """One public model. `created`: Unix seconds; `owned_by`: the provider's configured name."""

    id: str
    created: int
    owned_by: str


class ModelDirectory(Protocol):
    async def resolve(self, model: str | None) -> Resolved:
        """`None`: the default model. Raises `UnknownModel`, or `ProviderError` where it cannot be told."""
        ...

    async def list(self) -> Sequence[ModelCard]:
        """All models that can be asked for now."""
        ...


class Services(NamedTuple):
    """What routes work with."""

    hub: Hub
    models: ModelDirectory
    settings: ServerSettings
