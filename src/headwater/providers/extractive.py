"""The `extractive` model: answers with whole sentences of the passages in the prompt, quoted and cited.

Needs no key, no network and no model, and cannot make anything up: a conversation over documents works at once, and
confidential documents need not leave the machine. It is deterministic: the same request always gives the same events,
so an answer that a crash cut off goes on where its log ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import UnknownModel
from ..events import CONTENT_TYPES, Done, Event, JsonObject, Metadata, Source, Text, Usage
from ..request import ChatRequest, prompt_characters
from ..streams.fold import CHARACTERS_PER_TOKEN
from ..streams.ports import Producer, Writer
from .excerpts import Excerpt, select_excerpts
from .ports import Continuation, Held

MODEL = "extractive"
NOTHING_FOUND = "I found nothing about this in the documents: upload a document that covers it, or ask in other words."
OPENING = "This is what the documents say:"

_WORDS_A_PIECE = 3
_PIECES_A_BATCH = 8
_LIMITS = ("max_completion_tokens", "max_tokens")


class Extractive:
    """See `ports.Provider` and `ports.SupportsContinuation`."""

    name = MODEL

    async def models(self) -> Sequence[str]:
        return [MODEL]

    def producer(self, request: ChatRequest, model: str) -> Producer:
        """Raises `UnknownModel`. Of the parameters only the bound on tokens means something here."""
        if model != MODEL:
            raise UnknownModel(f"there is one built-in model, {MODEL}, and no {model[:100]!r}", param="model")
        return _Quoting(request)

    def continuation(self, request: ChatRequest, model: str, held: Held) -> Continuation | None:
        """The same producer: it finds in the stream what it need not write again. By itself it never breaks off."""
        return Continuation(self.producer(request, model), exact=True) if held.interrupted else None

    async def close(self) -> None:
        """Holds nothing."""


class _Quoting:
    """One answer. See `streams.ports.Producer`."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request

    async def run(self, writer: Writer) -> None:
        writer.connected()
        # Pinned documents can make the passages long, and others share the loop.
        events = await asyncio.to_thread(answer_events, self._request)
        missing = _missing(events, writer)
        for at in range(0, len(missing), _PIECES_A_BATCH):
            if not writer.write(missing[at : at + _PIECES_A_BATCH]):
                await writer.drain()
            await asyncio.sleep(0)


def answer_events(request: ChatRequest) -> list[Event]:
    """The whole answer: what it is, its text in small pieces, and its end."""
    excerpts = select_excerpts(_question(request), [source.text for source in request.sources])
    facts: JsonObject = {"model": MODEL} if excerpts else {"model": MODEL, "grounded": False}
    text = _written(excerpts, request.sources) if excerpts else NOTHING_FOUND
    text, cut = _bounded(text, request)
    usage = Usage(_tokens(prompt_characters(request)), _tokens(len(text)), source="estimated")
    return [Metadata(facts), *map(Text, _pieces(text)), usage, Done("length" if cut else "stop")]


def _missing(events: Sequence[Event], writer: Writer) -> list[Event]:
    """What the stream does not hold yet. The answer is always the same, so counting its content is exact."""
    fold = writer.fold
    skip = fold.content_events
    missing: list[Event] = []
    for event in events:
        if type(event) in CONTENT_TYPES and skip:
            skip -= 1
        elif isinstance(event, Metadata):
            if not event.data.items() <= (fold.served or {}).items():
                missing.append(event)
        elif not (isinstance(event, Usage) and fold.usage is not None):
            missing.append(event)
    return missing


def _question(request: ChatRequest) -> str:
    """The text of the last message of a user; "" where there is none."""
    for message in reversed(request.messages):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, str):
            return content
        parts = content if isinstance(content, list) else []
        texts = [part.get("text") for part in parts if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""


def _written(excerpts: Sequence[Excerpt], sources: Sequence[Source]) -> str:
    """A paragraph a passage, which names its document: `handbook.pdf, page 3: “…” [1]`."""
    paragraphs = [OPENING]
    for excerpt in excerpts:
        source = sources[excerpt.passage]
        quoted = excerpt.text.replace("\u201c", "\u2018").replace("\u201d", "\u2019")
        paragraphs.append(f"{_place(source)}\u201c{quoted}\u201d [{excerpt.passage + 1}]")
    return "\n\n".join(paragraphs)


def _place(source: Source) -> str:
    title = " ".join(source.title.split())
    page = (source.metadata or {}).get("page")
    if not title:
        return ""
    return f"{title}, page {page}: " if isinstance(page, int) else f"{title}: "


def _bounded(text: str, request: ChatRequest) -> tuple[str, bool]:
    """The text within the request's bound on tokens, and whether that cut it; at a word's end."""
    limits = [limit for name in _LIMITS if type(limit := request.params.get(name)) is int and limit > 0]
    most = min(limits, default=len(text)) * CHARACTERS_PER_TOKEN
    if len(text) <= most:
        return text, False
    cut = text[:most]
    return (cut[: cut.rindex(" ")] if " " in cut else cut), True


def _pieces(text: str) -> list[str]:
    """Groups of words, each with the space after it. Joined they are the text."""
    pieces: list[str] = []
    begin = at = words = 0
    while (space := text.find(" ", at)) >= 0:
        at = space + 1
        words += 1
        if words == _WORDS_A_PIECE:
            pieces.append(text[begin:at])
            begin, words = at, 0
    return [*pieces, text[begin:]] if begin < len(text) else pieces


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)
