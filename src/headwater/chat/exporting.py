"""A thread as a file: JSON with all branches, which `importing` reads, or Markdown of the current path for people.

Pure. The JSON names no tenant, workspace or stream: they mean nothing elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import msgspec

from ..events import JsonObject, Source
from .records import Message, Thread

FORMAT: Final = "headwater-thread"
VERSION: Final = 1

_THREAD = ("id", "number", "slug", "title", "title_source", "model", "metadata", "leaf_id", "created_ms", "updated_ms")
_OWN = frozenset({"tenant", "thread_id", "stream_id"})
_NAMES = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~])")
_BACKTICKS = re.compile("`+")
_SENTINEL = "headwater-sentinel"


def export_json(thread: Thread, messages: Sequence[Message]) -> JsonObject:
    """`messages`: of all branches, parents before their children."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "thread": {name: getattr(thread, name) for name in _THREAD},
        "messages": [_exported(message) for message in messages],
    }


def export_markdown(thread: Thread, messages: Sequence[Message]) -> str:
    """`messages`: of all branches; those off the current path are counted, not shown.

    A message keeps its Markdown as far as it cannot be taken for the document's own: its headings move below the
    section's, and what would swallow later sections is shown as code. Costs CPU: about 1 ms for each 10 KiB of text.
    """
    path = _path(thread, messages)
    began = datetime.fromtimestamp(thread.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    blocks = [f"# {_line(thread.title) or 'Untitled conversation'}", f"*Begun {began}.*"]
    for message in path:
        blocks += _section(message)
    if left_out := len(messages) - len(path):
        blocks += ["---", f"*Left out: {left_out} message{'s' * (left_out > 1)} on other branches.*"]
    return "\n\n".join(blocks) + "\n"


def _exported(message: Message) -> JsonObject:
    names = [name for name in message.__struct_fields__ if name not in _OWN]
    return {name: msgspec.to_builtins(getattr(message, name)) for name in names}


def _path(thread: Thread, messages: Sequence[Message]) -> list[Message]:
    by_id = {message.id: message for message in messages}
    path: list[Message] = []
    # Removed as they are met: no file can make this walk in a circle.
    message = by_id.pop(thread.leaf_id or "", None)
    while message is not None:
        path.append(message)
        message = by_id.pop(message.parent_id or "", None)
    return path[::-1]


def _section(message: Message) -> list[str]:
    served = f" · {_line(message.model)}" if message.role == "assistant" and message.model else ""
    blocks = [f"## {_NAMES[message.role]}{served}"]
    if message.content.strip():
        blocks.append(contained(message.content))
    blocks += [f"- Attached: {_attached(part)}" for part in message.parts]
    if message.sources:
        blocks += ["**Sources**", "\n".join(f"{n}. {_source(source)}" for n, source in enumerate(message.sources, 1))]
    match message.status:
        case "streaming":
            blocks.append("*This answer is still being written.*")
        case "cancelled":
            blocks.append("*Stopped before its end.*")
        case "failed":
            why = f": {_line(message.error.message)}" if message.error else ""
            blocks.append(f"*Failed{why}*")
        case "done":
            pass
    return blocks


def _attached(part: JsonObject) -> str:
    file = part.get("file")
    name = file.get("filename") if isinstance(file, dict) else None
    return _line(str(name or part.get("type") or "file").removesuffix("_url"))


def _source(source: Source) -> str:
    title = _line(source.title or source.id or source.text[:80]) or "untitled"
    where = source.url if re.fullmatch(r"https?://[^\s<>()]+", source.url) else ""
    page = (source.metadata or {}).get("page")
    return (f"[{title}](<{where}>)" if where else title) + (f", page {page}" if isinstance(page, int) else "")


def _line(text: str) -> str:
    """Plain text on one line, with what Markdown would read as its own escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def contained(content: str) -> str:
    """A message's Markdown that ends where it ends, with no heading above the third level.

    Verified with a parser; what does not hold (an HTML comment that is never closed …) becomes one block of code.
    """
    # Without those that a reader may take for an end of line where the parser does not, or the other way round.
    content = re.sub("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", content).replace("\0", "\ufffd").strip("\n")
    lowered = _lowered(content)
    for candidate in (lowered, f"{lowered}\n{_open_fence(lowered)}"):
        if _holds(candidate):
            return candidate
    fence = "`" * max(3, 1 + max((len(run) for run in _BACKTICKS.findall(content)), default=0))
    return f"{fence}text\n{content}\n{fence}"


def _lowered(content: str) -> str:
    """Headings two levels down; those in quotes and lists are no structure, and stay."""
    from markdown_it import MarkdownIt

    lines = content.split("\n")
    for token in MarkdownIt("commonmark").parse(content):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        first, end = token.map
        level = "#" * min(int(token.tag[1]) + 2, 6)
        if token.markup.startswith("#"):
            lines[first] = f"{level} {lines[first].lstrip().lstrip('#').strip()}"
        else:
            # Underlined: its text, which may have several lines, on one.
            lines[first] = f"{level} {' '.join(line.strip() for line in lines[first : end - 1])}"
            lines[first + 1 : end] = [""] * (end - first - 1)
    return "\n".join(lines)


def _open_fence(content: str) -> str:
    """What would close a block of code that is open at the end."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(content)
    return tokens[-1].markup if tokens and tokens[-1].type == "fence" else ""


def _holds(content: str) -> bool:
    """Whether a section behind `content` is one, and `content` has none of its own."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(f"{content}\n\n## {_SENTINEL}\n")
    headings = [
        (token.tag, inline.content)
        for token, inline in pairwise(tokens)
        if token.type == "heading_open" and not token.level and token.tag in ("h1", "h2")
    ]
    return headings == [("h2", _SENTINEL)]
