"""What the events of one response add up to: canonical events as they come, and how it ended.

The part that byte decoding (`responses_decoder`) and SDK objects (`adapt_responses`) share. Every text is told up to
three times (pieces, the whole part, the whole item, and once more in the response at its end); what no earlier telling
held is emitted, so that nothing is lost where a server leaves the pieces out (litellm #25561) and nothing comes twice.
Between parts of the model's thinking there is a blank line. Pure.

The encrypted thinking behind a tool call is told as a signature, just before the call: sent back with the tool's
answer, the model thinks on from there instead of anew (without stored state nobody else remembers). Where no tool is
called nobody needs it, and an answer of text alone stays one that can be gone on with.
"""

from __future__ import annotations

from typing import TypeAlias

from ...errors import ProviderRejected
from ...events import Event, FinishReason, JsonObject, Metadata, Reasoning, Text, Usage
from .lenient import Halves
from .rejections import rejection_in_band
from .tool_calls import ToolCalls

# Which text a piece belongs to; `inner` is the part's index within its output item.
Place: TypeAlias = tuple[str, int, int]

TEXT = "text"
# Says whose signature it is, because a conversation may go on at another provider, which refuses what is not its own.
SIGNATURE_MARK = "openai_responses:"
# Events that carry a piece: their text's kind, and the field with the part's index.
DELTAS: dict[str, tuple[str, str]] = {
    "response.output_text.delta": (TEXT, "content_index"),
    "response.refusal.delta": ("refusal", "content_index"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.reasoning_text.delta": ("thinking", "content_index"),
    "response.function_call_arguments.delta": ("arguments", ""),
}
# Events that carry a whole part, and the field that holds it.
_WHOLES: dict[str, tuple[str, str, str]] = {
    "response.output_text.done": (TEXT, "content_index", "text"),
    "response.refusal.done": ("refusal", "content_index", "refusal"),
    "response.reasoning_summary_text.done": ("summary", "summary_index", "text"),
    "response.reasoning_text.done": ("thinking", "content_index", "text"),
    "response.function_call_arguments.done": ("arguments", "", "arguments"),
}
# Parts of items, by their type.
_PARTS: dict[object, tuple[str, str]] = {
    "output_text": (TEXT, "text"),
    "refusal": ("refusal", "refusal"),
    "summary_text": ("summary", "text"),
    "reasoning_text": ("thinking", "text"),
}
_LIFECYCLE = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_THOUGHTS = frozenset({"summary", "thinking"})
_FACTS = ("id", "model", "service_tier")
# More than any text: nothing of a part whose beginning came before is ever missing from its pieces.
_ALL = 1 << 62


class ResponseAnswer:
    """`delta` for pieces, `event` for all others; new events are appended to `events`, which the caller takes away.

    `reason` is set once the response has ended, `usage` where it told one. `strict` holds while no text can hold half
    a character. `skip` counts the characters of text that the stream holds already and that are left out.

    `earlier` is the stream's text where the response is followed from its middle: parts of it are not told again.
    `known` are the facts that the stream holds.
    """

    __slots__ = (
        *("_call_ids", "_earlier", "_fresh_from", "_halves", "_known", "_sealed", "_secret"),
        *("_thought", "_told", "_tools"),
        *("events", "reason", "skip", "strict", "usage"),
    )

    def __init__(
        self,
        tools: ToolCalls | None = None,
        *,
        secret: str = "",
        known: JsonObject | None = None,
        earlier: str | None = None,
        skip: int = 0,
    ) -> None:
        self.events: list[Event] = []
        self.reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.strict = True
        self.skip = skip
        self._tools = tools or ToolCalls()
        self._secret = secret
        self._known: JsonObject = dict(known or {})
        self._earlier = earlier or ""
        self._fresh_from = 0 if earlier is None else _ALL  # the first output item that begins before our eyes
        self._told: dict[Place, int] = {}
        self._call_ids: dict[int, str] = {}  # output item → its call
        self._thought: Place | None = None
        self._sealed = ""  # the latest encrypted thinking, until a call follows it
        self._halves: Halves[Place] = Halves()

    def begin(self) -> None:
        """Another response of the same stream; its tool calls go on counting."""
        self.reason = self.usage = None
        self._known.clear()
        self._told.clear()
        self._call_ids.clear()
        self._thought = None
        self._sealed = ""

    def delta(self, place: Place, piece: str, logprobs: object = None) -> None:
        """A piece of a text."""
        text = piece if self.strict else self._halves.join(place, piece)
        if text:
            self._piece(place, text, logprobs)

    def event(self, kind: str, event: JsonObject) -> None:
        """Any event that is no piece; those without content or news are passed over. Raises `ProviderRejected`."""
        response = _object(event.get("response"))
        output = _index(event.get("output_index"))
        whole = _WHOLES.get(kind)
        if whole is not None:
            text, inner, field = whole
            self._whole((text, output, _index(event.get(inner))), event.get(field), event.get("logprobs"))
        elif kind == "response.output_item.added":
            self._fresh_from = min(self._fresh_from, output)
            self._item(output, _object(event.get("item")))
        elif kind == "response.output_item.done":
            self._item(output, _object(event.get("item")))
        elif kind == "response.content_part.added":
            self._told.setdefault((TEXT, output, _index(event.get("content_index"))), 0)
            self._part(output, _index(event.get("content_index")), event.get("part"))
        elif kind == "response.content_part.done":
            self._part(output, _index(event.get("content_index")), event.get("part"))
        elif kind in _LIFECYCLE:
            self._facts(response)
        elif kind in _ENDS:
            self.end(response, kind.removeprefix("response."))
        elif kind == "error":
            raise self.rejected(event)

    def end(self, response: JsonObject, status: str) -> FinishReason:
        """The response as it is at its end: what changed or is still untold, its usage and its reason."""
        if self._known:
            self._facts(response)
        for output, item in enumerate(_list(response.get("output"))):
            self._item(output, _object(item))
        for place, owed in self._halves.flush().items():
            self._piece(place, owed, None)
        if status == "failed":
            raise self.rejected(_object(response.get("error")))
        self.usage = usage_of(response.get("usage"))
        self.reason = reason = self._reason(response, status)
        return reason

    def _reason(self, response: JsonObject, status: str) -> FinishReason:
        if status == "completed":
            return "tool_calls" if self._call_ids else "stop"
        if status == "cancelled":
            return "cancelled"
        reason = _object(response.get("incomplete_details")).get("reason")
        known = _INCOMPLETE.get(reason) if isinstance(reason, str) else None
        if reason and known is None:
            self.events.append(Metadata({"finish_reason": reason}))
        return known or "length"

    def rejected(self, error: JsonObject) -> ProviderRejected:
        """The typed error of an `error` event or of a failed response; `type` is only the event's name."""
        facts = {name: error.get(name) for name in ("message", "code", "param", "error")}
        return rejection_in_band(facts, secret=self._secret)

    def _facts(self, response: JsonObject) -> None:
        """What is new: the identity first, and what is known only later (the tier that served it)."""
        facts: JsonObject = {name: value for name in _FACTS if (value := response.get(name))}
        if response.get("background") is True and "id" in facts:
            facts |= {"response_id": facts["id"], "background": True}
        new = {name: value for name, value in facts.items() if self._known.get(name) != value}
        if new:
            self._known |= new
            self.events.append(Metadata(new))

    def _item(self, output: int, item: JsonObject) -> None:
        """An output item, begun or whole."""
        if item.get("type") == "function_call":
            self._call(output, item)
            return
        if item.get("type") == "reasoning" and (sealed := _text(item.get("encrypted_content"))):
            self._sealed = f"{SIGNATURE_MARK}{_text(item.get('id'))}:{sealed}"
        if item.get("type") in {"message", "reasoning"}:
            for index, part in enumerate(_list(item.get("summary"))):
                self._part(output, index, part)
            for index, part in enumerate(_list(item.get("content"))):
                self._part(output, index, part)

    def _part(self, output: int, index: int, part: object) -> None:
        fields = _object(part)
        found = _PARTS.get(fields.get("type"))
        if found is not None:
            kind, field = found
            self._whole((kind, output, index), fields.get(field), fields.get("logprobs"))

    def _call(self, output: int, item: JsonObject) -> None:
        if self._sealed and output not in self._call_ids:
            self.events.append(Reasoning("", signature=self._sealed))
            self._sealed = ""
        self._call_ids.setdefault(output, _text(item.get("call_id")) or _text(item.get("id")))
        self._tool(output, _text(item.get("name")), "")
        self._whole(("arguments", output, 0), item.get("arguments"), None)

    def _whole(self, place: Place, text: object, logprobs: object) -> None:
        """A whole part; what no piece told is told now."""
        if not isinstance(text, str) or not text:
            return
        self._halves.flush()  # half a character that was kept back is in the whole text, whole
        told = self._told.get(place)
        if told is None:
            before = place[0] == TEXT and place[1] < self._fresh_from and text in self._earlier
            told = len(text) if before else 0
        if told < len(text):
            self._piece(place, text[told:], logprobs if told == 0 else None)

    def _piece(self, place: Place, text: str, logprobs: object) -> None:
        kind, output, _ = place
        if kind == "arguments":
            if output not in self._call_ids:
                return  # nobody said whose they are; the item tells them again at its end
            self._tool(output, "", text)
        told = self._told.get(place)
        if told is None:
            told = 0 if output >= self._fresh_from else _ALL
        self._told[place] = told + len(text)
        if kind in _THOUGHTS:
            self._think(place, text)
        elif kind == "refusal":
            self.events.append(Text(text, refusal=True))
        elif kind == TEXT:
            self._text(text, logprobs)

    def _think(self, place: Place, text: str) -> None:
        another = self._thought is not None and self._thought != place and self._thought[0] == place[0]
        self._thought = place
        self.events.append(Reasoning("\n\n" + text if another else text))

    def _text(self, text: str, logprobs: object) -> None:
        if self.skip:
            cut = min(self.skip, len(text))
            self.skip -= cut
            text, logprobs = text[cut:], None
            if not text:
                return
        details: JsonObject | None = {"content": logprobs} if isinstance(logprobs, list) and logprobs else None
        self.events.append(Text(text, logprobs=details))

    def _tool(self, output: int, name: str, arguments: str) -> None:
        event = self._tools.piece(0, None, self._call_ids[output], name, arguments)
        if event is not None:
            self.events.append(event)


def usage_of(usage: object) -> Usage | None:
    """None where no count was told. `details` keeps the provider's own breakdown."""
    if not isinstance(usage, dict):
        return None
    read, written = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if read is None and written is None:
        return None
    return Usage(
        prompt_tokens=read or 0,
        completion_tokens=written or 0,
        reasoning_tokens=_count(_object(usage.get("output_tokens_details")).get("reasoning_tokens")) or 0,
        cached_tokens=_count(_object(usage.get("input_tokens_details")).get("cached_tokens")) or 0,
        details={name: value for name, value in usage.items() if value is not None},
    )


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _index(value: object) -> int:
    return value if isinstance(value, int) else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
