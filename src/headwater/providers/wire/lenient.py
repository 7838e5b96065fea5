r"""JSON as servers really send it: what the strict decoder refuses but a reader can still use.

Python servers write `NaN`, `-Infinity` (vLLM's logprobs) and lone surrogates: a tokenizer that cuts a character's
UTF-16 pair in two puts one half into each of two deltas (`"\ud83d"`, then `"\ude00"`). This module is the slow path
behind a failed strict decode; it must not know of any provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Generic, TypeVar

from ...errors import ProviderProtocolError

# Enough of a payload to recognise what sent it, too little to carry an answer or a secret into a message.
_EXCERPT_CHARACTERS = 60
# As long and as dense as keys are (Mistral's have 32 characters and no mark), which servers repeat in their errors.
_KEY_LONG = re.compile(r"[\w*.\-+/=]{20,}")

Channel = TypeVar("Channel", bound=Hashable)


def decode_lenient(payload: bytes, *, pieces: frozenset[str] = frozenset()) -> object:
    """Any JSON value, with lone surrogates replaced by U+FFFD. Raises `ProviderProtocolError`.

    Strings under a name in `pieces` are left as they came, for `Halves` to join; log probabilities and arguments that
    are objects are never such pieces.
    """
    try:
        return _whole(json.loads(payload.decode("utf-8", "replace")), pieces)
    except (ValueError, RecursionError) as exc:
        raise ProviderProtocolError(f"the provider sent what is not JSON: {excerpt(payload)}") from exc


def is_json(payload: bytes) -> bool:
    """Whether this is whole; a cut object is not."""
    try:
        decode_lenient(payload)
    except ProviderProtocolError:
        return False
    return True


def _whole(value: object, pieces: frozenset[str]) -> object:
    if isinstance(value, str):
        return _without_halves(value)
    if isinstance(value, list):
        return [_whole(item, pieces) for item in value]
    if isinstance(value, dict):
        return {
            _without_halves(name): item
            if name in pieces and isinstance(item, str)
            else _whole(item, frozenset() if name in ("arguments", "logprobs") else pieces)
            for name, item in value.items()
        }
    return value


def _without_halves(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def excerpt(payload: bytes) -> str:
    """The beginning of a payload, fit for a message."""
    text = payload[: _EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")
    clean = "".join(character if character.isprintable() else " " for character in text)
    clean = _KEY_LONG.sub("***", clean)
    return clean if len(clean) <= _EXCERPT_CHARACTERS else f"{clean[:_EXCERPT_CHARACTERS]}…"


class Halves(Generic[Channel]):
    """Joins surrogate pairs that were cut apart between two pieces of one text; other lone halves become U+FFFD.

    A text is named by any hashable `channel`. `flush` gives what is still owed at the end.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[Channel, str] = {}

    def join(self, channel: Channel, text: str) -> str:
        """`text` made whole; a leading half kept back until its other half arrives."""
        text = self._held.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held[channel] = text[-1]
            text = text[:-1]
        return _without_halves(text)

    def flush(self) -> dict[Channel, str]:
        """Replacement text for the halves that nothing completed, by channel."""
        owed = dict.fromkeys(self._held, "\ufffd")
        self._held.clear()
        return owed
