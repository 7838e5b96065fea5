"""`anthropic` SDK messages: the raw stream events, as objects or dicts.

See https://docs.anthropic.com/en/api/messages-streaming.
"""

from __future__ import annotations

import msgspec

from ..errors import ProviderTruncated
from ..events import Done, Event, FinishReason, JsonObject, Metadata, Reasoning, Text, Usage
from .foreign import added, field, plain, text
from .wire.anthropic_shapes import FINISH, add_usage, usage_of
from .wire.rejections import rejection_in_band
from .wire.tool_calls import ToolCalls

ANTHROPIC_TYPES = frozenset(
    {"message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop"}
)


class AnthropicAnswer:
    """One message after another. See `foreign.Foreign`."""

    def __init__(self, tools: ToolCalls) -> None:
        self._tools = tools
        self._tool_ids: dict[object, str] = {}  # content block → its call
        self._settled: list[Usage] = []
        self._usage: JsonObject = {}
        self._reason: FinishReason | None = None
        self._begun = False

    def take(self, item: object) -> list[Event]:
        match field(item, "type"):
            case "message_start":
                return self._start(field(item, "message"))
            case "content_block_start":
                return self._block(field(item, "index"), field(item, "content_block"))
            case "content_block_delta":
                return self._delta(field(item, "index"), field(item, "delta"))
            case "message_delta":
                self._told(field(item, "usage"))
                return self._stopped(text(field(item, "delta"), "stop_reason"))
            case "error":
                raise rejection_in_band({"error": plain(field(item, "error"))}, secret="")
            case _:
                return []

    def finish(self) -> tuple[list[Event], Done, Usage | None]:
        if self._reason is None:
            raise ProviderTruncated("the provider's answer ended before it was finished")
        self._settle()
        return [], Done(self._reason), added(self._settled) if self._settled else None

    def _start(self, message: object) -> list[Event]:
        if self._begun:
            self.finish()
        self._begun = True
        self._reason = None
        self._tool_ids.clear()
        self._told(field(message, "usage"))
        facts: dict[str, object] = {name: value for name in ("id", "model") if (value := text(message, name))}
        return [Metadata(facts)] if facts else []

    def _block(self, index: object, block: object) -> list[Event]:
        """The beginning of a block, which may already hold something."""
        match field(block, "type"):
            case "text":
                return [Text(piece)] if (piece := text(block, "text")) else []
            case "thinking":
                return [Reasoning(piece)] if (piece := text(block, "thinking")) else []
            case "tool_use":
                self._tool_ids[index] = text(block, "id")
                given = field(block, "input")
                arguments = msgspec.json.encode(given).decode() if isinstance(given, dict) and given else ""
                return self._tool(index, text(block, "name"), arguments)
            case _:
                return []

    def _delta(self, index: object, delta: object) -> list[Event]:
        match field(delta, "type"):
            case "text_delta":
                return [Text(text(delta, "text"))]
            case "thinking_delta":
                return [Reasoning(text(delta, "thinking"))]
            case "signature_delta":
                return [Reasoning("", signature=text(delta, "signature"))]
            case "input_json_delta":
                return self._tool(index, "", text(delta, "partial_json"))
            case _:
                return []

    def _tool(self, index: object, name: str, arguments: str) -> list[Event]:
        if index not in self._tool_ids:
            return []  # a tool that the provider runs itself
        event = self._tools.piece(0, None, self._tool_ids[index], name, arguments)
        return [event] if event is not None else []

    def _stopped(self, reason: str) -> list[Event]:
        if not reason:
            return []
        self._reason = FINISH.get(reason, "stop")
        return [] if reason in FINISH else [Metadata({"finish_reason": reason})]

    def _told(self, usage: object) -> None:
        add_usage(self._usage, plain(usage) or {})

    def _settle(self) -> None:
        told, self._usage = self._usage, {}
        usage = usage_of(told)
        if usage is not None:
            self._settled.append(usage)
