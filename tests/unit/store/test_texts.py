"""Text that both databases take, and one rule of folding in two places."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal, select

from headwater.store import Store
from headwater.store.texts import MAX_DEPTH, contains_folded, fold, is_storable, storable, storable_json

# Scripts with case, marks, ligatures and signs; the letters whose case is a matter of language.
_TEXT = st.text(
    alphabet="aAbBeEéÉßẞsSσςΣñÑåÅøØæÆœжЖґҐאبκΚ研究가각ﬁ…½%_\\.*[](){}^$|?+-\" '\u0301\u0308👩\u200d", max_size=12
)


def test_only_what_no_database_holds_is_replaced() -> None:
    assert storable("a\x00b\ud800c\udfff") == "a\ufffdb\ufffdc\ufffd"
    for text in ("", "plain", "é\n\t\x01\ufffe", "\U0001f9ea"):
        assert is_storable(text) and storable(text) is text
    assert not is_storable("\x00") and not is_storable("é\ud800")


def test_json_is_what_both_databases_take() -> None:
    value = {"\x00": [1, 2.5, True, None, "\ud800", math.nan, -math.inf, ("t",)], 7: {}}
    assert storable_json(value) == {"\ufffd": [1, 2.5, True, None, "\ufffd", None, None, ["t"]], "7": {}}
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    shown, depth = storable_json(deep), 0
    while isinstance(shown, list):
        shown, depth = shown[0], depth + 1
    assert shown is None and depth == MAX_DEPTH


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TEXT, _TEXT, _TEXT)
@example("", "Straße", "")
@example("x", "ΟΔΥΣΣΕΥΣ", "y")
async def test_a_database_finds_what_is_in_it_whatever_the_case(
    store: Store, before: str, text: str, after: str
) -> None:
    async with store.read() as connection:
        for shown in (text, text.upper(), text.lower()):
            whole = before + shown + after
            if fold(text) not in fold(whole) or not fold(text):
                continue
            found = contains_folded(literal(whole), text, is_sqlite=store.is_sqlite)
            assert (await connection.execute(select(found))).scalar_one()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TEXT, _TEXT)
async def test_a_database_finds_only_what_is_in_it(store: Store, whole: str, text: str) -> None:
    async with store.read() as connection:
        found = contains_folded(literal(whole), text, is_sqlite=store.is_sqlite)
        assert bool((await connection.execute(select(found))).scalar_one()) == (fold(text) in fold(whole))
