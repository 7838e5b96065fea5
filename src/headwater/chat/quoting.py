"""Other people's text inside a prompt: cleaned, and fenced in so that it cannot pass for anything else. Pure.

A prompt must be the same whenever it is built (a crash rebuilds it), so nothing here is random: the tag of a fence is a
hash of what is inside, which its author cannot know without changing it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256

_TAG_CHARACTERS = 12

# Controls but tab and line feed; zero-width, bidirectional and invisible characters, which hide text from people that a
# model reads (CVE-2021-42574, "ASCII smuggling" with tags U+E0000…); variation selectors; lone surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# What models' templates write around turns: a tokenizer may make one special token of it.
_ROLE_MARKS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile("<(?=[|\uff5c])"), "< "),
    (re.compile("(?<=[|\uff5c])>"), " >"),
    (re.compile(r"\[(/?)(INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]", re.IGNORECASE), r"( \1\2 )"),
    (re.compile(r"<<(/?)SYS>>", re.IGNORECASE), r"< \1SYS >"),
    (
        re.compile(r"<(/?)(s|bos|eos|unk|pad|start_of_turn|end_of_turn|system|user|assistant|think)>", re.IGNORECASE),
        r"< \1\2 >",
    ),
    # Our own fences, and the headings of passages, which stand at the beginning of a line.
    (re.compile(r"(?<!=)={2,}(?=[ \t]{0,8}(?:BEGIN|END)\b)", re.IGNORECASE), "-"),
    (re.compile(r"^([ \t]{0,8})\[(\d{1,4})\](?=[ \t])", re.MULTILINE), r"\1(\2)"),
)


def neutral(text: str) -> str:
    """The text without hidden characters, and with marks that only a prompt may hold made harmless.

    What people see stays as it is, but for a space or a bracket in such a mark. Doing it twice changes nothing.
    """
    text = _HIDDEN.sub("", _LINE_ENDS.sub("\n", text)).strip()
    for pattern, instead in _ROLE_MARKS:
        text = pattern.sub(instead, text)
    return text


def one_line(text: str, most_characters: int) -> str:
    """A name or a title: neutral, on one line, cut where it is longer."""
    text = " ".join(neutral(text).split())
    return text if len(text) <= most_characters else text[: most_characters - 1].rstrip() + "…"


def shortened(text: str, most_characters: int) -> str:
    """The beginning of the text, up to the last word that fits whole; a word longer than everything is cut."""
    if len(text) <= most_characters:
        return text
    cut = text[: max(0, most_characters)]
    words_end = max(cut.rfind(" "), cut.rfind("\n"))
    if not text[len(cut)].isspace() and words_end > 0:
        cut = cut[:words_end]
    return cut.rstrip()


def fenced(label: str, body: str) -> str:
    """`body`, which must be `neutral`, between lines that no text inside can end: see the module."""
    tag = _tag(label, body)
    return f"=== BEGIN {label} {tag} ===\n{body}\n=== END {label} {tag} ==="


def _tag(label: str, body: str) -> str:
    digest = sha256(f"{label}\n{body}".encode()).hexdigest()
    while digest[:_TAG_CHARACTERS] in body:
        digest = sha256(digest.encode()).hexdigest()
    return digest[:_TAG_CHARACTERS]
