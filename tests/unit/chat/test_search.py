"""Search over messages and titles: case, accents, wildcards, snippets, bounds, tenants; alike in both databases."""

from __future__ import annotations

import pytest

from headwater.chat.conversations import Conversations
from headwater.chat.conversations.search import AROUND_CHARACTERS, MAX_HITS, snippet_of
from headwater.chat.records import Hit, Thread, Workspace
from headwater.errors import InputError, UnknownItem

from .conftest import ANN, BOB


def marked(hit: Hit) -> str:
    return hit.snippet.text[hit.snippet.start : hit.snippet.end]


@pytest.mark.parametrize(
    ("content", "text", "mark"),
    [
        ("Il va à l'ÉCOLE demain", "école", "ÉCOLE"),
        ("Il va à l'école demain", "ECOLE", "école"),
        ("decomposed: E\u0301cole!", "école", "E\u0301cole"),
        ("Die Straße ist lang", "STRASSE", "Straße"),
        ("Die Strasse ist lang", "straße", "Strasse"),
        ("ПРИВЕТ, мир", "привет", "ПРИВЕТ"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς", "ΟΔΥΣΣΕΥΣ"),
        ("Ａ ｆｕｌｌ width", "full", "ｆｕｌｌ"),
        ("the ﬁrst", "first", "ﬁrst"),
        ("研究している", "研究", "研究"),
        ("100% sure", "100%", "100%"),
        ("snake_case", "e_c", "e_c"),
        (r"C:\temp\new", r"\temp\n", r"\temp\n"),
        ("a.b*c[d](e){f}^$|?+", "*c[d](e){f}^$|?+", "*c[d](e){f}^$|?+"),
        ("***:plain", "***:", "***:"),
        ('it\'s "quoted"', "'s", "'s"),
        ("wide 👩‍🔬 signs", "👩‍🔬", "👩‍🔬"),
        ("nul\x00there", "nul\x00", "nul\ufffd"),
        ("İstanbul", "istanbul", "İstanbul"),
    ],
)
async def test_what_people_mean_is_found(
    conversations: Conversations, thread: Thread, content: str, text: str, mark: str
) -> None:
    await conversations.messages.add(ANN, thread.id, parent_id=None, role="user", content="something else")
    message = await conversations.messages.add(ANN, thread.id, parent_id=None, role="user", content=content)
    (hit,) = await conversations.search(ANN, text)
    assert hit.message == message and marked(hit) == mark
    await conversations.threads.update(ANN, thread.id, title=content)
    await conversations.messages.clear(ANN, thread.id)
    (hit,) = await conversations.search(ANN, text)
    assert (hit.message, hit.thread.id, marked(hit)) == (None, thread.id, mark)


@pytest.mark.parametrize(
    ("content", "text"),
    [("1000 sure", "100%"), ("snakeXcase", "e_c"), ("abc", "a.c"), ("aac", "a*c"), ("one", "one two"), ("x", "[x]")],
)
async def test_wildcards_and_other_words_are_not_found(
    conversations: Conversations, thread: Thread, content: str, text: str
) -> None:
    await conversations.messages.add(ANN, thread.id, parent_id=None, role="user", content=content)
    assert await conversations.search(ANN, text) == []


async def test_all_words_must_be_there_in_any_order(conversations: Conversations, thread: Thread) -> None:
    await conversations.messages.add(ANN, thread.id, parent_id=None, role="user", content="brown dog")
    both = await conversations.messages.add(ANN, thread.id, parent_id=None, role="user", content="The Fox, brown")
    (hit,) = await conversations.search(ANN, " brown  FOX ")
    assert hit.message == both and marked(hit) == "Fox"


async def test_the_newest_come_first_and_are_bounded(conversations: Conversations, workspace: Workspace) -> None:
    threads = [await conversations.threads.create(ANN, workspace.id, title=f"needle {n}") for n in range(2)]
    messages = [
        await conversations.messages.add(ANN, threads[n % 2].id, parent_id=None, role="user", content=f"needle {n}")
        for n in range(4)
    ]
    await conversations.threads.update(ANN, threads[0].id, metadata={})
    hits = await conversations.search(ANN, "needle")
    assert [hit.message for hit in hits if hit.message] == messages[::-1]
    assert hits[0].thread.id == threads[0].id and hits[0].message is None, "the title of what was changed last"
    times = [hit.message.created_ms if hit.message else hit.thread.updated_ms for hit in hits]
    assert times == sorted(times, reverse=True) and len(hits) == 6
    assert hits[1].thread.messages == 2
    assert await conversations.search(ANN, "needle", limit=3) == hits[:3]


async def test_a_search_stays_in_its_workspace_and_tenant(
    conversations: Conversations, workspace: Workspace, thread: Thread
) -> None:
    other = await conversations.workspaces.create(ANN, name="other")
    elsewhere = await conversations.threads.create(ANN, other.id, title="needle")
    await conversations.messages.add(ANN, elsewhere.id, parent_id=None, role="user", content="needle")
    here = await conversations.messages.add(ANN, thread.id, parent_id=None, role="user", content="needle")
    (hit,) = await conversations.search(ANN, "needle", workspace_id=workspace.id)
    assert hit.message == here
    assert len(await conversations.search(ANN, "needle")) == 3
    assert await conversations.search(BOB, "needle") == []
    for tenant, workspace_id in ((BOB, workspace.id), (ANN, "unknown"), (ANN, "a\x00")):
        with pytest.raises(UnknownItem):
            await conversations.search(tenant, "needle", workspace_id=workspace_id)


@pytest.mark.parametrize("text", ["", "  ", "\u0301", "x" * 201, " ".join(map(str, range(17)))])
async def test_a_search_has_bounds(conversations: Conversations, text: str) -> None:
    with pytest.raises(InputError) as refused:
        await conversations.search(ANN, text)
    assert refused.value.param == "query"


@pytest.mark.parametrize("limit", [0, MAX_HITS + 1])
async def test_the_number_of_hits_has_bounds(conversations: Conversations, limit: int) -> None:
    with pytest.raises(InputError):
        await conversations.search(ANN, "x", limit=limit)


def test_a_snippet_is_one_line_around_the_first_place() -> None:
    text = "é" * 500 + "\nneedle\n" + "ü" * 500
    found = snippet_of(text, ["needle"])
    assert found.text[found.start : found.end] == "needle"
    assert found.text.startswith("…é") and found.text.endswith("ü…") and "\n" not in found.text
    assert len(found.text) == 6 + 2 * AROUND_CHARACTERS + 2
    whole = snippet_of("a needle, a needle", ["needle", "a"])
    assert (whole.text, whole.start, whole.end) == ("a needle, a needle", 0, 1)
    assert snippet_of("needles", ["needle", "needles"]).end == 7, "of two at one place the longer"
    assert snippet_of("nothing of it", ["other"]).text == "nothing of it"
