"""What the chunks of one chat completion add up to: events as they come, and the settlement at the end.

The part that byte decoding (`openai_decoder`) and SDK objects (`adapt`) share. Nothing of a delta is lost: a chunk may
hold reasoning *and* text *and* tool calls (litellm #36327). Pure.
"""

from __future__ import annotations

import msgspec

from ...errors import ProviderTruncated
from ...events import Done, Event, FinishReason, JsonObject, Metadata, Reasoning, Text, ToolCall, Usage
from .lenient import Halves
from .openai_shapes import Choice, Delta, FirstChunk, Function, ToolDelta, failure_of, finish_of, usage_of
from .tool_calls import ToolCalls

# Says whose signature it is, because a conversation may go on at another provider, which refuses what is not its own.
SIGNATURE_MARK = "openai_chat:"


class OpenAIAnswer:
    """Feed it each chunk's parts in order; new events are appended to `events`, which the caller takes away.

    `strict` holds while no text can hold half a character; `usage` is the last one told, as it came; `facts` are those
    that only the end of an answer tells.
    """

    __slots__ = ("_halves", "_reasons", "_tools", "events", "facts", "strict", "usage")

    def __init__(self, tools: ToolCalls | None = None) -> None:
        self.events: list[Event] = []
        self.strict = True
        self.usage: object = None
        self.facts: JsonObject = {}
        self._reasons: dict[int, FinishReason | None] = {}
        self._tools = tools or ToolCalls()
        self._halves: Halves[tuple[str, int, int | None]] = Halves()

    def first(self, chunk: FirstChunk) -> bool:
        """Facts of the first chunk that has any (Azure's first one is empty), as one event; whether it had."""
        facts = {name: value for name in FirstChunk.FACTS if (value := getattr(chunk, name))}
        if facts:
            self.events.append(Metadata(facts))
        return bool(facts)

    def choice(self, choice: Choice) -> None:
        index = choice.index or 0
        delta = choice.delta or choice.message
        if delta is not None:
            content = delta.content
            if (
                type(content) is str
                and delta.reasoning_content is None
                and delta.reasoning is None
                and delta.reasoning_details is None
                and delta.refusal is None
                and delta.tool_calls is None
                and delta.function_call is None
                and choice.logprobs is None
                and self.strict
            ):
                if content:
                    self.events.append(Text(content, index))
            else:
                self._delta(index, delta, choice.logprobs)
        if choice.finish_reason:
            self._finish_choice(index, choice)
        elif index not in self._reasons:
            self._reasons[index] = None

    def _delta(self, index: int, delta: Delta, logprobs: object) -> None:
        """Everything that a delta can hold, in the order in which models produce it."""
        reasoning = delta.reasoning_content or delta.reasoning
        if isinstance(reasoning, str):
            self._piece("reasoning", index, reasoning)
        if isinstance(delta.reasoning_details, list):
            for detail in delta.reasoning_details:
                self._reasoning_detail(index, detail, told=bool(reasoning))
        if isinstance(delta.content, list):
            for part in delta.content:
                self._part(index, part)
        elif delta.content:
            logprobs = self._piece("text", index, delta.content, logprobs)
        if delta.refusal:
            logprobs = self._piece("refusal", index, delta.refusal, logprobs)
        if isinstance(logprobs, dict):
            self._emit("text", index, "", logprobs)
        for call in delta.tool_calls or ():
            self._tool(index, call)
        if delta.function_call is not None:
            self._tool(index, ToolDelta(index=0, function=delta.function_call))

    def _piece(self, kind: str, index: int, text: str, logprobs: object = None) -> object:
        """Emit a text of some kind; returns the log probabilities that are still to be told."""
        text = self._halves.join((kind, index, None), text)
        if not text:
            return logprobs
        self._emit(kind, index, text, logprobs)
        return None

    def _emit(self, kind: str, index: int, text: str, logprobs: object = None) -> None:
        if kind == "reasoning":
            self.events.append(Reasoning(text, index))
        else:
            details = logprobs if isinstance(logprobs, dict) else None
            self.events.append(Text(text, index, kind == "refusal", details))

    def _reasoning_detail(self, index: int, detail: object, *, told: bool) -> None:
        """OpenRouter's typed form of `reasoning`, which has its text once more; `told`: that text has been read.

        Encrypted reasoning says nothing to a reader and is left out.
        """
        if not isinstance(detail, dict):
            return
        text = detail.get("text") or detail.get("summary")
        if isinstance(text, str) and not told:
            self._piece("reasoning", index, text)
        self._signature(index, detail)

    def _signature(self, index: int, thought: dict[object, object]) -> None:
        signature = thought.get("signature")
        if isinstance(signature, str) and signature:
            self.events.append(Reasoning("", index, SIGNATURE_MARK + signature))

    def _part(self, index: int, part: object) -> None:
        """One part of a content list: `text`, or `thinking` with a text or parts of its own (Mistral)."""
        if not isinstance(part, dict):
            return
        text, thinking = part.get("text"), part.get("thinking")
        if isinstance(text, str):
            self._piece("text", index, text)
        for inner in thinking if isinstance(thinking, list) else [thinking]:
            thought = inner.get("text") if isinstance(inner, dict) else inner
            if isinstance(thought, str):
                self._piece("reasoning", index, thought)
        self._signature(index, part)

    def _tool(self, choice: int, call: ToolDelta) -> None:
        function = call.function or Function()
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        arguments = self._halves.join(("arguments", choice, call.index), arguments) if arguments else ""
        self._tool_event(self._tools.piece(choice, call.index, call.id or "", function.name or "", arguments))

    def _tool_event(self, event: ToolCall | None) -> None:
        if event is not None:
            self.events.append(event)

    def _finish_choice(self, index: int, choice: Choice) -> None:
        """vLLM's `stop_reason` is the stop sequence, or the token's id, that ended a choice."""
        reason = choice.finish_reason or ""
        if (failure := failure_of(reason)) is not None:
            raise failure
        canonical, known = finish_of(reason)
        facts: JsonObject = {} if known else {"finish_reason": reason}
        if isinstance(choice.stop_reason, str | int):
            facts["stop_sequence" if isinstance(choice.stop_reason, str) else "stop_token"] = choice.stop_reason
        if facts:
            self.events.append(Metadata(facts))
        self._reasons[index] = canonical

    def finish(self) -> None:
        """The answer is said to be whole: check that it is, and settle it."""
        done, usage = self.settle()
        if self.facts:
            self.events.append(Metadata(self.facts))
        if usage is not None:
            self.events.append(usage)
        self.events.append(done)

    def settle(self) -> tuple[Done, Usage | None]:
        """How it ended. Raises `ProviderTruncated` unless every choice seen has a finish reason."""
        reasons = [reason for _, reason in sorted(self._reasons.items()) if reason is not None]
        if not reasons or len(reasons) < len(self._reasons):
            raise ProviderTruncated("the provider's answer ended before it was finished")
        for channel, text in self._halves.flush().items():
            self._owed(channel, text)
        usage = usage_of(self.usage) if isinstance(self.usage, dict) else None
        return Done(reasons[0], reasons if len(reasons) > 1 else None), usage

    def _owed(self, channel: tuple[str, int, int | None], text: str) -> None:
        """The replacement for half a character that was never completed."""
        kind, choice, call = channel
        if kind == "arguments":
            self._tool_event(self._tools.piece(choice, call, "", "", text))
        else:
            self._emit(kind, choice, text)
