"""The canonical request, read: typed turns, parts, tools and parameters that builders translate from.

`ChatRequest` keeps OpenAI's shapes as the caller sent them. Builders of APIs with other shapes read them through this
module, so that a mistake in a message is the same `InputError` whichever provider it was meant for. Whatever a builder
has not taken when it calls `Fields.finish` is refused by name: nothing is dropped silently. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias, cast

import msgspec

from ...errors import InputError, UnsupportedField
from ...events import JsonObject
from ...request import ChatRequest

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(?P<data>[A-Za-z0-9+/=_-]+)", re.ASCII)
_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg", "aac": "audio/aac"}
# Types of files that came as bare base64, by their name's end. Nothing is guessed for others.
_FILE_TYPES = {
    "pdf": "application/pdf",
    "json": "application/json",
    "xml": "application/xml",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "md": "text/markdown",
    "txt": "text/plain",
}
_UNKNOWN_TYPE = "application/octet-stream"
_PDF_BASE64 = "JVBERi"  # "%PDF"
# Fields for OpenAI's own bookkeeping: no answer differs by them, so leaving them out changes nothing.
WITHOUT_INFLUENCE = frozenset(
    {
        *("stream", "stream_options", "user", "metadata", "store", "service_tier", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention"),
    }
)
# The one value of a parameter that asks for what every API does anyway.
NEUTRAL: dict[str, object] = {
    "n": 1,
    "logit_bias": {},
    "logprobs": False,
    "parallel_tool_calls": True,
    "modalities": ["text"],
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "stop": [],
}


class TextPart(msgspec.Struct, frozen=True):
    text: str


class ImagePart(msgspec.Struct, frozen=True):
    """Either base64 `data` with its `media_type`, or a `url`. `detail` is OpenAI's `auto | low | high`."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""


class AudioPart(msgspec.Struct, frozen=True):
    """`format` as OpenAI names it (`wav`, `mp3`); `data` is base64."""

    format: str
    data: str

    @property
    def media_type(self) -> str:
        return _AUDIO_TYPES.get(self.format, f"audio/{self.format}")


class FilePart(msgspec.Struct, frozen=True):
    """Base64 `data` with its `media_type`, a `url`, or the `file_id` of a file that the provider holds."""

    filename: str = ""
    media_type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""


Part: TypeAlias = TextPart | ImagePart | AudioPart | FilePart


