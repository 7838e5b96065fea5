"""How far an answer can be trusted: confidence, and the share of it that its passages do not support. Pure.

Both are estimates made without another model. Confidence is what the model itself thought of its words where it tells
(`logprobs`), else how well retrieval did. Hallucination compares words, numbers and negation (`lexical`); a judge model
(see `judge`) may take its place. What cannot be told is None with a reason, never a guess.

The work is bounded: see `MAX_ANSWER_CHARACTERS` and `MAX_EVIDENCE_CHARACTERS`. At those bounds it takes about half a
second, so a caller that shares its loop with others uses a thread.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import msgspec
from msgspec.structs import replace

from ..events import Source
from ..words import content_words
from .claims import NOTHING_SAID, Claim, find_claims, numbers_cited
from .evidence import Evidence

MAX_ANSWER_CHARACTERS = 20_000
"""What an answer has more is not looked at."""
MAX_EVIDENCE_CHARACTERS = 300_000
"""Passages are read in their order up to here."""
MAX_UNSUPPORTED = 20
"""How many sentences are told; all count."""
BEST_PASSAGES = 3
"""An answer that cites nothing is held to rest on so many of the best."""

NO_DOCUMENTS = "no documents were used"
EMPTY = "the answer is empty"


class Signals(msgspec.Struct, frozen=True):
    """Both from 0 to 1; None has a reason, and no method. `unsupported`: the sentences that count as hallucination.

    A reason beside a value says why the better method gave none.
    """

    confidence: float | None
    confidence_reason: str
    confidence_method: str
    hallucination: float | None
    hallucination_reason: str
    hallucination_method: str
    unsupported: list[str]


def assess(answer: str, sources: Sequence[Source], *, logprobs: Sequence[float], question: str) -> Signals:
    """`sources`: the passages of the prompt, the first cited as [1]. `logprobs`: natural, of the answer's tokens.

    **confidence**: `exp(mean(logprobs))`, the tokens' geometric mean probability. Without any: the mean of *relevance*
    (the mean score of the passages cited, or of the best three where none is) and *coverage* (the share of the
    question's content words that these passages hold); the one that there is where the other is not.

    **hallucination**: the share of the answer's claims that are not supported, see `Evidence.supports`.
    """
    answer = answer[:MAX_ANSWER_CHARACTERS]
    claims, said_nothing = find_claims(answer, passages=len(sources))
    confidence, reason, method = _confidence(answer, sources, logprobs=logprobs, question=question)
    if method == "retrieval" and said_nothing and not claims:
        confidence, reason, method = None, NOTHING_SAID, ""
    signals = Signals(confidence, reason, method, None, "", "", [])
    if not answer.strip():
        return replace(signals, hallucination_reason=EMPTY)
    if not sources:
        return replace(signals, hallucination_reason=NO_DOCUMENTS)
    if not claims:
        why = NOTHING_SAID if said_nothing else "the answer claims nothing that could be checked"
        return replace(signals, hallucination_reason=why)
    evidence = Evidence([_told(source) for source in sources], most_characters=MAX_EVIDENCE_CHARACTERS)
    missing = [claim for claim in claims if not evidence.supports(claim)]
    return with_unsupported(signals, claims, missing, method="lexical")


def with_unsupported(signals: Signals, claims: Sequence[Claim], missing: Sequence[Claim], *, method: str) -> Signals:
    """The signals with the hallucination that `missing` of at least one claim make."""
    return replace(
        signals,
        hallucination=round(len(missing) / len(claims), 4),
        hallucination_reason="",
        hallucination_method=method,
        unsupported=[claim.text for claim in missing[:MAX_UNSUPPORTED]],
    )


def _told(source: Source) -> str:
    """What the prompt tells of a passage: its document and place are no inventions of an answer that names them."""
    facts = source.metadata or {}
    return f"{source.title}\n\n{facts.get('section', '')}\n\n{facts.get('page', '')}\n\n{source.text}"


def _confidence(
    answer: str, sources: Sequence[Source], *, logprobs: Sequence[float], question: str
) -> tuple[float | None, str, str]:
    """The value or None, why it is None, and the method."""
    if not answer.strip():
        return None, EMPTY, ""
    known = [min(0.0, value) for value in logprobs if not math.isnan(value)]
    if known:
        return round(math.exp(math.fsum(known) / len(known)), 4), "", "logprobs"
    if not sources:
        return None, f"the model told no probabilities, and {NO_DOCUMENTS}", ""
    used = _passages_used(sources, numbers_cited(answer, passages=len(sources)))
    values = [value for value in (_relevance(used), _coverage(question, used)) if value is not None]
    if not values:
        return None, "the passages have no scores, and the question has no words to look for", ""
    return round(sum(values) / len(values), 4), "", "retrieval"


def _passages_used(sources: Sequence[Source], cited: Collection[int]) -> list[Source]:
    if cited:
        return [sources[number - 1] for number in sorted(cited)]
    return sorted(sources, key=lambda source: -(source.score or 0.0))[:BEST_PASSAGES]


def _relevance(used: Sequence[Source]) -> float | None:
    scores = [min(1.0, max(0.0, source.score)) for source in used if source.score is not None]
    return sum(scores) / len(scores) if scores else None


def _coverage(question: str, used: Sequence[Source]) -> float | None:
    wanted = set(content_words(question[:MAX_ANSWER_CHARACTERS]))
    if not wanted:
        return None
    held: set[str] = set()
    room = MAX_EVIDENCE_CHARACTERS
    for source in used:
        held.update(content_words(source.text[:room]))
        room -= min(room, len(source.text))
    return len(wanted & held) / len(wanted)
