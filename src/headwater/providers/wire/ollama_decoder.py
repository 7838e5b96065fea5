"""The sans-IO decoder of Ollama's `/api/chat`: newline-delimited JSON in, canonical events out.

A line with `done: true` makes the answer whole; a body that ends before it is truncated. A last line without its
newline counts (the answer of `stream: false` is just that). It must not know of HTTP or of sockets.
"""

from __future__ import annotations

import msgspec

from ...errors import ProviderProtocolError, ProviderTruncated
from ...events import Done, Event, FinishReason, JsonObject, Metadata, Reasoning, Text, ToolCall, Usage
from .lenient import decode_lenient, excerpt, is_json
from .rejections import is_error_object, rejection_in_band

# A security limit, the same as for an SSE line: a peer that never ends a line takes all memory otherwise.
_MAX_LINE_BYTES = 8 * 2**20
_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


class _Function(msgspec.Struct):
    name: str
    arguments: JsonObject | str | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct):
    message: _Message | None = None
    done: bool = False
    logprobs: list[object] | None = None
    error: object = None


class _LastLine(_Line):
    """Also what only the line with `done` tells. Durations are nanoseconds."""

    model: str | None = None
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_last_line = msgspec.json.Decoder(_LastLine).decode


class OllamaDecoder:
    """See `ports.Decoder`."""

    __slots__ = ("_calls", "_ended", "_partial", "_secret", "pending")

    def __init__(self, *, secret: str = "") -> None:
        self.pending: list[Event] = []
        self._secret = secret
        self._partial = bytearray()
        self._calls = 0
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        lines = data.split(b"\n")
        last = lines.pop()
        if lines and self._partial:
            lines[0] = bytes(self._partial) + lines[0]
            self._partial.clear()
        for line in lines:
            self._line(line)
        self._partial += last
        if len(self._partial) > _MAX_LINE_BYTES:
            raise ProviderProtocolError(f"the provider sent a line longer than {_MAX_LINE_BYTES} bytes")
        events = self.pending
        if events:
            self.pending = []
        return events

    def close(self) -> list[Event]:
        if self._partial and not self._ended:
            line = bytes(self._partial)
            if not (line.isspace() or line.lstrip().startswith(b"<") or is_json(line)):
                raise ProviderTruncated("the provider's answer was cut inside a line")
            self._line(line)
        if not self._ended:
            raise ProviderTruncated("the provider's answer ended before it was finished")
        events, self.pending = self.pending, []
        return events

    def _line(self, data: bytes) -> None:
        if self._ended or not data or data.isspace():
            return
        try:
            line = _decode_line(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            line = self._salvage(data)
        if line.error or (line.message is None and not line.done):
            self._refused(data)
        if line.message is not None:
            self._message(line.message, line.logprobs)
        if line.done:
            self._finish(data)

    def _salvage(self, data: bytes) -> _Line:
        """A line that the strict decoder refused."""
        if data.lstrip().startswith(b"<"):
            raise ProviderProtocolError("the provider answered with a web page instead of a stream")
        value = decode_lenient(data)
        if is_error_object(value):
            raise rejection_in_band(value, secret=self._secret)
        try:
            return msgspec.convert(value, _Line)
        except msgspec.ValidationError as exc:
            raise ProviderProtocolError(f"the provider sent what is no line ({exc}): {excerpt(data)}") from exc

    def _refused(self, data: bytes) -> None:
        value = decode_lenient(data)
        if is_error_object(value):
            raise rejection_in_band(value, secret=self._secret)
        raise ProviderProtocolError(f"the provider sent JSON that is no line of an answer: {excerpt(data)}")

    def _message(self, message: _Message, logprobs: list[object] | None) -> None:
        if message.thinking:
            self.pending.append(Reasoning(message.thinking))
        if message.content:
            self.pending.append(Text(message.content, logprobs={"content": logprobs} if logprobs else None))
        for call in message.tool_calls or ():
            arguments = call.function.arguments or {}
            text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
            id = call.id or f"call_0_{self._calls}"
            self.pending.append(ToolCall(self._calls, id=id, name=call.function.name, arguments=text))
            self._calls += 1

    def _finish(self, data: bytes) -> None:
        """The line with `done`: durations, usage, the end. It is decoded again, for what other lines lack."""
        try:
            last = _decode_last_line(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            last = self._salvage_last(data)
        facts: JsonObject = {f"{name}_ns": value for name in _DURATIONS if (value := getattr(last, name)) is not None}
        if last.model:
            facts["model"] = last.model
        reason = last.done_reason or "stop"
        if reason not in _FINISH:
            facts["finish_reason"] = reason
        if facts:
            self.pending.append(Metadata(facts))
        if last.prompt_eval_count is not None or last.eval_count is not None:
            # The prompt's count is left out when the prompt was in the cache.
            self.pending.append(Usage(last.prompt_eval_count or 0, last.eval_count or 0))
        self.pending.append(Done("tool_calls" if self._calls and reason == "stop" else _FINISH.get(reason, "stop")))
        self._ended = True

    def _salvage_last(self, data: bytes) -> _LastLine:
        try:
            return msgspec.convert(decode_lenient(data), _LastLine)
        except msgspec.ValidationError as exc:
            raise ProviderProtocolError(f"the provider's last line is not Ollama's ({exc})") from exc
