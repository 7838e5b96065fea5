"""OpenAI-shaped messages as Ollama wants them: text and images apart, tool arguments as objects, tools by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ...errors import InputError
from ...events import JsonObject

_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,(?P<data>[A-Za-z0-9+/=_-]+)", re.ASCII)
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def ollama_messages(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """Raises `InputError` naming the message and what Ollama cannot take in it."""
    names: dict[str, str] = {}
    return [_message(at, message, names) for at, message in enumerate(messages)]


def _message(at: int, message: JsonObject, names: dict[str, str]) -> JsonObject:
    """`names`: tool call id → function name, because Ollama links a tool's answer by name."""
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _refused(at, "role", f"the role must be one of {', '.join(_ROLES)}")
    text, images = _content(at, message.get("content"))
    out: JsonObject = {"role": _ROLES[role], "content": text}
    if images:
        out["images"] = images
    thinking = message.get("reasoning_content")
    if isinstance(thinking, str) and thinking:
        out["thinking"] = thinking
    calls = message.get("tool_calls")
    if calls:
        out["tool_calls"] = _tool_calls(at, calls, names)
    if role == "tool":
        name = message.get("name") or names.get(str(message.get("tool_call_id")))
        if name:
            out["tool_name"] = name
    return out


def _content(at: int, content: object) -> tuple[str, list[str]]:
    if content is None or isinstance(content, str):
        return content or "", []
    if not isinstance(content, list):
        raise _refused(at, "content", "the content must be a text or a list of parts")
    texts: list[str] = []
    images: list[str] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url":
            images.append(_image(at, part.get("image_url")))
        else:
            raise _refused(at, "content", "Ollama takes parts of the types text and image_url")
    return "\n".join(texts), images


def _image(at: int, image: object) -> str:
    url = image.get("url") if isinstance(image, dict) else image
    match = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if match is None:
        raise _refused(at, "content", "Ollama takes images as base64 data URLs only")
    return match["data"]


def _tool_calls(at: int, calls: object, names: dict[str, str]) -> list[JsonObject]:
    try:
        typed = msgspec.convert(calls, list[_Call])
        out: list[JsonObject] = []
        for call in typed:
            names[call.id] = call.function.name
            arguments = call.function.arguments
            if isinstance(arguments, str):
                arguments = msgspec.json.decode(arguments or "{}", type=JsonObject)
            out.append({"function": {"name": call.function.name, "arguments": arguments}})
    except msgspec.DecodeError as exc:
        raise _refused(at, "tool_calls", f"tool calls need a name and arguments as a JSON object ({exc})") from exc
    return out


class _Function(msgspec.Struct):
    name: str
    arguments: str | JsonObject = ""


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


def _refused(at: int, field: str, message: str) -> InputError:
    return InputError(f"messages[{at}].{field}: {message}", param=f"messages[{at}].{field}")
