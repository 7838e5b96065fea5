from __future__ import annotations

import msgspec
import pytest

from headwater.documents.records import Found
from headwater.documents.search.fusion import fuse, pick, pick_hybrid, score, tell_the_same


def found(id_: int, document: str = "a", *, score: float = 0.5, at: int | None = None, text: str = "") -> Found:
    start = id_ * 1000 if at is None else at
    return Found(
        passage_id=id_,
        document_id=document,
        document_number=1,
        document_name=document,
        text=text or f"text {id_}",
        page=None,
        section="",
        start=start,
        end=start + 100,
        score=score,
        confidential=False,
        pinned=False,
        version=1,
    )


def ids(passages: list[Found]) -> list[int]:
    return [passage.passage_id for passage in passages]


def test_what_both_lists_name_comes_first() -> None:
    assert fuse([[(1, 1.0), (2, 1.0), (3, 1.0)], [(3, 1.0), (4, 1.0)]]) == [3, 1, 2, 4]


def test_of_equals_the_first_named_comes_first() -> None:
    assert fuse([[(2, 1.0)], [(1, 1.0)]]) == [2, 1]
    assert fuse([[], []]) == []


def test_a_passage_counts_in_a_list_as_much_as_it_weighs() -> None:
    assert fuse([[(1, 0.1), (2, 0.2)], [(3, 1.0), (2, 0.9)]]) == [2, 3, 1]


@pytest.mark.parametrize(
    ("share", "cosine", "expected"),
    [(0.4, None, 0.4), (0.4, 0.25, 0.4), (0.0, 1.0, 1.0), (0.0, 0.625, 0.5), (0.0, -1.0, 0.0), (1.2, None, 1.0)],
)
def test_the_score_is_what_the_better_way_says(share: float, cosine: float | None, expected: float) -> None:
    assert score(share, cosine, 0.25) == pytest.approx(expected)


def test_the_order_is_kept_up_to_the_limit() -> None:
    assert ids(pick([found(3, "a"), found(1, "b"), found(2, "c")], 2)) == [3, 1]
    assert pick([], 3) == []


def test_what_tells_the_same_again_is_left_out() -> None:
    ranked = [found(1, at=0), found(2, at=50), found(3, at=51), found(4, "b", text="text 1")]
    # 2 shares half of its characters with 1; 3 less; 4 has the very words of 1 in another document.
    assert ids(pick(ranked, 4)) == [1, 3]


def test_passages_of_two_versions_are_compared_by_words() -> None:
    one, two = found(1, at=0), msgspec.structs.replace(found(2, at=0, text="quite different"), version=2)
    assert not tell_the_same(one, two)
    assert not tell_the_same(msgspec.structs.replace(one, text="!"), msgspec.structs.replace(two, text="?"))


def test_one_document_does_not_crowd_out_the_others() -> None:
    ranked = [found(number, "a") for number in range(6)] + [found(6, "b"), found(7, "c")]
    assert ids(pick(ranked, 4)) == [0, 1, 6, 7]
    assert ids(pick(ranked, 8)) == list(range(8))
    assert ids(pick(ranked[:6], 4)) == [0, 1, 2, 3]


def test_but_what_scores_far_better_goes_before_others() -> None:
    ranked = [found(number, "a", score=0.9) for number in range(4)] + [found(4, "b", score=0.3)]
    assert ids(pick(ranked, 4)) == [0, 1, 2, 3]


def test_hybrid_gives_sixty_percent_to_selected_documents() -> None:
    selected = [found(number, f"s{number}") for number in range(10)]
    others = [found(number, f"o{number}") for number in range(10, 20)]
    assert ids(pick_hybrid(selected, others, 6)) == [0, 10, 1, 11, 2, 3]
    assert ids(pick_hybrid(selected, others, 1)) == [0]
    assert ids(pick_hybrid(selected[:1], others, 4)) == [0, 10, 11, 12]
    assert ids(pick_hybrid(selected, others[:1], 4)) == [0, 10, 1, 2]
    assert ids(pick_hybrid(selected[:1], others[:1], 4)) == [0, 10]
    assert pick_hybrid([], [], 4) == []


def test_hybrid_does_not_tell_the_same_twice() -> None:
    selected = [found(1, "s", text="the very same words")]
    others = [found(2, "o", text="the very same words"), found(3, "p")]
    assert ids(pick_hybrid(selected, others, 4)) == [1, 3]
