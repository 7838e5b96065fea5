"""Which sentences of passages answer a question, by its words alone. Pure and deterministic.

A sentence counts the question's content words that it holds, rare ones more (inverse document frequency over all
sentences), longer sentences less, and a little for what the rest of its passage holds of them, for standing early in
the passage, and for the passage's rank. Sentences are then taken one by one, each for the words that the others lack.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ..sentences import split_sentences
from ..words import content_words, is_pair

MAX_SENTENCES = 4
MAX_CHARACTERS = 200_000
"""Passages are read in their order up to here: some hundred milliseconds of work."""
_MOST_QUESTION_CHARACTERS = 10_000
_MOST_SENTENCE_CHARACTERS = 600

# As in BM25: how much a sentence's length counts against it.
_LENGTH_WEIGHT = 0.5
_CONTEXT_WEIGHT = 0.25
_EARLY_WEIGHT = 0.1
_RANK_WEIGHT = 0.15
# What another sentence has said already counts half.
_TOLD_WEIGHT = 0.5
# A further sentence must be worth this share of the first one.
_LEAST_WORTH = 0.4
# Of what the question's words weigh, the sentences chosen and their passages must hold this share: a word that happens
# to stand in a document is no answer.
_LEAST_COVERAGE = 0.3
# Pairs that cross a word's end are in the question alone.
_LEAST_COVERAGE_OF_PAIRS = 0.1
# Two sentences with this share of their words in common (Jaccard) say the same.
_DUPLICATE = 0.75
_FEWEST_WORDS = 3


class Excerpt(NamedTuple):
    """Sentences of passage `passage` (from 0), in their order; what was left out between them is `…`."""

    passage: int
    text: str


class _Candidate(NamedTuple):
    passage: int
    ordinal: int
    text: str
    words: frozenset[str]
    whole: bool


def select_excerpts(question: str, passages: Sequence[str]) -> list[Excerpt]:
    """At most `MAX_SENTENCES` sentences, grouped by passage, the best passage first. Empty where nothing matches."""
    wanted = frozenset(content_words(question[:_MOST_QUESTION_CHARACTERS]))
    candidates = _candidates(passages) if wanted else []
    chosen = _choose(wanted, candidates)
    by_passage: dict[int, list[_Candidate]] = {}
    for candidate in chosen:
        by_passage.setdefault(candidate.passage, []).append(candidate)
    return [Excerpt(passage, _joined(sentences)) for passage, sentences in by_passage.items()]


def _candidates(passages: Sequence[str]) -> list[_Candidate]:
    found: list[_Candidate] = []
    room = MAX_CHARACTERS
    for number, passage in enumerate(passages):
        text = passage[:room]
        room -= len(text)
        sentences = [sentence for sentence in split_sentences(text) if sentence.kind != "code"]
        for ordinal, sentence in enumerate(sentences):
            words = frozenset(content_words(sentence.text))
            # A passage may begin and end in the middle of a sentence.
            begun = ordinal > 0 or not sentence.text[0].islower()
            ended = ordinal < len(sentences) - 1 or not sentence.text[-1].isalnum()
            fit = len(words) >= _FEWEST_WORDS and len(sentence.text) <= _MOST_SENTENCE_CHARACTERS
            whole = begun and ended and fit and sentence.kind == "prose"
            plain = " ".join(sentence.text[:_MOST_SENTENCE_CHARACTERS].split())
            found.append(_Candidate(number, ordinal, plain, words, whole))
    return found


def _choose(wanted: frozenset[str], candidates: Sequence[_Candidate]) -> list[_Candidate]:
    weights = _weights(wanted, candidates)
    total = math.fsum(sorted(weights.values()))
    held = _held(wanted, candidates)
    average = sum(len(candidate.words) for candidate in candidates) / max(1, len(candidates))
    pool = [candidate for candidate in candidates if candidate.whole and candidate.words & wanted]
    pool = pool or [candidate for candidate in candidates if candidate.words & wanted]
    chosen: list[_Candidate] = []
    told: set[str] = set()
    first = 0.0
    while pool and len(chosen) < MAX_SENTENCES:
        values = [_value(candidate, weights, told, held, average) for candidate in pool]
        best = max(range(len(pool)), key=values.__getitem__)
        if values[best] < _LEAST_WORTH * first:
            break
        first = first or values[best]
        chosen.append(pool[best])
        told |= pool[best].words & wanted
        pool = [candidate for candidate in pool if not _alike(candidate.words, chosen[-1].words)]
    covered = set().union(*(held[candidate.passage] for candidate in chosen))
    least = _LEAST_COVERAGE_OF_PAIRS if 2 * sum(map(is_pair, wanted)) > len(wanted) else _LEAST_COVERAGE
    return chosen if _weight(covered, weights) >= least * total else []


def _weights(wanted: frozenset[str], candidates: Sequence[_Candidate]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for candidate in candidates:
        counts.update(candidate.words & wanted)
    return {word: math.log1p(len(candidates) / (counts[word] + 0.5)) for word in sorted(wanted)}


def _held(wanted: frozenset[str], candidates: Sequence[_Candidate]) -> dict[int, set[str]]:
    """Of the question's words, those that each passage holds."""
    held: dict[int, set[str]] = {}
    for candidate in candidates:
        held.setdefault(candidate.passage, set()).update(candidate.words & wanted)
    return held


def _value(
    candidate: _Candidate,
    weights: dict[str, float],
    told: set[str],
    held: dict[int, set[str]],
    average: float,
) -> float:
    own = candidate.words & weights.keys()
    new = _weight(own - told, weights) + _TOLD_WEIGHT * _weight(own & told, weights)
    length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * len(candidate.words) / max(1.0, average)
    context = _CONTEXT_WEIGHT * _weight(held[candidate.passage] - own, weights)
    early = 1 + _EARLY_WEIGHT / (1 + candidate.ordinal)
    rank = 1 + _RANK_WEIGHT / (1 + candidate.passage)
    return (new / length + context) * early * rank


def _weight(words: set[str] | frozenset[str], weights: dict[str, float]) -> float:
    """Summed exactly, because sets have no order that could be relied on (PYTHONHASHSEED)."""
    return math.fsum(weights[word] for word in words)


def _alike(some: frozenset[str], others: frozenset[str]) -> bool:
    return len(some & others) >= _DUPLICATE * len(some | others)


def _joined(sentences: Sequence[_Candidate]) -> str:
    ordered = sorted(sentences, key=lambda candidate: candidate.ordinal)
    text = ordered[0].text
    for before, candidate in pairwise(ordered):
        text += (" " if candidate.ordinal == before.ordinal + 1 else " \u2026 ") + candidate.text
    return text
