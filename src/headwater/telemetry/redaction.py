"""Secrets in the log: known ones by their value, others by what keys, headers and addresses look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

HIDDEN = "[redacted]"
# A shorter text would be found in words that are no secret.
SHORTEST_CHARACTERS = 8

_SECRET_NAMES = re.compile(r"authorization|api[-_]?key|secret|password|token|cookie", re.IGNORECASE)
# Numbers of tokens are no tokens.
_COUNTS = re.compile(r"tokens$", re.IGNORECASE)
_LOOKS = re.compile(
    r"(?P<before>(?i:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    # `key=…` of an address or a header, a ticket included.
    r"|(?P<name>(?<![A-Za-z0-9])(?i:api[-_]?key|key|token|ticket|secret|password|signature)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;]{8,}"
    # Keys as OpenAI, Anthropic, Google, Groq, Headwater and webhooks write them, and JSON web tokens.
    r"|\b(?:sk-|gsk_|hw_|whsec_|AIza)[A-Za-z0-9_/+=-]{8,}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|(?P<scheme>://)[^\s/@]+@"
)


class Redactor:
    """`secrets`: the values themselves."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({one for one in secrets if len(one) >= SHORTEST_CHARACTERS}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _LOOKS.sub(_hidden, text)

    def value(self, value: object, name: str = "") -> object:
        """A field of a line, with all that is in it."""
        if isinstance(value, str):
            return HIDDEN if value and _names_secret(name) else self.text(value)
        if isinstance(value, Mapping):
            return {str(key): self.value(one, str(key)) for key, one in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return [self.value(one, name) for one in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(str(value))


def _names_secret(name: str) -> bool:
    return bool(_SECRET_NAMES.search(name)) and not _COUNTS.search(name)


def _hidden(found: re.Match[str]) -> str:
    if found["scheme"]:
        return f"://{HIDDEN}@"
    return f"{found['before'] or found['name'] or ''}{HIDDEN}"
