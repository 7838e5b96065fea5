from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.chat.history import PART_TOKENS, Past, estimated_tokens, select_history


def user(content: str = "q", **fields: object) -> Past:
    return Past("user", content, **fields)  # type: ignore[arg-type]


def answer(content: str = "a", **fields: object) -> Past:
    return Past("assistant", content, **fields)  # type: ignore[arg-type]


def select(past: list[Past], *, turns: int = 100, tokens: int = 10_000, external: bool = False) -> list[Past]:
    return select_history(past, turns=turns, tokens=tokens, external=external)


FOUR = [user("1"), answer("1"), user("2"), answer("2"), user("3"), answer("3"), user("4"), answer("4")]


def test_all_that_fits_in_its_order() -> None:
    assert select(FOUR) == FOUR
    assert select([]) == []


def test_the_newest_turns() -> None:
    assert select(FOUR, turns=2) == FOUR[4:]
    assert select(FOUR, turns=0) == []


def test_whole_turns_that_fit() -> None:
    # A token each.
    assert select(FOUR, tokens=4) == FOUR[4:]
    assert select(FOUR, tokens=5) == FOUR[4:]
    assert select(FOUR, tokens=0) == []


def test_a_turn_too_large_ends_the_history() -> None:
    huge = [user("x" * 1000), answer()]
    assert select([*FOUR, *huge], tokens=100) == []
    assert select([*huge, *FOUR], tokens=100) == FOUR
    assert select([*FOUR[:2], *huge, *FOUR[2:]], tokens=100) == FOUR[2:]


def test_turns_that_must_not_be_told() -> None:
    refused = [user("r", included=False), answer("no", included=False)]
    secret = [user("s"), answer("secret", confidential=True)]
    past = [*FOUR[:2], *refused, *secret, *FOUR[2:4]]
    assert select(past) == [*FOUR[:2], *secret, *FOUR[2:4]]
    assert select(past, external=True) == FOUR[:4]
    # They count nothing.
    assert select(past, external=True, turns=2, tokens=4) == FOUR[:4]
    # One message is enough.
    assert select([user(), answer(included=False)]) == []


def test_answers_that_broke_off_and_questions_without_one() -> None:
    past = [user("1"), answer("half an ans"), user("2"), answer(""), user("3")]
    assert select(past) == past
    assert select(past, turns=1) == [user("3")]


def test_what_belongs_to_no_turn() -> None:
    past = [Past("system", "s"), answer("welcome"), user(), Past("tool", "t"), answer(), answer("more")]
    assert select(past) == [user(), answer(), answer("more")]


def test_estimated_tokens() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert estimated_tokens(user("")) == 0
    assert estimated_tokens(user("12345")) == 2
    assert estimated_tokens(user("1234", parts=[picture, {"type": "text", "text": "1234"}])) == 2 + PART_TOKENS


PASTS = st.builds(
    Past,
    role=st.sampled_from(["user", "assistant", "system"]),
    content=st.text("x", max_size=20),
    included=st.sampled_from([True, True, False]),
    confidential=st.sampled_from([True, False, False]),
)


@given(st.lists(PASTS, max_size=12), st.integers(0, 5), st.integers(0, 20), st.booleans())
def test_the_bounds_hold(past: list[Past], turns: int, tokens: int, external: bool) -> None:
    chosen = select(past, turns=turns, tokens=tokens, external=external)
    assert sum(message.role == "user" for message in chosen) <= turns
    assert sum(map(estimated_tokens, chosen)) <= tokens
    assert all(message.included and not (external and message.confidential) for message in chosen)
    rest = iter(past)
    assert all(any(message is other for other in rest) for message in chosen)
    assert not chosen or chosen[0].role == "user"
