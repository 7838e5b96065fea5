"""The fields of an OpenAI chat completion that matter here, typed for msgspec; everything else is skipped unread.

Types are as wide as the field is in practice: an optional field may be null, an index may be missing, content may be a
list of parts (Mistral), arguments may be an object.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ...errors import ProviderRejected
from ...events import FinishReason, JsonObject, Usage

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",  # Together's word for the end-of-sequence token
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
}
# Answers that were broken off at the server: Mistral and OpenRouter; DeepSeek; vLLM and SGLang.
_FAILED = {
    "error": ("the provider ended the answer with an error", 502),
    "insufficient_system_resource": ("the provider ran out of resources while it answered", 503),
    "abort": ("the provider aborted the answer", 502),
}


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | JsonObject | None = None


class ToolDelta(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    """A streamed `delta` or a whole `message`."""

    content: str | list[object] | None = None
    reasoning_content: object = None
    reasoning: object = None
    reasoning_details: object = None
    refusal: str | None = None
    tool_calls: list[ToolDelta] | None = None
    function_call: Function | None = None


class Choice(msgspec.Struct, gc=False):
    index: int | None = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    stop_reason: object = None
    logprobs: object = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[Choice] | msgspec.UnsetType | None = msgspec.UNSET
    usage: object = None
    error: object = None
    timings: object = None


class FirstChunk(Chunk):
    """Also the facts that are the same in every chunk, so that they are read once."""

    FACTS: ClassVar = ("id", "model", "provider", "system_fingerprint", "service_tier")

    id: object = None
    model: object = None
    provider: object = None
    system_fingerprint: object = None
    service_tier: object = None
    x_groq: object = None


class GroqChunk(Chunk):
    """Groq tells of itself in the first chunk and in the last, which may be the only one with usage or an error."""

    x_groq: object = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_first_chunk = msgspec.json.Decoder(FirstChunk).decode
decode_groq_chunk = msgspec.json.Decoder(GroqChunk).decode


def failure_of(reason: str) -> ProviderRejected | None:
    """The error behind a finish reason that means no finish."""
    if reason not in _FAILED:
        return None
    message, status = _FAILED[reason]
    return ProviderRejected(message, status=status, upstream_code=reason)


def finish_of(reason: str) -> tuple[FinishReason, bool]:
    """The canonical reason, and whether the provider's word for it was known."""
    known = _FINISH.get(reason)
    return known or "stop", known is not None


def usage_of(usage: JsonObject) -> Usage | None:
    """None where no count was told. DeepSeek tells cached tokens beside the details, OpenAI inside them."""
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    details = {name: value for name, value in usage.items() if name not in _COUNTS and value is not None}
    cached = _inner(usage, "prompt_tokens_details", "cached_tokens") or _count(usage.get("prompt_cache_hit_tokens"))
    return Usage(
        prompt_tokens=prompt or 0,
        completion_tokens=completion or 0,
        reasoning_tokens=_inner(usage, "completion_tokens_details", "reasoning_tokens") or 0,
        cached_tokens=cached or 0,
        details=details or None,
    )


_COUNTS = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


def _inner(usage: JsonObject, name: str, field: str) -> int | None:
    details = usage.get(name)
    return _count(details.get(field)) if isinstance(details, dict) else None


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
