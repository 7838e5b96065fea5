"""A thread as a file: JSON that can be read back, Markdown that nothing in a message can break."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from headwater.chat.conversations import Conversations
from headwater.chat.exporting import contained, export_json, export_markdown
from headwater.chat.importing import parse_import
from headwater.chat.records import Message, Settled, Thread, Workspace
from headwater.events import Error, JsonObject, Source, Usage

from .conftest import ANN, Clock

# 2023-11-14 22:13:20 UTC
CREATED_MS = 1_700_000_000_000


def a_thread(**fields: object) -> Thread:
    own = {"id": "t", "tenant": ANN, "number": 1, "workspace_id": "w", "slug": "s"}
    return Thread(**own, created_ms=CREATED_MS, updated_ms=CREATED_MS, **fields)  # type: ignore[arg-type]


def a_message(number: int, parent: int | None = None, **fields: object) -> Message:
    own = {"id": str(number), "tenant": ANN, "number": number, "thread_id": "t", "created_ms": CREATED_MS}
    own |= {"role": "assistant" if number % 2 == 0 else "user", "parent_id": None if parent is None else str(parent)}
    return Message(**(own | fields))  # type: ignore[arg-type]


def sections(markdown: str) -> list[str]:
    """The document's own headings, as a reader of Markdown sees them."""
    tokens = MarkdownIt("commonmark").parse(markdown)
    pairs = pairwise(tokens)
    return [f"{t.tag} {inline.content}" for t, inline in pairs if t.type == "heading_open" and not t.level]


async def test_json_has_all_branches_and_reads_back(
    conversations: Conversations, workspace: Workspace, thread: Thread, clock: Clock
) -> None:
    image: JsonObject = {"type": "image_url", "image_url": {"url": "data:,"}}
    first = await conversations.messages.add_turn(
        ANN, thread.id, parent_id=None, content="2+2?", parts=[image], stream_id="s1", model="m"
    )
    assert first.question is not None
    await conversations.messages.settle(
        "s1",
        Settled(
            content="It is 4.",
            reasoning="hm",
            status="failed",
            finish_reason="error",
            provider="p",
            error=Error("provider_error", "cut", 502),
            usage=Usage(3, 4),
            sources=[Source("passage", id="7", score=0.5, metadata={"page": 2})],
            metadata={"confidence": 0.5},
            included=False,
            confidential=True,
            finished_ms=CREATED_MS + 500,
        ),
    )
    clock.ms += 1000
    await conversations.messages.add_turn(
        ANN, thread.id, parent_id=first.question.id, content="", stream_id="s2", regenerate=True
    )
    await conversations.messages.set_leaf(ANN, thread.id, first.answer.id)
    thread = await conversations.threads.update(ANN, thread.id, title="Sums", model="m", metadata={"pinned": True})
    messages = await conversations.messages.all(ANN, thread.id)
    exported = msgspec.json.decode(msgspec.json.encode(export_json(thread, messages)))
    assert (exported["format"], exported["version"], exported["thread"]["leaf_id"]) == (
        "headwater-thread",
        1,
        first.answer.id,
    )
    text = msgspec.json.encode(exported).decode()
    assert ANN not in text and workspace.id not in text and '"stream_id"' not in text

    copy = await conversations.import_thread(ANN, workspace.id, parse_import(exported))
    copied = await conversations.messages.all(ANN, copy.id)
    assert (copy.title, copy.title_source, copy.model, copy.metadata) == ("Sums", "user", "m", {"pinned": True})
    assert (copy.number, copy.slug, copy.created_ms) == (2, "sums", thread.created_ms)
    assert copy.leaf_id == copied[1].id and [m.number for m in copied] == [4, 5, 6]
    own = {"id", "number", "thread_id", "parent_id", "stream_id"}
    for before, after in zip(messages, copied, strict=True):
        changed = own | ({"status", "finish_reason", "finished_ms"} if before.status == "streaming" else set())
        for name in set(Message.__struct_fields__) - changed:
            assert getattr(before, name) == getattr(after, name), name
    assert (copied[2].status, copied[2].finish_reason, copied[2].stream_id) == ("cancelled", "cancelled", "")
    assert [m.parent_id for m in copied] == [None, copied[0].id, copied[0].id]


