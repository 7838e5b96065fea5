"""What the server needs from whoever wires it: directories of models and of their routes, and the chat backend.

It never sees a provider's address or secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import msgspec

from ..chat.ports import Resolved
from ..chat.settings import AiChatSettings
from ..streams import Hub
from ..tables import RouteTable
from .compression import Compression
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..chat.backend import Backend
    from ..chat.starts import Starts
    from ..identity import Identity
    from ..identity.meters import Meters


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


class TargetState(msgspec.Struct, frozen=True):
    """How a target is now. `breaker`: `open` is left alone for a while, `half_open` is to be probed.

    `running` and `queued`: calls of this target by this route, under way and waiting for its own limits.
    """

    provider: str
    model: str
    breaker: Literal["closed", "open", "half_open"]
    running: int
    queued: int


class RouteCard(RouteTable, frozen=True, kw_only=True, tag_field="object", tag="route"):
    """A route's table, as it was given, and what is known of it.

    `fixed`: it stands in the settings file and cannot be changed here. `persistent`: it outlives a restart. `state`:
    of each target, in their order. `error`: why the route is not in force, as when its provider is not configured any
    more; then it has no `state`.
    """

    name: str
    fixed: bool
    persistent: bool
    state: list[TargetState]
    error: str | None = None


class RouteDirectory(Protocol):
    async def routes(self) -> Sequence[RouteCard]:
        """All routes, those of the settings file first."""
        ...

    async def set(self, name: str, table: RouteTable) -> bool:
        """Make or replace; whether it is new. Raises `InputError`, `RouteFixed`, `RouteNotKept`."""
        ...

    async def remove(self, name: str) -> None:
        """Raises `UnknownRoute`, `RouteFixed`, `RouteNotKept`."""
        ...


class ChatServices(NamedTuple):
    """The chat backend, and what its routes need besides."""

    backend: Backend
    starts: Starts
    identity: Identity
    ai: AiChatSettings = AiChatSettings()


class Services(NamedTuple):
    """What routes work with. Without a `backend` there are streams only; without `meters` nobody has limits; without
    `compression` everything is sent as it is.
    """

    hub: Hub
    models: ModelDirectory
    settings: ServerSettings
    backend: Backend | None = None
    meters: Meters | None = None
    compression: Compression | None = None
