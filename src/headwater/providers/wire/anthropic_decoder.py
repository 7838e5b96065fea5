"""The sans-IO decoder of Anthropic's Messages: body bytes in, canonical events out.

Whole is an answer whose `stop_reason` was told, at `message_stop` or at the regular end of the body; anything less is
`ProviderTruncated`, also `message_stop` alone. Every delta is read by its own type, never by its block's, so that
thinking inside a text block stays thinking (litellm #32357). It must not know of HTTP or of sockets.
"""

from __future__ import annotations

import msgspec

from ...errors import ProviderProtocolError, ProviderTruncated
from ...events import Done, Event, FinishReason, JsonObject, Metadata, Reasoning, Text, ToolCall
from .anthropic_shapes import (
    KNOWN,
    Block,
    BlockDelta,
    BlockStart,
    BlockStop,
    Delta,
    Failure,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Stop,
    StreamEvent,
    add_usage,
    decode_event,
    stop_facts,
    usage_of,
)
from .lenient import decode_lenient, excerpt, is_json
from .rejections import is_error_object, rejection_in_band
from .sse_or_json import SseOrJson

_UNDECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class AnthropicDecoder:
    """See `ports.Decoder`. Understands the SSE stream and, where a server ignores `stream`, the whole JSON answer."""

    __slots__ = ("_answer", "_body", "_ended", "_secret")

    def __init__(self, *, secret: str = "") -> None:
        self._secret = secret
        self._answer = _Answer()
        self._body = SseOrJson()
        self._ended = False

    @property
    def pending(self) -> list[Event]:
        return self._answer.events

    def feed(self, data: bytes) -> list[Event]:
        for payload in self._body.payloads(data):
            if self._ended:
                break
            try:
                event = decode_event(payload)
            except _UNDECODED:
                self._undecoded(payload)
                continue
            if type(event) is BlockDelta:
                self._answer.delta(event.index, event.delta)
            else:
                self._take(event, payload)
        return self._taken()

    def close(self) -> list[Event]:
        if self._ended:
            return []
        if self._body.whole is not None:
            self._close_whole(bytes(self._body.whole))
        self._finish()
        return self._taken()

    def _taken(self) -> list[Event]:
        events = self._answer.events
        if events:
            self._answer.events = []
        return events

    def _finish(self) -> None:
        self._answer.finish()
        self._ended = True

    def _close_whole(self, body: bytes) -> None:
        if not is_json(body):
            raise ProviderTruncated("the provider's answer ended before it was finished")
        event = self._salvage(body)
        if not isinstance(event, Message | Failure):
            raise ProviderProtocolError(f"the provider sent JSON that is no message: {excerpt(body)}")
        self._take(event, body)

    def _undecoded(self, payload: bytes) -> None:
        """A payload that is no strict event: nothing at all, a newer event, or what the lenient decoder must read."""
        if payload.strip():
            event = self._salvage(payload)
            if event is not None:
                self._take(event, payload)

    def _salvage(self, payload: bytes) -> StreamEvent | None:
        """None for an event of a type that this release does not know."""
        value = decode_lenient(payload)
        kind = value.get("type") if isinstance(value, dict) else None
        if kind in KNOWN:
            try:
                event: StreamEvent = msgspec.convert(value, StreamEvent)
            except msgspec.ValidationError as exc:
                raise ProviderProtocolError(f"the provider sent what is no event ({exc}): {excerpt(payload)}") from exc
            return event
        if isinstance(kind, str) and not kind.lower().endswith("error"):
            return None
        if is_error_object(value):
            raise rejection_in_band(value, secret=self._secret)
        raise ProviderProtocolError(f"the provider sent JSON that is no event: {excerpt(payload)}")

    def _take(self, event: StreamEvent, payload: bytes) -> None:
        answer = self._answer
        match event:
            case BlockDelta(index=index, delta=delta):
                answer.delta(index, delta)
            case BlockStart(index=index, content_block=block):
                answer.begin(index, block)
            case BlockStop(index=index):
                answer.end(index)
            case MessageStart(message=message):
                answer.start(message)
            case MessageDelta(delta=stop, usage=usage):
                answer.stop(stop or Stop(), usage)
            case MessageStop():
                self._finish()
            case Failure():
                raise rejection_in_band(decode_lenient(payload), secret=self._secret)
            case Message():
                answer.whole(event)
            case _:
                pass  # a ping: that it came is life enough