def test_markdown_is_the_current_path_and_says_what_it_leaves_out() -> None:
    messages = [
        a_message(1, content="What is *this*?", parts=[{"type": "file", "file": {"filename": "a_b.pdf"}}]),
        a_message(2, 1, content="old"),
        a_message(
            4,
            1,
            content="# Big\n\nIt is 4.",
            model="gpt-4_1",
            sources=[
                Source("passage", title="Manual [1]", metadata={"page": 3}),
                Source("web", title="Page", url="https://example.org/a"),
                Source("odd", url="javascript:alert(1)"),
                Source(""),
            ],
        ),
    ]
    assert export_markdown(a_thread(title="Sums & <b>more</b>\n# x", leaf_id="4"), messages) == (
        "# Sums & \\<b\\>more\\</b\\> \\# x\n\n"
        "*Begun 2023-11-14 22:13 UTC.*\n\n"
        "## User\n\n"
        "What is *this*?\n\n"
        "- Attached: a\\_b.pdf\n\n"
        "## Assistant · gpt-4\\_1\n\n"
        "### Big\n\nIt is 4.\n\n"
        "**Sources**\n\n"
        "1. Manual \\[1\\], page 3\n"
        "2. [Page](<https://example.org/a>)\n"
        "3. odd\n"
        "4. untitled\n\n"
        "---\n\n"
        "*Left out: 1 message on other branches.*\n"
    )


def test_markdown_tells_how_an_answer_ended() -> None:
    messages = [
        a_message(1, role="system", content="Be brief."),
        a_message(2, 1, role="tool", parts=[{"type": "image_url"}, {"type": 7}]),
        a_message(4, 2, status="streaming"),
        a_message(6, 4, content="half", status="cancelled"),
        a_message(8, 6, status="failed", error=Error("x", "it *broke*")),
        a_message(10, 8, status="failed"),
    ]
    text = export_markdown(a_thread(leaf_id="10"), messages)
    assert sections(text) == ["h1 Untitled conversation", "h2 System", "h2 Tool", *["h2 Assistant"] * 4]
    for part in (
        "being written",
        "half\n\n*Stopped before",
        r"*Failed: it \*broke\**",
        "*Failed*",
        "Attached: image\n",
    ):
        assert part in text
    assert "other branch" not in text


def test_an_empty_thread_is_a_title() -> None:
    assert sections(export_markdown(a_thread(), [])) == ["h1 Untitled conversation"]


def test_parents_in_a_circle_end() -> None:
    messages = [a_message(1, 2, content="a"), a_message(2, 1, content="b")]
    assert len(sections(export_markdown(a_thread(leaf_id="2"), messages))) == 3


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("plain", "plain"),
        ("# One\n## Two #\n###### Six", "### One\n#### Two #\n###### Six"),
        ("#", "### "),
        ("Title\n=====\n\ntext", "### Title\n\n\ntext"),
        ("Two\nlines\n---\ntext", "#### Two lines\n\n\ntext"),
        ("> # quoted\n\n- # listed", "> # quoted\n\n- # listed"),
        ("```\n# code\n```", "```\n# code\n```"),
        ("```py\n# never closed", "```py\n# never closed\n```"),
        ("~~~~\nx\n~~~", "~~~~\nx\n~~~\n~~~~"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
    ],
)
def test_a_message_keeps_its_markdown_below_its_section(content: str, shown: str) -> None:
    assert contained(content) == shown


@pytest.mark.parametrize(
    "content",
    [
        "<!-- never closed",
        "<script>\n# x",
        "<pre>\n\nx",
        "<![CDATA[",
        "<?php",
        "<!DOCTYPE",
        "````\n```\n<!--",
        "text\n<!--\n```",
    ],
)
def test_what_would_swallow_later_sections_is_shown_as_code(content: str) -> None:
    shown = contained(content)
    assert sections(f"# T\n\n## A\n\n{shown}\n\n## B\n") == ["h1 T", "h2 A", "h2 B"]
    assert content in shown


LINES = (
    ["# a", "## b", "text", "===", "---", "```", "~~~", "````x", "<!--", "-->", "<script>", "</script>", "<div>"]
    + ["> q", "> ```", "- l", "  # in", "  ```", "    # code", "1. ```", "", "[a]: b", "\t# t", "* * *", "a\\", "<a"]
    + ["| a | b |", "- ", "  ===", "   ---", "<pre", "</pre>", "\\# x", "# x #", "&#35; x"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=8), st.text(alphabet="#=-`~<>!\n a\r\x00\u2028[]():*_\t", max_size=40))
def test_no_message_breaks_the_document(lines: list[str], more: str) -> None:
    messages = [a_message(1, content="\n".join(lines)), a_message(2, 1, content=more), a_message(3, 2, content="end")]
    found = [head for head in sections(export_markdown(a_thread(title=more, leaf_id="3"), messages)) if head[1] in "12"]
    assert found[1:] == ["h2 User", "h2 Assistant", "h2 User"]
    assert found[0].startswith("h1 ")
