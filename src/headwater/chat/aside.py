"""Answers that no viewer asked for: titles, and a judge's opinion. Each is a stream of its own in the same hub.

So admission, retries, usage and budgets are those of any other answer, and none of it touches the stream that it is
about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import InputError, ProviderError
from ..events import Done, Error, JsonObject, text_of
from ..request import ChatRequest, encode_request, prompt_characters
from ..streams import Hub, NewStream
from .ports import Models

KIND = "aside"


class Aside(NamedTuple):
    """For whom: whose stream it is, whose budgets it counts against, and under which key it is asked only once ("":
    each time). `local`: only of a model that keeps here what it is asked.
    """

    tenant: str
    meters: Sequence[str] = ()
    key: str = ""
    local: bool = False


class Asides:
    def __init__(self, hub: Hub, models: Models) -> None:
        self._hub = hub
        self._models = models

    async def ask(self, aside: Aside, model: str, messages: list[JsonObject], *, timeout_s: float) -> str:
        """The answer's text. Raises the `HeadwaterError` of whatever fails.

        A time-out cancels the generation, and so does the caller's own end: nobody else would read it.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(aside, model, messages)
        except TimeoutError as exc:
            raise ProviderError(f"there was no answer within {timeout_s:g} s") from exc

    async def _ask(self, aside: Aside, model: str, messages: list[JsonObject]) -> str:
        resolved = await self._models.resolve(model)
        if aside.local and not resolved.local:
            raise InputError("what is confidential is not told to this model")
        # After a restart nobody waits for it: the task says that it is not taken up.
        task: JsonObject = {"kind": KIND}
        request = ChatRequest(resolved.model, messages, priority="low", task=task, meters=list(aside.meters))
        new = NewStream(
            model=resolved.model,
            provider=resolved.provider_name,
            owner=aside.tenant,
            linger_s=0.0,
            request=encode_request(request),
            prompt_characters=prompt_characters(request),
            idempotency_key=aside.key,
            priority="low",
        )
        channel, _ = await self._hub.create(new, resolved.producer_factory(request))
        with self._hub.hold(channel):
            end = await channel.wait_end()
            if isinstance(end, Error):
                raise ProviderError(end.message)
            if end == Done("cancelled"):
                raise ProviderError("the answer was cancelled")
            text = text_of(await self._hub.read_all(channel))
        if not text.strip():
            raise InputError("the model answered nothing")
        return text
