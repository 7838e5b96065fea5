"""Typed turns as Gemini wants them: roles `user` and `model`, parts, calls and their answers by name.

Two things are particular. System turns go into `systemInstruction`, wherever they stood. And a thought signature has
to come back on the part that it came with: the first call of a message, else its last text
(https://ai.google.dev/gemini-api/docs/thought-signatures). A message of a canonical request holds one signature, which
is what that rule needs; thoughts themselves are summaries for people and are not sent back. A signature that is not
Gemini's (the conversation began elsewhere) is left out, and Gemini 3, which refuses calls without one, is told so
with the word that this page names for it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from ...errors import InputError
from ...events import JsonObject
from .conversation import AudioPart, Call, FilePart, ImagePart, Part, TextPart, Turn
from .gemini_decoder import SIGNATURE_MARK
from .segments import quoted

PROVIDER = "Gemini"
_WITHOUT_SIGNATURE = "skip_thought_signature_validator"
# Ids that decoders make up repeat in every answer, so they name nothing to the API.
_MADE_UP_ID = re.compile(r"call_\d+_\d+", re.ASCII)
_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown",
    "csv": "text/csv", "html": "text/html", "json": "application/json", "mp3": "audio/mpeg", "wav": "audio/wav",
    "flac": "audio/flac", "ogg": "audio/ogg", "aac": "audio/aac", "mp4": "video/mp4", "mov": "video/quicktime",
    "webm": "video/webm",
}  # fmt: skip


class Contents(NamedTuple):
    """`system` is the parts of `systemInstruction`, `contents` everything else."""

    system: list[JsonObject]
    contents: list[JsonObject]


def gemini_contents(turns: Sequence[Turn], *, base_url: str, third: bool) -> Contents:
    """`base_url` completes the ids of files. `third`: Gemini 3 or later, which has ids of calls, demands signatures and
    takes media in a tool's answer. Raises `UnsupportedField` and `InputError` that name the part.
    """
    builder = _Builder(base_url, third)
    for turn in turns:
        builder.add(turn)
    return Contents(builder.system, builder.contents)


class _Builder:
    def __init__(self, base_url: str, third: bool) -> None:
        self.system: list[JsonObject] = []
        self.contents: list[JsonObject] = []
        self._base_url = base_url
        self._third = third
        self._names: dict[str, str] = {}  # of the latest call with this id
        self._answers: list[JsonObject] | None = None  # the parts of the content that answers calls, while it is last

    def add(self, turn: Turn) -> None:
        if turn.role == "tool":
            self._answer(turn)
            return
        if turn.role == "system":
            self.system += [self._text(turn, part) for part in turn.parts]
            return
        self._answers = None
        parts = [self._part(part) for part in turn.parts]
        if turn.role == "assistant":
            parts = self._signed(parts, turn)
        if parts:  # a content without parts is refused
            self.contents.append({"role": "model" if turn.role == "assistant" else "user", "parts": parts})

    @staticmethod
    def _text(turn: Turn, part: Part) -> JsonObject:
        if not isinstance(part, TextPart):
            raise turn.refuse(part, PROVIDER)
        return {"text": part.text}

    def _part(self, part: Part) -> JsonObject:
        if isinstance(part, TextPart):
            return {"text": part.text}
        if isinstance(part, AudioPart) or part.data:
            return _inline(part.media_type, part.data)
        if isinstance(part, ImagePart) or part.url:
            return _file(part.url, _type_of(part.url))
        name = part.file_id.removeprefix("files/")
        uri = name if name.startswith("https://") else f"{self._base_url}/files/{quoted(name)}"
        return _file(uri, _type_of(part.filename))

    def _signed(self, parts: list[JsonObject], turn: Turn) -> list[JsonObject]:
        """The parts of an assistant's turn with its calls, and its signature in its place."""
        signature = turn.signature.removeprefix(SIGNATURE_MARK) if turn.signature.startswith(SIGNATURE_MARK) else ""
        calls = [self._call(call) for call in turn.calls]
        texts = [part for part in parts if "text" in part]
        if calls and (signature or self._third):
            calls[0]["thoughtSignature"] = signature or _WITHOUT_SIGNATURE
        elif texts and signature and not calls:
            texts[-1]["thoughtSignature"] = signature
        return parts + calls

    def _call(self, call: Call) -> JsonObject:
        self._names[call.id] = call.name
        return {"functionCall": {**self._id(call.id), "name": call.name, "args": call.parsed()}}

    def _id(self, id: str) -> JsonObject:
        return {"id": id} if self._third and not _MADE_UP_ID.fullmatch(id) else {}

    def _answer(self, turn: Turn) -> None:
        """The answer to a call. All answers to the calls of one message stand in one content."""
        name = turn.name or self._names.get(turn.call_id)
        if not name:
            path = f"{turn.path}.tool_call_id"
            raise InputError(f"{path}: no tool call before it has this id", param=path)
        answer: JsonObject = {**self._id(turn.call_id), "name": name, "response": _response(turn.text)}
        media = [self._media(turn, part) for part in turn.parts if not isinstance(part, TextPart)]
        if media:
            answer["parts"] = media
        if self._answers is None:
            self._answers = []
            self.contents.append({"role": "user", "parts": self._answers})
        self._answers.append({"functionResponse": answer})

    def _media(self, turn: Turn, part: Part) -> JsonObject:
        if not self._third or not isinstance(part, ImagePart | FilePart) or not part.data:
            raise turn.refuse(part, PROVIDER)
        return _inline(part.media_type, part.data)


def _inline(media_type: str, data: str) -> JsonObject:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _file(uri: str, media_type: str) -> JsonObject:
    return {"fileData": {**({"mimeType": media_type} if media_type else {}), "fileUri": uri}}


def _type_of(name: str) -> str:
    """By the ending; Google finds out for itself where it is not told."""
    try:
        path = urlsplit(name).path
    except ValueError:
        return ""
    return _TYPES.get(path.rpartition(".")[2].lower(), "")


def _response(text: str) -> JsonObject:
    """A tool's answer must be an object; Google's own name for one that is not is `output`."""
    try:
        return msgspec.json.decode(text, type=JsonObject)
    except (msgspec.DecodeError, RecursionError):
        return {"output": text}
