"""What the providers list, asked for at most every half minute, and by one asking for all who wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from ..errors import HeadwaterError, ProviderError
from ..providers.ports import Provider

_log = logging.getLogger(__name__)

# Long enough that listing costs nothing, short enough that a model pulled into Ollama shows up while one still waits.
_CACHE_S = 30.0
# A provider has a shorter time-out of its own; a plug-in without one must not keep every request waiting.
_ASK_TIMEOUT_S = 10.0


class _Known:
    """What a provider listed last. `error` says why it could not the last time; names from before stay."""

    __slots__ = ("error", "names")

    def __init__(self) -> None:
        self.names: Sequence[str] = ()
        self.error: HeadwaterError | None = None


class Listing:
    """In the providers' order. `now`: a monotonic clock in seconds."""

    def __init__(self, providers: Sequence[Provider], *, now: Callable[[], float]) -> None:
        self._providers = list(providers)
        self._now = now
        self._known = {provider.name: _Known() for provider in providers}
        self._listed_s: float | None = None
        self._asking: asyncio.Task[None] | None = None

    def names(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Provider and the names that it listed last."""
        return ((provider, known.names) for provider, known in self._known.items())

    def answers(self) -> Iterator[tuple[HeadwaterError | None, Sequence[str]]]:
        return ((known.error, known.names) for known in self._known.values())

    async def ensure(self) -> None:
        """Ask the providers if they never were."""
        if self._listed_s is None:
            await self._ask()

    async def refresh(self) -> bool:
        """Ask the providers if what they said is old; whether they were asked."""
        if self._listed_s is not None and self._now() - self._listed_s <= _CACHE_S:
            return False
        await self._ask()
        return True

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> None:
        """Ask every provider at once. Callers at the same time share one asking, which none of them can end."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_all(), name="list models")
        await asyncio.shield(self._asking)

    async def _ask_all(self) -> None:
        await asyncio.gather(*(self._ask_one(provider) for provider in self._providers))
        self._listed_s = self._now()

    async def _ask_one(self, provider: Provider) -> None:
        known = self._known[provider.name]
        try:
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                known.names = [str(name) for name in await provider.models()]
            known.error = None
        except HeadwaterError as error:
            known.error = error
            _log.warning("provider %s cannot list its models: %s", provider.name, error.message)
        except Exception as exc:  # noqa: BLE001 -- a plug-in's own fault must not hide the others' models
            known.error = ProviderError(f"the provider raised {type(exc).__name__}", provider=provider.name)
            _log.exception("provider %s cannot list its models", provider.name)
