"""What the chat backend needs from whoever wires it: models by name, and passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..documents.records import Query, Results, Scope
from ..events import Source
from ..request import ChatRequest
from ..streams import Fold, Producer

if TYPE_CHECKING:
    from .aside import Aside
    from .signals import Signals


class Resolved(NamedTuple):
    """A public model name and what serves it. `producer_factory` raises `InputError` for what its provider cannot take.

    `local`: whether the prompt stays on this machine or its private network, whichever target answers. `grounded`: the
    model has nothing but passages to answer from.
    """

    model: str
    provider_name: str
    producer_factory: Callable[[ChatRequest], Producer]
    local: bool = False
    grounded: bool = False


class Models(Protocol):
    async def resolve(self, model: str | None) -> Resolved:
        """`None`: the default model. Raises `UnknownModel`, or `ProviderError` where it cannot be told."""
        ...

    def take_up(self, request: ChatRequest, provider: str, fold: Fold) -> Producer | None:
        """What goes on with a dead process's answer to `request`; None where nothing can."""
        ...


class Passages(Protocol):
    """See `documents.search.Searcher`."""

    async def search(self, query: Query) -> Results: ...

    async def pinned(self, scope: Scope, *, confidential: bool, limit_characters: int) -> Results: ...


class Judge(Protocol):
    async def improve(
        self, signals: Signals, answer: str, sources: Sequence[Source], *, confidential: bool, aside: Aside
    ) -> Signals:
        """Returns within its own time-out, `signals` as they were where it has no opinion.

        `confidential`: the texts must not go to an external provider.
        """
        ...
