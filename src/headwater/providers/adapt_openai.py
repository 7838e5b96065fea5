"""`openai` SDK chat completions: `ChatCompletionChunk` and `ChatCompletion`, as objects or dicts."""

from __future__ import annotations

import msgspec

from ..errors import ProducerFailed
from ..events import Done, Event, Usage
from .foreign import added, field, plain
from .wire.openai_answer import OpenAIAnswer
from .wire.openai_shapes import FirstChunk
from .wire.rejections import rejection_in_band
from .wire.tool_calls import ToolCalls


class CompletionAnswers:
    """One completion after another, told apart by their id. See `foreign.Foreign`."""

    def __init__(self, tools: ToolCalls) -> None:
        self._tools = tools
        self._answer = self._new()
        self._id: object = None
        self._settled: list[Usage] = []

    def _new(self) -> OpenAIAnswer:
        answer = OpenAIAnswer(self._tools)
        answer.strict = False  # the SDK's own JSON decoder lets half characters through
        return answer

    def take(self, item: object) -> list[Event]:
        events: list[Event] = []
        error = field(item, "error")
        if error:
            raise rejection_in_band(plain(error) or error, secret="")
        try:
            chunk = msgspec.convert(item, FirstChunk, from_attributes=True)
        except msgspec.ValidationError as exc:
            raise ProducerFailed(f"the application's stream yielded a damaged chat completion chunk: {exc}") from exc
        if chunk.id and chunk.id != self._id:
            if self._id is not None:
                events += self._settle()[0]
            self._answer = self._new()
            self._id = chunk.id
            self._answer.first(chunk)
        if chunk.usage is not None:
            self._answer.usage = plain(chunk.usage)
        for choice in chunk.choices or ():
            choice.logprobs = plain(choice.logprobs)
            self._answer.choice(choice)
        events += self._answer.events
        self._answer.events = []
        return events

    def finish(self) -> tuple[list[Event], Done, Usage | None]:
        events, done = self._settle()
        return events, done, added(self._settled) if self._settled else None

    def _settle(self) -> tuple[list[Event], Done]:
        done, usage = self._answer.settle()
        if usage is not None:
            self._settled.append(usage)
        return self._answer.events, done
