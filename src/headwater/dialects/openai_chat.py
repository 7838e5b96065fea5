"""OpenAI chat completions: what `POST /v1/chat/completions` takes and answers.

Source: https://platform.openai.com/docs/api-reference/chat and the `openai` Python SDK, which is the authority.
Frames are `id:` + `data:`; the last one of a whole answer is `data: [DONE]`, never sent after an error.
"""

from __future__ import annotations

from typing import Annotated, Literal, assert_never

import msgspec

from ..events import (
    Done,
    Error,
    Event,
    JsonObject,
    Metadata,
    Reasoning,
    Sources,
    Start,
    Status,
    Text,
    ToolCall,
    Usage,
)
from ..request import ChatRequest, Priority
from ..sse import comment
from ..streams.ports import EncoderFactory, StreamView
from .base import HEARTBEAT, Decoded, Dialect, EncodeOptions, check, decode_object, json_line

_encode_text = msgspec.json.Encoder().encode

NAME = "openai_chat"
MAX_CHOICES = 128


class ChatMessage(msgspec.Struct):
    """One message. Other fields pass through."""

    role: str
    content: str | list[JsonObject] | None = None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: str | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatBody(msgspec.Struct):
    """The fields whose types are checked here. All others pass through to the provider unchanged.

    `priority` and `fallback` are Headwater's own and stay here: where the request waits in a queue, and whether another
    target of the model's route may answer. OpenAI has neither; its `service_tier` is a matter of the provider's.
    """

    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    response_format: JsonObject | None = None
    reasoning_effort: str | None = None
    priority: Priority | None = None
    fallback: bool | Literal["on", "off"] | None = None


OWN_FIELDS = frozenset({"model", "messages", "stream", "stream_options", "priority", "fallback"})


def decode(body: bytes) -> Decoded:
    """Raises `InputError`."""
    fields = decode_object(body)
    check(fields, ChatBody)
    return understood(fields, dialect=NAME)


def understood(fields: JsonObject, *, dialect: str) -> Decoded:
    """A checked body in canonical form."""
    stream_options = fields.get("stream_options")
    return Decoded(
        request=ChatRequest(
            model=str(fields.get("model") or ""),
            messages=msgspec.convert(fields["messages"], list[JsonObject]),
            params={name: value for name, value in fields.items() if name not in OWN_FIELDS},
            fallback=fields.get("fallback") not in (False, "off"),
            priority=msgspec.convert(fields.get("priority") or "normal", Priority),
        ),
        stream=bool(fields.get("stream")),
        options=EncodeOptions(
            include_usage=isinstance(stream_options, dict) and bool(stream_options.get("include_usage")),
            choices=msgspec.convert(fields.get("n") or 1, int),
        ),
        dialect=dialect,
    )


def error_type(status: int) -> str:
    """The `type` of an error object, which OpenAI derives from the HTTP status."""
    return _ERROR_TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def error_object(message: str, *, status: int, code: str, param: str | None = None) -> JsonObject:
    """`{"error": {message, type, code, param}}`, as an HTTP body and as an SSE payload."""
    return {"error": {"message": message, "type": error_type(status), "code": code, "param": param}}


def usage_object(usage: Usage, served: JsonObject | None = None) -> JsonObject:
    """OpenAI's usage; `source` says whether the counts are `exact` or `estimated`.

    `served`: what the stream's metadata adds up to. Where it tells the cost, that is `cost`: a number, in the currency
    of the prices. The name is OpenRouter's (https://openrouter.ai/docs/use-cases/usage-accounting).
    """
    told: JsonObject = dict(usage.details or {})
    if usage.cached_tokens:
        told.setdefault("prompt_tokens_details", {"cached_tokens": usage.cached_tokens})
    if usage.reasoning_tokens:
        told.setdefault("completion_tokens_details", {"reasoning_tokens": usage.reasoning_tokens})
    cost = (served or {}).get("cost")
    if isinstance(cost, dict) and isinstance(cost.get("amount"), int | float):
        told["cost"] = cost["amount"]
    return told | {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "source": usage.source,
    }


