"""Canonical messages as Ollama wants them: text and images apart, tool arguments as objects, tools by name."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InputError
from ...events import JsonObject
from .conversation import Call, ImagePart, Part, TextPart, Turn, read_turns


def ollama_messages(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """Raises `InputError` naming the message, `UnsupportedField` naming the part that Ollama cannot take."""
    names: dict[str, str] = {}
    return [_message(turn, names) for turn in read_turns(messages)]


def _message(turn: Turn, names: dict[str, str]) -> JsonObject:
    """`names`: tool call id → function name, because Ollama links a tool's answer by name."""
    out: JsonObject = {"role": turn.role, "content": turn.text}
    images = [_image(turn, part) for part in turn.parts if not isinstance(part, TextPart)]
    if images:
        out["images"] = images
    if turn.reasoning:
        out["thinking"] = turn.reasoning
    if turn.calls:
        out["tool_calls"] = [_call(turn, call, names) for call in turn.calls]
    if turn.role == "tool":
        name = turn.name or names.get(turn.call_id)
        if name:
            out["tool_name"] = name
    return out


def _image(turn: Turn, part: Part) -> str:
    """Base64 only: Ollama fetches nothing."""
    if isinstance(part, ImagePart) and part.media_type.startswith("image/"):
        return part.data
    raise turn.refuse(part, "Ollama")


def _call(turn: Turn, call: Call, names: dict[str, str]) -> JsonObject:
    names[call.id] = call.name
    try:
        arguments = call.parsed()
    except InputError as exc:
        raise InputError(exc.message, param=f"{turn.path}.tool_calls") from exc
    return {"function": {"name": call.name, "arguments": arguments}}
