"""The fields of Anthropic's messages that matter here, typed for msgspec; everything else is skipped unread.

The shapes are those of the official SDK's `RawMessageStreamEvent`, `Message` and `Usage`
(https://platform.claude.com/docs/en/build-with-claude/streaming). Optional fields are wider than there, because other
servers speak this format too.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ...events import FinishReason, JsonObject, Usage

FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# Reasons that mean more than what `Done` can say of them: a paused turn wants to be sent back to go on.
_TOLD_BESIDES = frozenset({"pause_turn"})


class Block(msgspec.Struct, gc=False):
    """A content block of any type, as it begins or as a whole."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    input: object = None


class Delta(msgspec.Struct, gc=False):
    """A piece of a block; its own `type` says of what, whatever the block was said to be."""

    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""


class Message(msgspec.Struct, tag="message"):
    """A whole answer, or what is known of it when it begins."""

    id: object = None
    model: object = None
    content: list[Block] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: JsonObject | None = None
    usage: JsonObject | None = None


class Stop(msgspec.Struct):
    """Why the answer ended; `stop_details` explains a refusal."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: JsonObject | None = None


class MessageStart(msgspec.Struct, tag="message_start"):
    message: Message


class BlockStart(msgspec.Struct, tag="content_block_start"):
    content_block: Block
    index: int = 0


class BlockDelta(msgspec.Struct, tag="content_block_delta", gc=False):
    delta: Delta
    index: int = 0


class BlockStop(msgspec.Struct, tag="content_block_stop"):
    index: int = 0


class MessageDelta(msgspec.Struct, tag="message_delta"):
    delta: Stop | None = None
    usage: JsonObject | None = None


class MessageStop(msgspec.Struct, tag="message_stop"):
    pass


class Ping(msgspec.Struct, tag="ping"):
    pass


class Failure(msgspec.Struct, tag="error"):
    pass


StreamEvent: TypeAlias = (
    MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | Ping | Failure | Message
)
# `type` of everything above; the API's versioning policy says that clients pass over all others.
KNOWN = frozenset(
    {
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "ping", "error", "message"),
    }
)

decode_event = msgspec.json.Decoder(StreamEvent).decode


def stop_facts(stop: Stop | Message) -> tuple[FinishReason | None, JsonObject]:
    """The canonical reason, None where it is not told yet, and what `Done` cannot say of it."""
    reason = stop.stop_reason
    facts: JsonObject = {}
    if reason and (reason not in FINISH or reason in _TOLD_BESIDES):
        facts["finish_reason"] = reason
    if stop.stop_sequence:
        facts["stop_sequence"] = stop.stop_sequence
    if stop.stop_details:
        facts["stop_details"] = stop.stop_details
    return (FINISH.get(reason, "stop") if reason else None), facts


def add_usage(told: JsonObject, usage: JsonObject) -> None:
    """Take over what one more event tells: counts are cumulative, and what has not changed may be missing or 0."""
    for name, value in usage.items():
        known = told.get(name)
        if value is not None and not (type(value) is int and type(known) is int and value < known):
            told[name] = value


def usage_of(told: JsonObject) -> Usage | None:
    """None where no count was told. Anthropic's `input_tokens` leave out what the cache held or took."""
    if _count(told, "input_tokens") is None and _count(told, "output_tokens") is None:
        return None
    cached = _count(told, "cache_read_input_tokens") or 0
    output = told.get("output_tokens_details")
    return Usage(
        prompt_tokens=(_count(told, "input_tokens") or 0) + cached + (_count(told, "cache_creation_input_tokens") or 0),
        completion_tokens=_count(told, "output_tokens") or 0,
        reasoning_tokens=(_count(output, "thinking_tokens") or 0) if isinstance(output, dict) else 0,
        cached_tokens=cached,
        details=told,
    )


def _count(usage: JsonObject, name: str) -> int | None:
    value = usage.get(name)
    return value if type(value) is int and value >= 0 else None
