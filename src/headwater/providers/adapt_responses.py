"""`openai` SDK Responses: the stream's events, as objects or dicts.

See https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

from ..errors import ProviderTruncated
from ..events import Done, Event, FinishReason, Metadata, Reasoning, Text, Usage
from .foreign import added, count, field, plain, text
from .wire.rejections import rejection_in_band
from .wire.tool_calls import ToolCalls

_REASONING = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponsesAnswer:
    """One response after another. See `foreign.Foreign`."""

    def __init__(self, tools: ToolCalls) -> None:
        self._tools = tools
        self._call_ids: dict[object, str] = {}  # output item → its call
        self._settled: list[Usage] = []
        self._reason: FinishReason | None = None

    def take(self, item: object) -> list[Event]:
        kind = text(item, "type")
        delta = text(item, "delta")
        response = field(item, "response")
        match kind:
            case "response.output_text.delta":
                entries = field(item, "logprobs")
                logprobs = [plain(entry) for entry in entries] if isinstance(entries, list) else []
                return [Text(delta, logprobs={"content": logprobs} if logprobs else None)]
            case "response.refusal.delta":
                return [Text(delta, refusal=True)]
            case _ if kind in _REASONING:
                return [Reasoning(delta)]
            case "response.created":
                return self._created(response)
            case "response.output_item.added":
                return self._added(field(item, "output_index"), field(item, "item"))
            case "response.function_call_arguments.delta":
                return self._tool(field(item, "output_index"), "", delta)
            case "response.completed":
                self._ended(response, "tool_calls" if self._call_ids else "stop")
            case "response.incomplete":
                reason = text(field(response, "incomplete_details"), "reason")
                self._ended(response, _INCOMPLETE.get(reason, "length"))
            case "response.failed" | "error":
                source = item if kind == "error" else field(response, "error")
                raise rejection_in_band(_facts(source), secret="")
            case _:
                pass
        return []

    def finish(self) -> tuple[list[Event], Done, Usage | None]:
        if self._reason is None:
            raise ProviderTruncated("the provider's answer ended before it was finished")
        return [], Done(self._reason), added(self._settled) if self._settled else None

    def _created(self, response: object) -> list[Event]:
        self._reason = None
        self._call_ids.clear()
        facts: dict[str, object] = {name: value for name in ("id", "model") if (value := text(response, name))}
        return [Metadata(facts)] if facts else []

    def _added(self, index: object, item: object) -> list[Event]:
        if field(item, "type") != "function_call":
            return []
        self._call_ids[index] = text(item, "call_id")
        return self._tool(index, text(item, "name"), text(item, "arguments"))

    def _tool(self, index: object, name: str, arguments: str) -> list[Event]:
        if index not in self._call_ids:
            return []
        event = self._tools.piece(0, None, self._call_ids[index], name, arguments)
        return [event] if event is not None else []

    def _ended(self, response: object, reason: FinishReason) -> None:
        self._reason = reason
        usage = field(response, "usage")
        if usage is not None:
            self._settled.append(
                Usage(
                    prompt_tokens=count(usage, "input_tokens"),
                    completion_tokens=count(usage, "output_tokens"),
                    reasoning_tokens=count(field(usage, "output_tokens_details"), "reasoning_tokens"),
                    cached_tokens=count(field(usage, "input_tokens_details"), "cached_tokens"),
                    details=plain(usage),
                )
            )


def _facts(source: object) -> dict[str, object]:
    """The error without `type`, which is only the event's name."""
    return {name: field(source, name) for name in ("message", "code", "param")}