class ChatEncoder:
    """Events of one stream as chunks. The bytes around a text are made once."""

    __slots__ = ("_done", "_head", "_id", "_options", "_text_prefix", "_view", "heartbeat")

    def __init__(self, view: StreamView, options: EncodeOptions) -> None:
        self.heartbeat = HEARTBEAT
        self._view = view
        self._options = options
        self._id = b"id: %d." % view.epoch
        chunk = json_line(_head(view, "chat.completion.chunk"))
        self._head = b"data: " + chunk[:-1]
        self._text_prefix = b'\n%b,"choices":[{"index":0,"delta":{"content":' % self._head

    def encode(self, seq: int, event: Event) -> bytes:
        if type(event) is Text and event.choice == 0 and not event.refusal and event.logprobs is None:
            try:
                text = _encode_text(event.text)
            except UnicodeEncodeError:
                text = json_line(event.text)
            return b"%b%d%b%b%b" % (self._id, seq, self._text_prefix, text, _TEXT_SUFFIX)
        return self._encode_other(seq, event)

    def reset(self, reason: str) -> bytes:
        """A comment: SDKs of this format would take an event for a chunk."""
        return comment(b"reset " + reason.encode("utf-8", "replace"))

    def _encode_other(self, seq: int, event: Event) -> bytes:
        match event:
            case Start():
                return self._start(seq)
            case Text():
                return self._delta(seq, _text_choice(event))
            case Reasoning():
                delta = _reasoning(event)
                return self._delta(seq, _choice(event.choice, delta)) if delta else b""
            case ToolCall():
                return self._delta(seq, _choice(event.choice, {"tool_calls": [_tool_call(event)]}))
            case Error():
                return b"%b%d\ndata: %b\n\n" % (self._id, seq, json_line(_event_error(event)))
            case Done():
                return self._end(seq, event)
            case Status() | Sources() | Usage() | Metadata():
                return b""
            case _ as never:
                assert_never(never)

    def _delta(self, seq: int, choice: JsonObject) -> bytes:
        return b"%b%d\n%b" % (self._id, seq, self._chunk({"choices": [choice]}))

    def _chunk(self, rest: JsonObject) -> bytes:
        return b"%b,%b\n\n" % (self._head, json_line(rest)[1:])

    def _start(self, seq: int) -> bytes:
        """One role chunk a choice; the id is on the last, so that a cut between them repeats them."""
        roles = [_choice(index, {"role": "assistant", "content": ""}) for index in range(self._options.choices)]
        before = b"".join(self._chunk({"choices": [role]}) for role in roles[:-1])
        return before + self._delta(seq, roles[-1])

    def _end(self, seq: int, event: Done) -> bytes:
        frames = [
            self._chunk({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
            for index, reason in enumerate(event.reasons or [event.reason] * self._options.choices)
        ]
        fold = self._view.fold
        if self._options.include_usage and fold.usage is not None:
            frames.append(self._chunk({"choices": [], "usage": usage_object(fold.usage, fold.served)}))
        frames.append(b"%b%d\ndata: [DONE]\n\n" % (self._id, seq))
        return b"".join(frames)


_TEXT_SUFFIX = b'},"finish_reason":null}]}\n\n'


class ChatEncoding(msgspec.Struct, frozen=True):
    """Makes encoders; equal ones share the encoded copy."""

    options: EncodeOptions

    def __call__(self, view: StreamView) -> ChatEncoder:
        return ChatEncoder(view, self.options)


def encoder(options: EncodeOptions) -> EncoderFactory:
    return ChatEncoding(options)


class _Choice:
    """One choice of an answer in one piece, while its events are added up."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.reasoning: list[str] = []
        self.signatures: list[str] = []
        self.calls: dict[int, list[ToolCall]] = {}
        self.logprobs: dict[str, list[object]] = {}

    def add(self, event: Text | Reasoning | ToolCall) -> None:
        match event:
            case Text():
                (self.refusal if event.refusal else self.text).append(event.text)
                for kind, tokens in (event.logprobs or {}).items():
                    if isinstance(tokens, list):
                        self.logprobs.setdefault(kind, []).extend(tokens)
            case Reasoning():
                self.reasoning.append(event.text)
                self.signatures += [event.signature] if event.signature else []
            case ToolCall():
                self.calls.setdefault(event.index, []).append(event)
            case _ as never:
                assert_never(never)

    def as_json(self, index: int, reason: str) -> JsonObject:
        message: JsonObject = {"role": "assistant", "content": "".join(self.text)}
        if not self.text and (self.calls or self.refusal):
            message["content"] = None
        if self.refusal:
            message["refusal"] = "".join(self.refusal)
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        # Several sign parts of the thinking that this one text does not keep apart.
        if len(self.signatures) == 1:
            message["reasoning_signature"] = self.signatures[0]
        if self.calls:
            message["tool_calls"] = [_whole_call(self.calls[key]) for key in sorted(self.calls)]
        return {"index": index, "message": message, "finish_reason": reason, "logprobs": self.logprobs or None}


def assemble(view: StreamView, events: list[Event], choices: int) -> JsonObject:
    """The `chat.completion` object of a stream that ended in `done`."""
    parts = {index: _Choice() for index in range(choices)}
    done = Done("stop")
    usage: Usage | None = None
    served: JsonObject = {}
    for event in events:
        match event:
            case Text() | Reasoning() | ToolCall():
                parts.setdefault(event.choice, _Choice()).add(event)
            case Usage():
                usage = event
            case Metadata():
                served |= event.data
            case Done():
                done = event
            case _:
                pass
    reasons = dict(enumerate(done.reasons or []))
    body = _head(view, "chat.completion") | _fingerprint(served)
    body["choices"] = [parts[index].as_json(index, reasons.get(index, done.reason)) for index in sorted(parts)]
    if usage is not None:
        body["usage"] = usage_object(usage, served)
    return body


def _head(view: StreamView, kind: str) -> JsonObject:
    created = view.created_ms // 1000
    return {"id": f"chatcmpl-{view.id}", "object": kind, "created": created, "model": view.model}


def _fingerprint(served: JsonObject) -> JsonObject:
    name = served.get("system_fingerprint")
    return {"system_fingerprint": name} if isinstance(name, str) else {}


def _choice(index: int, delta: JsonObject) -> JsonObject:
    return {"index": index, "delta": delta, "finish_reason": None}


def _text_choice(event: Text) -> JsonObject:
    choice = _choice(event.choice, {"refusal" if event.refusal else "content": event.text})
    return choice if event.logprobs is None else choice | {"logprobs": event.logprobs}


def _reasoning(event: Reasoning) -> JsonObject:
    """The signature is what some providers must get back, beside `reasoning_content`, with a tool's answer."""
    delta: JsonObject = {"reasoning_content": event.text} if event.text else {}
    return delta | {"reasoning_signature": event.signature} if event.signature else delta


def _tool_call(event: ToolCall) -> JsonObject:
    function: JsonObject = {"arguments": event.arguments}
    if not (event.id or event.name):
        return {"index": event.index, "function": function}
    return {"index": event.index, "id": event.id, "type": "function", "function": {"name": event.name} | function}


def _whole_call(pieces: list[ToolCall]) -> JsonObject:
    return {
        "id": next((piece.id for piece in pieces if piece.id), ""),
        "type": "function",
        "function": {
            "name": "".join(piece.name for piece in pieces),
            "arguments": "".join(piece.arguments for piece in pieces),
        },
    }


def _event_error(event: Error) -> JsonObject:
    return error_object(event.message, status=event.status, code=event.code or event.reason, param=event.param)


DIALECT = Dialect(name=NAME, default_linger_s=10.0, holds_head=True, decode=decode, encoder=encoder, assemble=assemble)
