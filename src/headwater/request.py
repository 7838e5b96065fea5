"""The canonical request for one answer, as it is stored beside the stream and handed to a provider.

Messages keep OpenAI's chat shape (`role`, `content` as text or typed parts, `tool_calls`, `tool_call_id`), the one
that every provider's builder translates from. `params` holds the rest of the caller's body unchanged.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from .errors import LogCorrupt
from .events import JsonObject, Source

Priority: TypeAlias = Literal["low", "normal", "high"]


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """`model` is the public name; `params` are OpenAI-named parameters (temperature, tools, n …).

    `fallback`: whether another target of the route may answer. `priority`: where the request waits in a queue.
    `sources`: the passages in the prompt once more, for a model that reads them as data. `task`: what the chat backend
    needs to take the stream up again. `meters`: whose budgets the answer counts against.
    """

    model: str
    messages: list[JsonObject]
    params: JsonObject = msgspec.field(default_factory=dict)
    fallback: bool = True
    priority: Priority = "normal"
    sources: list[Source] = []
    task: JsonObject | None = None
    meters: list[str] = []


_decode = msgspec.json.Decoder(ChatRequest).decode


def encode_request(request: ChatRequest) -> bytes:
    return msgspec.json.encode(request)


def decode_request(data: bytes) -> ChatRequest:
    """Raises `LogCorrupt`."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise LogCorrupt(f"a stored request does not decode: {exc}") from exc


def prompt_characters(request: ChatRequest) -> int:
    """Characters of text in the prompt, for estimated usage. Images and other binary parts count nothing."""
    total = 0
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            total += len(content)
        elif isinstance(content, list):
            for part in content:
                text = part.get("text") if isinstance(part, dict) else None
                if isinstance(text, str):
                    total += len(text)
    return total
