"""Turns as Anthropic wants them: system apart, user and assistant in alternation, content as typed blocks.

A tool's answer is a block of the user's turn, before that turn's other blocks. Text of nothing but white space is left
out, because the API refuses it. Earlier thinking goes back only with its signature, which the API checks. Pure.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

from ...errors import InputError
from ...events import JsonObject
from .conversation import Call, FilePart, ImagePart, Part, TextPart, Turn

_PROVIDER = "Anthropic"
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TEXTS = frozenset({"application/json", "application/xml", "application/yaml"})
_ID_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


def anthropic_messages(turns: Sequence[Turn]) -> tuple[str, list[JsonObject]]:
    """The system prompt and the messages. Raises `UnsupportedField` naming the part, `InputError` naming the turn."""
    system: list[str] = []
    messages: list[JsonObject] = []
    ids = _Ids()
    last_blocks: list[JsonObject] = []
    for turn in turns:
        if turn.role == "system":
            system += [_text_only(turn, part) for part in turn.parts]
            continue
        role = "assistant" if turn.role == "assistant" else "user"
        blocks = _blocks(turn, ids)
        if not blocks:
            continue
        if messages and messages[-1]["role"] == role:
            last_blocks += blocks
        else:
            last_blocks = blocks
            messages.append({"role": role, "content": blocks})
        if role == "user":
            last_blocks.sort(key=_is_not_a_result)
    if messages and messages[-1]["role"] == "assistant" and last_blocks[-1]["type"] == "text":
        # The API refuses an answer begun with white space at its end.
        last_blocks[-1] = {"type": "text", "text": str(last_blocks[-1]["text"]).rstrip()}
    return "\n\n".join(text for text in system if text.strip()), messages


class _Ids:
    """Call ids in the alphabet that Anthropic takes, each used once.

    Providers that give no ids make every turn's first call `call_0_0`; an answer belongs to the latest of that name.
    """

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._latest: dict[str, str] = {}

    def call(self, id: str) -> str:
        wanted = unique = _ID_REFUSED.sub("_", id)
        repeat = 1
        while unique in self._used:
            repeat += 1
            unique = f"{wanted}_{repeat}"
        self._used.add(unique)
        self._latest[id] = unique
        return unique

    def answer(self, id: str) -> str:
        return self._latest.get(id) or _ID_REFUSED.sub("_", id)


def _blocks(turn: Turn, ids: _Ids) -> list[JsonObject]:
    match turn.role:
        case "assistant":
            return _assistant(turn, ids)
        case "tool":
            return [_result(turn, ids)]
        case _:
            return _parts(turn)


def _assistant(turn: Turn, ids: _Ids) -> list[JsonObject]:
    blocks: list[JsonObject] = []
    # Others' signatures carry their provider's mark (`gemini:…`); Anthropic's own are base64, without a colon.
    if turn.signature and ":" not in turn.signature:
        blocks.append({"type": "thinking", "thinking": turn.reasoning, "signature": turn.signature})
    for part in turn.parts:
        text = _text_only(turn, part)
        if text.strip():
            blocks.append({"type": "text", "text": text})
    return blocks + [_use(call, ids) for call in turn.calls]


def _use(call: Call, ids: _Ids) -> JsonObject:
    return {"type": "tool_use", "id": ids.call(call.id), "name": call.name, "input": call.parsed()}


def _result(turn: Turn, ids: _Ids) -> JsonObject:
    if not turn.call_id:
        path = f"{turn.path}.tool_call_id"
        raise InputError(f"{path}: a tool's message needs the id of the call that it answers", param=path)
    result: JsonObject = {"type": "tool_result", "tool_use_id": ids.answer(turn.call_id)}
    content = _parts(turn)
    if content:
        result["content"] = content
    return result


def _is_not_a_result(block: JsonObject) -> bool:
    return block["type"] != "tool_result"


def _parts(turn: Turn) -> list[JsonObject]:
    blocks = [_block(turn, part) for part in turn.parts]
    return [block for block in blocks if block is not None]


def _block(turn: Turn, part: Part) -> JsonObject | None:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text} if text.strip() else None
        case ImagePart():
            return _image(turn, part)
        case FilePart():
            return _document(turn, part)
        case _:
            raise turn.refuse(part, _PROVIDER)


def _image(turn: Turn, part: ImagePart) -> JsonObject:
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    if part.media_type not in _IMAGES:
        raise turn.refuse(part, _PROVIDER)
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}


def _document(turn: Turn, part: FilePart) -> JsonObject:
    """PDF, plain text, or an image that came as a file."""
    if part.data and part.media_type in _IMAGES:
        return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}
    document: JsonObject = {"type": "document", "source": _source(turn, part)}
    if part.filename:
        document["title"] = part.filename
    return document


def _source(turn: Turn, part: FilePart) -> JsonObject:
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    if part.url:
        return {"type": "url", "url": part.url}
    if part.media_type == "application/pdf":
        return {"type": "base64", "media_type": part.media_type, "data": part.data}
    if not (part.media_type.startswith("text/") or part.media_type in _TEXTS):
        raise turn.refuse(part, _PROVIDER)
    try:
        text = base64.b64decode(part.data, altchars=None, validate=True).decode("utf-8-sig")
    except ValueError as exc:
        path = f"{turn.path}.content[{turn.parts.index(part)}]"
        raise InputError(f"{path}: a text file must be UTF-8 in base64", param=path) from exc
    return {"type": "text", "media_type": "text/plain", "data": text}


def _text_only(turn: Turn, part: Part) -> str:
    if not isinstance(part, TextPart):
        raise turn.refuse(part, _PROVIDER)
    return part.text