class Call(msgspec.Struct, frozen=True):
    """A tool call that the assistant made. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str

    def parsed(self) -> JsonObject:
        """The arguments as an object. Raises `InputError`."""
        try:
            return msgspec.json.decode(self.arguments or "{}", type=JsonObject)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            raise InputError(f"the arguments of tool call {self.id!r} are no JSON object", param="messages") from exc


class Turn(msgspec.Struct, frozen=True):
    """One message. `path` names it in errors (`messages[3]`); `call_id` is the call that a tool's turn answers.

    `reasoning` and `signature` are the assistant's earlier thinking, where the caller sends it back.
    """

    role: Role
    path: str
    parts: list[Part] = []
    calls: list[Call] = []
    call_id: str = ""
    name: str = ""
    reasoning: str = ""
    signature: str = ""

    @property
    def text(self) -> str:
        """All text of the turn, parts on lines of their own."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    def refuse(self, part: Part, provider: str) -> UnsupportedField:
        """The error for a part that `provider` cannot take."""
        kind = {ImagePart: "this image", AudioPart: "audio", FilePart: "this file", TextPart: "text"}[type(part)]
        where = f"{self.path}.content[{self.parts.index(part)}]"
        return UnsupportedField(f"{where}: {provider} cannot take {kind} here", param=where)


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call. `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: JsonObject = msgspec.field(default_factory=dict)
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """`tool` forces the one called `name`; `required` forces any."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str = ""


class Format(msgspec.Struct, frozen=True):
    """The form that the answer must have."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str = "answer"
    schema: JsonObject | None = None
    strict: bool | None = None


def read_turns(messages: Sequence[JsonObject]) -> list[Turn]:
    """Raises `InputError` that names the message, and the part where one is at fault."""
    return [_turn(f"messages[{at}]", message) for at, message in enumerate(messages)]


def _turn(path: str, message: JsonObject) -> Turn:
    given = message.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise _wrong(f"{path}.role", f"the role must be one of {', '.join(_ROLES)}")
    reasoning, signature = message.get("reasoning_content"), message.get("reasoning_signature")
    return Turn(
        role,
        path,
        parts=_parts(path, message.get("content")),
        calls=_calls(f"{path}.tool_calls", message.get("tool_calls")),
        call_id=_text(message.get("tool_call_id")),
        name=_text(message.get("name")),
        reasoning=_text(reasoning),
        signature=_text(signature),
    )


def _parts(path: str, content: object) -> list[Part]:
    if content is None or isinstance(content, str):
        return [TextPart(content)] if content else []
    if not isinstance(content, list):
        raise _wrong(f"{path}.content", "the content must be a text or a list of parts")
    return [_part(f"{path}.content[{at}]", part) for at, part in enumerate(content)]


def _part(path: str, part: object) -> Part:
    if not isinstance(part, dict):
        raise _wrong(path, "a part must be an object with a type")
    kind = part.get("type")
    value = part.get(kind) if isinstance(kind, str) else None
    if kind in ("text", "refusal") and isinstance(value, str):
        return TextPart(value)
    if kind == "image_url":
        return _image(path, value)
    if kind == "input_audio" and isinstance(value, dict) and _text(value.get("data")):
        return AudioPart(_text(value.get("format")) or "wav", _text(value.get("data")))
    if kind == "file" and isinstance(value, dict):
        return _file(path, value)
    raise _wrong(path, "a part is of the type text, image_url, input_audio or file, with a field of that name")


def _image(path: str, value: object) -> ImagePart:
    url = value.get("url") if isinstance(value, dict) else value
    if not isinstance(url, str) or not url:
        raise _wrong(path, "an image needs a url")
    detail = _text(value.get("detail")) if isinstance(value, dict) else ""
    if not url.startswith("data:"):
        return ImagePart(url=url, detail=detail)
    media_type, data = _data_url(path, url)
    return ImagePart(media_type, data, detail=detail)


def _file(path: str, value: JsonObject) -> FilePart:
    name, data = _text(value.get("filename")), _text(value.get("file_data"))
    if data.startswith("data:"):
        media_type, data = _data_url(path, data)
        return FilePart(name, media_type, data)
    if data:
        return FilePart(name, _file_type(name, data), data)
    url, file_id = _text(value.get("file_url")), _text(value.get("file_id"))
    if not (url or file_id):
        raise _wrong(path, "a file needs file_data, file_url or file_id")
    return FilePart(name, url=url, file_id=file_id)


def _file_type(name: str, data: str) -> str:
    if data.startswith(_PDF_BASE64):
        return _FILE_TYPES["pdf"]
    return _FILE_TYPES.get(name.lower().rpartition(".")[2], _UNKNOWN_TYPE)


def _data_url(path: str, url: str) -> tuple[str, str]:
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise _wrong(path, "a data URL must be data:<type>;base64,<data>")
    return match["type"], match["data"]


class _Function(msgspec.Struct):
    name: str
    arguments: str | JsonObject | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


def _calls(path: str, value: object) -> list[Call]:
    if not value:
        return []
    try:
        calls = msgspec.convert(value, list[_Call])
    except msgspec.ValidationError as exc:
        raise _wrong(path, f"a tool call needs a function with its name and arguments ({exc})") from exc
    return [Call(call.id or f"call_0_{at}", call.function.name, _json(call)) for at, call in enumerate(calls)]


def _json(call: _Call) -> str:
    arguments = call.function.arguments
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()


class Fields:
    """The parameters of a request, taken one by one. A null is a field that was not given.

    `provider` is the name that errors show. `finish` refuses what nobody took, unless its value is `NEUTRAL`.
    """

    __slots__ = ("_provider", "_rest")

    def __init__(self, request: ChatRequest, provider: str) -> None:
        self._provider = provider
        self._rest = {
            name: value
            for name, value in request.params.items()
            if value is not None and name not in WITHOUT_INFLUENCE and not _is_neutral(name, value)
        }

    def take(self, name: str) -> object:
        """The value as it came, or None."""
        return self._rest.pop(name, None)

    def number(self, name: str) -> float | int | None:
        value = self.take(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise _wrong(name, "must be a number")

    def integer(self, name: str) -> int | None:
        value = self.number(name)
        if value is None or isinstance(value, int):
            return value
        raise _wrong(name, "must be an integer")

    def flag(self, name: str) -> bool | None:
        value = self.take(name)
        if value is None or isinstance(value, bool):
            return value
        raise _wrong(name, "must be true or false")

    def max_tokens(self) -> int | None:
        """`max_completion_tokens`, or the older `max_tokens`."""
        newer, older = self.integer("max_completion_tokens"), self.integer("max_tokens")
        return older if newer is None else newer

    def stop(self) -> list[str]:
        value = self.take("stop")
        texts = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _wrong("stop", "must be a text or a list of texts")
        return cast("list[str]", texts)

    def effort(self) -> str | None:
        """`reasoning_effort`: none, minimal, low, medium, high, xhigh or max."""
        value = self.take("reasoning_effort")
        if value is not None and value not in EFFORTS:
            raise _wrong("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
        return None if value is None else str(value)

    def tools(self) -> list[Tool]:
        tools = self.take("tools")
        if not tools:
            return []
        if not isinstance(tools, list):
            raise _wrong("tools", "must be a list")
        return [self._tool(f"tools[{at}]", tool) for at, tool in enumerate(tools)]

    def _tool(self, path: str, tool: object) -> Tool:
        kind = tool.get("type", "function") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind != "function":
            raise UnsupportedField(f"{path}: {self._provider} cannot take a tool of the type {kind!r}", param=path)
        try:
            function = tool.get("function") if isinstance(tool, dict) else None
            if isinstance(function, dict):
                function = {name: value for name, value in function.items() if value is not None}
            return msgspec.convert(function, Tool)
        except msgspec.ValidationError as exc:
            raise _wrong(path, f"a tool needs a function with its name and parameters ({exc})") from exc

    def tool_choice(self) -> ToolChoice | None:
        value = self.take("tool_choice")
        if value is None:
            return None
        if value in ("auto", "none", "required"):
            return ToolChoice(value)
        kind = value.get("type", "function") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind != "function":
            message = f"{self._provider} cannot take a tool_choice of the type {kind!r}"
            raise UnsupportedField(message, param="tool_choice")
        function = value.get("function") if isinstance(value, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise _wrong("tool_choice", "must be auto, none, required or name a function")
        return ToolChoice("tool", name)

    def format(self) -> Format | None:
        """`response_format`; None where it is not given or asks for plain text."""
        value = self.take("response_format")
        if value is None:
            return None
        kind = value.get("type") if isinstance(value, dict) else None
        if kind == "text":
            return None
        if kind == "json_object":
            return Format("json_object")
        wrapper = value.get("json_schema") if isinstance(value, dict) else None
        if kind != "json_schema" or not isinstance(wrapper, dict) or not isinstance(wrapper.get("schema"), dict):
            raise _wrong("response_format", "must be text, json_object, or json_schema with a schema")
        strict = wrapper.get("strict")
        if strict is not None and not isinstance(strict, bool):
            raise _wrong("response_format", "strict must be true or false")
        return Format(
            "json_schema", _text(wrapper.get("name")) or "answer", cast("JsonObject", wrapper["schema"]), strict
        )

    def finish(self) -> None:
        """Raises `UnsupportedField` for the first field that nobody took."""
        for name in self._rest:
            raise UnsupportedField(f"{self._provider} cannot take {name}", param=name)


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def _is_neutral(name: str, value: object) -> bool:
    return name in NEUTRAL and value == NEUTRAL[name]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _wrong(path: str, message: str) -> InputError:
    return InputError(f"{path}: {message}", param=path)
