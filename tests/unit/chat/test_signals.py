from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.chat import signals
from headwater.chat.claims import NOTHING_SAID
from headwater.chat.signals import EMPTY, MAX_UNSUPPORTED, NO_DOCUMENTS, Signals, assess
from headwater.events import Source

QUESTION = "How many weeks of parental leave?"  # week, parental, leave
LEAVE = Source("Every employee gets 14 weeks of paid parental leave.", title="handbook.pdf", score=0.8)
OTHER = Source("The canteen opens at 11.", score=0.4)


def judge(answer: str, *sources: Source, logprobs: Any = (), question: str = QUESTION) -> Signals:
    return assess(answer, sources, logprobs=logprobs, question=question)


def confidence(found: Signals) -> tuple[float | None, str, str]:
    return found.confidence, found.confidence_reason, found.confidence_method


def hallucination(found: Signals) -> tuple[float | None, str, str]:
    return found.hallucination, found.hallucination_reason, found.hallucination_method


# ---------------------------------------------------------------------- confidence


def test_logprobs_are_the_best_witness() -> None:
    found = judge("You get 14 weeks [1].", LEAVE, logprobs=[math.log(0.9), math.log(0.4)])
    assert confidence(found) == (0.6, "", "logprobs")
    # Also without documents, and for an answer that says that it does not know.
    assert confidence(judge("Paris.", logprobs=[0.0])) == (1.0, "", "logprobs")
    assert confidence(judge("I found nothing in the documents.", logprobs=[0.0]))[0] == 1.0


def test_logprobs_that_are_none() -> None:
    assert confidence(judge("Paris.", logprobs=[math.nan, 0.5, -0.0]))[0] == 1.0
    assert confidence(judge("Paris.", logprobs=[-math.inf, 0.0]))[0] == 0.0
    assert confidence(judge("Paris.", logprobs=[math.nan]))[0] is None


def test_without_them_it_is_what_retrieval_found() -> None:
    # Relevance 0.8, coverage 3 of 3.
    assert confidence(judge("You get 14 weeks [1].", LEAVE, OTHER)) == (0.9, "", "retrieval")
    # Relevance 0.4, coverage 0.
    assert confidence(judge("You get 14 weeks [2].", LEAVE, OTHER)) == (0.2, "", "retrieval")
    # Both are cited: relevance 0.6, coverage 1.
    assert confidence(judge("You get 14 weeks [1][2].", LEAVE, OTHER)) == (0.8, "", "retrieval")


def test_an_answer_that_cites_nothing_rests_on_the_best() -> None:
    worse = [Source("x", score=0.1)] * 5
    # 0.8, 0.4, 0.1
    assert confidence(judge("14 weeks.", *worse, LEAVE, OTHER))[0] == pytest.approx((1.3 / 3 + 1) / 2, abs=1e-4)


def test_what_retrieval_does_not_tell() -> None:
    unscored = Source(LEAVE.text)
    assert confidence(judge("14 weeks [1].", unscored)) == (1.0, "", "retrieval")
    assert confidence(judge("14 weeks [1].", LEAVE, question="Why?")) == (0.8, "", "retrieval")
    value, reason, method = confidence(judge("14 weeks [1].", unscored, question="Why?"))
    assert (value, method) == (None, "")
    assert "no scores" in reason
    assert confidence(judge("14 [1]", Source("weeks", score=7.0), question="Why?"))[0] == 1.0


def test_no_confidence() -> None:
    assert confidence(judge(" \n", LEAVE, logprobs=[0.0])) == (None, EMPTY, "")
    value, reason, method = confidence(judge("Paris."))
    assert (value, method) == (None, "")
    assert NO_DOCUMENTS in reason
    assert confidence(judge("I found nothing about it in the documents.", LEAVE)) == (None, NOTHING_SAID, "")


# ---------------------------------------------------------------------- hallucination


def test_the_share_of_claims_without_support() -> None:
    found = judge("Hello! You get 14 weeks [1]. They are paid with 90 gold coins [1]. Anything else?", LEAVE)
    assert hallucination(found) == (0.5, "", "lexical")
    assert found.unsupported == ["They are paid with 90 gold coins [1]."]
    assert hallucination(judge("You get 14 weeks of leave.", LEAVE)) == (0.0, "", "lexical")


def test_a_claim_must_be_in_what_it_cites() -> None:
    assert judge("You get 14 weeks [2].", LEAVE, OTHER).hallucination == 1.0


def test_the_names_of_documents_are_no_inventions() -> None:
    source = Source("Leave is long.", title="handbook 2024.pdf", metadata={"page": 37, "section": "Part 5"})
    assert judge("Leave is long (handbook 2024.pdf, page 37, Part 5) [1].", source).hallucination == 0.0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", EMPTY),
        ("I could not find this in the documents.", NOTHING_SAID),
        ("Hello! What do you mean?", "the answer claims nothing that could be checked"),
    ],
)
def test_no_hallucination_is_told(answer: str, reason: str) -> None:
    assert hallucination(judge(answer, LEAVE)) == (None, reason, "")


def test_without_documents_nothing_can_be_checked() -> None:
    assert hallucination(judge("Paris is in France.")) == (None, NO_DOCUMENTS, "")


def test_few_sentences_are_told_but_all_count() -> None:
    answer = " ".join(f"Cheese number {number} is green." for number in range(100, 100 + 2 * MAX_UNSUPPORTED))
    found = judge(answer, LEAVE)
    assert found.hallucination == 1.0
    assert len(found.unsupported) == MAX_UNSUPPORTED


def test_a_long_answer_is_looked_at_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "MAX_ANSWER_CHARACTERS", 25)
    assert judge("You get 14 weeks of it. The moon is made of cheese.", LEAVE).hallucination == 0.0


def test_the_bounds_are_bounds() -> None:
    sources = [Source("The quick employee gets 14 weeks of leave. " * 5000)] * 4
    assert judge("The quick employee gets 14 weeks of leave. " * 1000, *sources).hallucination == 0.0


@given(
    st.text(),
    st.lists(st.builds(Source, st.text(), title=st.text(), score=st.none() | st.floats(0, 1)), max_size=4),
    st.lists(st.floats(), max_size=5),
    st.text(),
)
def test_anything_can_be_assessed(answer: str, sources: list[Source], logprobs: list[float], question: str) -> None:
    found = assess(answer, sources, logprobs=logprobs, question=question)
    for value, reason, method in (confidence(found), hallucination(found)):
        assert (value is None) == bool(reason) == (not method)
        assert value is None or 0 <= value <= 1
    assert bool(found.unsupported) == bool(found.hallucination)