class _Tool:
    """A tool call under way. `given` is the input that came with the block's start; pieces replace it."""

    __slots__ = ("given", "position", "told")

    def __init__(self, position: int, given: object) -> None:
        self.position = position
        self.given = given
        self.told = False


class _Answer:
    """What the events of one message add up to. New canonical events are appended to `events`."""

    __slots__ = ("_latest", "_reason", "_tools", "_usage", "events")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._reason: FinishReason | None = None
        self._usage: JsonObject = {}
        self._tools: dict[int, _Tool | None] = {}  # by block; None for a block that is no call
        self._latest: _Tool | None = None

    def start(self, message: Message) -> None:
        facts: JsonObject = {name: value for name in ("id", "model") if (value := getattr(message, name))}
        if facts:
            self.events.append(Metadata(facts))
        add_usage(self._usage, message.usage or {})

    def whole(self, message: Message) -> None:
        self.start(message)
        for index, block in enumerate(message.content):
            self.begin(index, block)
            self.end(index)
        self.stop(message, None)

    def begin(self, index: int, block: Block) -> None:
        """A block of another type is one that the provider runs itself; nothing of it is this answer's."""
        self._tools[index] = None
        if block.type == "tool_use":
            position = sum(tool is not None for tool in self._tools.values())
            self._latest = self._tools[index] = _Tool(position, block.input)
            self.events.append(ToolCall(position, id=block.id or f"call_0_{position}", name=block.name or ""))
        elif block.type == "text" and block.text:
            self.events.append(Text(block.text))
        elif block.type == "thinking" and (block.thinking or block.signature):
            self.events.append(Reasoning(block.thinking or "", signature=block.signature or ""))

    def delta(self, index: int, delta: Delta) -> None:
        kind = delta.type
        if kind == "text_delta":
            if delta.text:
                self.events.append(Text(delta.text))
        elif kind == "input_json_delta":
            self._arguments(index, delta.partial_json)
        elif kind == "thinking_delta":
            if delta.thinking:
                self.events.append(Reasoning(delta.thinking))
        elif kind == "signature_delta":
            self.events.append(Reasoning("", signature=delta.signature))

    def _arguments(self, index: int, piece: str) -> None:
        """Some servers number pieces otherwise than their block; they belong to the latest call (litellm #25561)."""
        known = index in self._tools
        tool = self._tools[index] if known else self._latest
        if tool is None and not known:
            raise ProviderProtocolError("the provider sent arguments of a tool call that never began")
        if tool is not None and piece:
            tool.told = True
            self.events.append(ToolCall(tool.position, arguments=piece))

    def end(self, index: int) -> None:
        """A call without a piece has the input of its start: `{}` where it takes none."""
        tool = self._tools.get(index)
        if tool is not None and not tool.told:
            tool.told = True
            given = tool.given if isinstance(tool.given, dict) else {}
            self.events.append(ToolCall(tool.position, arguments=msgspec.json.encode(given).decode()))

    def stop(self, stop: Stop | Message, usage: JsonObject | None) -> None:
        reason, facts = stop_facts(stop)
        self._reason = reason or self._reason
        if facts:
            self.events.append(Metadata(facts))
        add_usage(self._usage, usage or {})

    def finish(self) -> None:
        """The answer is said to be whole: check that it is, and settle it."""
        if self._reason is None:
            raise ProviderTruncated("the provider's answer ended before it was finished")
        for index in self._tools:
            self.end(index)
        usage = usage_of(self._usage)
        if usage is not None:
            self.events.append(usage)
        self.events.append(Done(self._reason))
