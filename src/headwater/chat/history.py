"""Which earlier turns of a conversation go into the next prompt. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..events import JsonObject
from ..streams.fold import CHARACTERS_PER_TOKEN

# What vision models charge for a picture of about a megapixel; nothing better is known of one without decoding it.
PART_TOKENS = 1000


class Past(msgspec.Struct, frozen=True):
    """An earlier message. `parts` are OpenAI's content parts beside the text.

    `included`: whether later prompts may hold it. `confidential`: whether it may only go to a local model.
    """

    role: str
    content: str
    parts: list[JsonObject] = []
    included: bool = True
    confidential: bool = False


def select_history(past: Sequence[Past], *, turns: int, tokens: int, external: bool) -> list[Past]:
    """The newest `turns` turns of at most `tokens` together (estimated), in their order.

    A turn is a question and what answers it, and is taken whole or not at all: one that does not fit ends the history,
    however new it is, so that nothing is missing in between. Left out of it are turns with a message that is not
    included, or confidential where `external`; they count nothing. An answer that broke off is history as it is.
    Messages of other roles than `user` and `assistant` are none: the system's text is not the conversation's.
    """
    chosen: list[list[Past]] = []
    for turn in reversed(_turns(past)):
        if any(not message.included or (external and message.confidential) for message in turn):
            continue
        tokens -= sum(map(estimated_tokens, turn))
        if len(chosen) >= turns or tokens < 0:
            break
        chosen.append(turn)
    return [message for turn in reversed(chosen) for message in turn]


def estimated_tokens(message: Past) -> int:
    """Rounded up; a part that is no text counts `PART_TOKENS`."""
    characters, others = len(message.content), 0
    for part in message.parts:
        text = part.get("text")
        if isinstance(text, str):
            characters += len(text)
        else:
            others += 1
    return -(-characters // CHARACTERS_PER_TOKEN) + others * PART_TOKENS


def _turns(past: Sequence[Past]) -> list[list[Past]]:
    """Questions in a row are turns of their own. What is said before the first question belongs to none."""
    turns: list[list[Past]] = []
    for message in past:
        if message.role == "user":
            turns.append([message])
        elif message.role == "assistant" and turns:
            turns[-1].append(message)
    return turns
