"""How a server's chat completions differ from OpenAI's, as data; and a request with these differences applied.

What has another name there is renamed, what the server refuses is refused here by name before it is sent, and what is
OpenAI's own bookkeeping is left out where the server would reject it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ...errors import UnsupportedField
from ...events import JsonObject
from ...request import ChatRequest
from .conversation import NEUTRAL

# Headwater's own field in the messages that it gives its callers; strict servers refuse what they do not know.
_SIGNATURE = "reasoning_signature"


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """Everything empty: none.

    `renamed`: parameters, OpenAI's name → the server's. `roles`: the same for the roles of messages. `refused`:
    parameters, and `refused_in_messages`: fields of messages, that the server answers with an error or would ignore
    in silence. `left_out`: parameters that no answer differs by, and `left_out_in_messages`: fields that only other
    servers have a use for (earlier thinking), which are not sent. `formats`: the kinds of
    `response_format` that it has; empty: all. `one_choice`: it gives one answer a request.
    """

    renamed: Mapping[str, str] = {}
    roles: Mapping[str, str] = {}
    refused: frozenset[str] = frozenset()
    refused_in_messages: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    left_out_in_messages: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    one_choice: bool = False

    def params(self, request: ChatRequest, label: str) -> JsonObject:
        """The parameters as the server wants them. Raises `UnsupportedField`; `label` is its name in errors."""
        params = {name: value for name, value in request.params.items() if name not in self.left_out}
        for name in [name for name in params if name in self.refused]:
            value = params.pop(name)
            if value is not None and not (name in NEUTRAL and value == NEUTRAL[name]):
                raise UnsupportedField(f"{label} cannot take {name}", param=name)
        if self.one_choice and params.pop("n", None) not in (None, 1):
            raise UnsupportedField(f"{label} gives one answer a request: n must be 1", param="n")
        kind = format_of(request)
        if self.formats and kind not in self.formats:
            has = " or ".join(sorted(self.formats))
            raise UnsupportedField(f"{label} takes response_format of the type {has} only", param="response_format")
        for name, theirs in self.renamed.items():
            value = params.pop(name, None)
            if value is not None:
                params[theirs] = value
        return params

    def messages(self, request: ChatRequest, label: str) -> list[JsonObject]:
        """The messages as the server wants them. Raises `UnsupportedField` whose `param` is the field's path."""
        told = self.roles or self.refused_in_messages or self.left_out_in_messages
        if not told and not any(_SIGNATURE in message for message in request.messages):
            return request.messages
        return [self._message(f"messages[{at}]", message, label) for at, message in enumerate(request.messages)]

    def _message(self, path: str, message: JsonObject, label: str) -> JsonObject:
        left_out = self.left_out_in_messages
        message = {name: value for name, value in message.items() if name != _SIGNATURE and name not in left_out}
        for name in [name for name in message if name in self.refused_in_messages]:
            if message.pop(name):
                raise UnsupportedField(f"{path}.{name}: {label} cannot take it", param=f"{path}.{name}")
        role = message.get("role")
        if isinstance(role, str):
            message["role"] = self.roles.get(role, role)
        return message


def format_of(request: ChatRequest) -> str:
    """The kind of `response_format` that was asked for; "text" where none was."""
    value = request.params.get("response_format")
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else "text"
