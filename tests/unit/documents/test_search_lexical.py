from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.documents.records import Query, Scope
from headwater.documents.search import Searcher
from headwater.documents.search.filters import Filter
from headwater.documents.search.lexical import shares, weigh, words_in
from headwater.documents.shelf import Shelf
from headwater.store import Store

from .shelving import place


async def texts_of(store: Store, scope: Scope, question: str) -> list[str]:
    return [found.text for found in (await Searcher(store).search(Query(scope, question))).found]


async def test_words_are_found_in_any_of_their_forms(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "Ferries are leaving the harbour.", "Something else entirely.")
    assert await texts_of(store, desk, "When does a ferry leave?") == ["Ferries are leaving the harbour."]
    assert await texts_of(store, desk, "zebra") == []
    assert await texts_of(store, desk, "") == []


async def test_headings_are_found_too(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "It costs three.", section="Prices > Surfboards")
    assert await texts_of(store, desk, "surfboard") == ["It costs three."]


async def test_more_of_the_question_is_better(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "red paint", "red boats", "blue boats in the sun", "a red door", name="colours")
    assert (await texts_of(store, desk, "red boats"))[0] == "red boats"


@pytest.mark.parametrize(
    "question",
    [
        '"',
        "'",
        "text : x",
        "scope:*",
        "a AND",
        "NOT (",
        "NEAR(a, b, 3)",
        "x* ^y",
        "{text} : a",
        "a' | 'b",
        "a & !b:*",
        "\\",
        "%_",
        "\0",
        "\ud800",
        "\N{COMBINING GRAVE ACCENT}",
        "é\N{COMBINING GRAVE ACCENT}",
        "ª º ² ½ Ⅷ",
        "_ __ a_",
        "ﷺ ß ǅ İ",
        "日本語 한국어 ไทย",
    ],
)
async def test_no_question_is_syntax(store: Store, shelf: Shelf, desk: Scope, question: str) -> None:
    await place(shelf, desk, "one passage")
    assert "one passage" in await texts_of(store, desk, f"passage {question}")
    await Searcher(store).search(Query(desk, question))


async def test_any_text_can_be_asked(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "one passage")
    searcher = Searcher(store)
    asked: list[str] = []

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.text(max_size=60))
    def collect(question: str) -> None:
        asked.append(question)

    collect()
    for question in asked:
        await searcher.search(Query(desk, question))


async def test_a_workspace_that_is_no_id_matches_nothing(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "one passage")
    for invented in ('" OR text : "passage', "", "*", desk.workspace_id.upper()):
        assert await texts_of(store, Scope(desk.tenant, invented), "passage") == []


async def test_shares_say_how_much_of_the_question_a_passage_holds(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "common rare", "common", "common thing", "none")
    words = words_in(is_sqlite=store.is_sqlite)
    async with store.read() as connection:
        ids = await words.rank(connection, ["common", "rare", "missing"], Filter(desk), 10)
        whole = await weigh(words, connection, ["common", "rare"], scope=desk, ids=ids)
        part = await weigh(words, connection, ["common", "rare", "missing"], scope=desk, ids=ids)
        assert await weigh(words, connection, [], scope=desk, ids=ids) == dict.fromkeys(ids, 0.0)
        assert await weigh(words, connection, ["rare"], scope=desk, ids=[]) == {}
    assert len(ids) == 3
    best, *others = sorted(whole.values(), reverse=True)
    assert best == pytest.approx(1.0)
    # The rare word says more than the common one; a word that is nowhere counts against all.
    assert all(0 < share < 0.5 for share in others)
    assert all(part[id_] < whole[id_] for id_ in ids)


def test_shares_follow_the_formula() -> None:
    holders = [(1, frozenset({7})), (3, frozenset({7, 8}))]
    assert shares(holders, 3, [7, 8, 9]) == pytest.approx({7: 1.0, 8: 0.1199, 9: 0.0}, abs=1e-3)
    # A count that is older than the passages is no reason to fail.
    assert shares(holders, 0, [7])[7] == pytest.approx(1.0)


async def test_the_score_does_not_depend_on_how_many_are_asked_for(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "green apples", "green pears", "sour apples")
    searcher = Searcher(store)
    one = await searcher.search(Query(desk, "green apples", limit=1))
    three = await searcher.search(Query(desk, "green apples", limit=3))
    assert one.found[0] in three.found
