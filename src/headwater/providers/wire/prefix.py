"""An answer that shall be gone on with: how it begins, and how many tokens it may still have. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from ...request import ChatRequest
from ...streams.fold import CHARACTERS_PER_TOKEN

_LIMITS = ("max_tokens", "max_completion_tokens")


def beginning(begun: str, text: str) -> str:
    """The answer so far: what the caller put into the model's mouth, and the `text` that was generated after it.

    A server that repeats what it is given (Mistral; vLLM with `echo`) has `begun` in `text` already. White space at the
    end of `begun` may not have been sent (Anthropic refuses it): then `text` brings its own.
    """
    if has_begun(begun, text):
        return text
    return begun.rstrip() + text if text[:1].isspace() else begun + text


def has_begun(begun: str, text: str) -> bool:
    """Whether the generated `text` holds the caller's beginning."""
    return text.startswith(begun.rstrip())


def shortened(request: ChatRequest, text: str) -> ChatRequest:
    """The request with the bound on tokens lowered by what `text` has used of it.

    The estimate is rather too small: a few tokens more than were asked for are better than an answer cut too soon.
    """
    used = len(text) // CHARACTERS_PER_TOKEN
    limits = {
        name: max(1, limit - used) for name in _LIMITS if type(limit := request.params.get(name)) is int and limit > 1
    }
    return replace(request, params={**request.params, **limits}) if limits else request
