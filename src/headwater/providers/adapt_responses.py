"""`openai` SDK Responses: the stream's events, as objects or dicts.

See https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

from ..errors import ProviderTruncated
from ..events import Done, Event, Usage
from .foreign import added, field, plain, text
from .wire.responses_answer import DELTAS, ResponseAnswer
from .wire.tool_calls import ToolCalls

_ERROR_FACTS = ("message", "code", "param")


class ResponsesAnswer:
    """One response after another. See `foreign.Foreign`."""

    def __init__(self, tools: ToolCalls) -> None:
        self._answer = ResponseAnswer(tools)
        self._settled: list[Usage] = []

    def take(self, item: object) -> list[Event]:
        answer, kind = self._answer, text(item, "type")
        found = DELTAS.get(kind)
        if found is not None:
            entries = field(item, "logprobs")
            logprobs = [plain(entry) for entry in entries] if isinstance(entries, list) else None
            place = (found[0], _index(item, "output_index"), _index(item, found[1]))
            answer.delta(place, text(item, "delta"), logprobs)
        elif kind == "error":
            raise answer.rejected({name: field(item, name) for name in _ERROR_FACTS})
        else:
            if kind == "response.created":
                answer.begin()
            answer.event(kind, plain(item) or {})
        if answer.usage is not None:
            self._settled.append(answer.usage)
            answer.usage = None
        events, answer.events = answer.events, []
        return events

    def finish(self) -> tuple[list[Event], Done, Usage | None]:
        reason = self._answer.reason
        if reason is None:
            raise ProviderTruncated("the provider's answer ended before it was finished")
        return [], Done(reason), added(self._settled) if self._settled else None


def _index(item: object, name: str) -> int:
    index = field(item, name)
    return index if isinstance(index, int) else 0
