"""From ranked lists to the results of one search. Pure.

Order: reciprocal rank fusion (Cormack, Clarke, Büttcher 2009), weighted. A passage that stands at rank r of a list
(from 1) gets weight / (60 + r) of it; what it gets of all lists decides its place. Its weight in the list by words is
the share of the question that it holds, in the list by vectors its cosine over the best one's: where no passage holds
more than one word of a question, even the first of them has little to say. (Without weights, recall@5 of both ways
together is lower than that of vectors alone; see benchmarks/recall.py.)

Score: how well a passage fits, from 0 to 1, by whichever way says more:

    score = max(share of the question's words, (cosine - floor) / (1 - floor))

It decides what is good enough (`min_score`), and how sure an answer may be, but not the order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ..records import Found

K = 60
# The share of `hybrid` that selected documents have, as far as they have so much.
SELECTED_PERCENT = 60
# Two passages that share this much of the shorter one's characters, or words, tell the same.
SAME = 0.5
SAME_WORDS = 0.9

_WORD = re.compile(r"\w+")


def fuse(rankings: Iterable[Sequence[tuple[int, float]]]) -> list[int]:
    """From lists of (id, weight), best first, to ids; of those that got the same, the one that was named first."""
    got: dict[int, float] = {}
    for ranking in rankings:
        for rank, (id_, weight) in enumerate(ranking, start=1):
            got[id_] = got.get(id_, 0.0) + weight / (K + rank)
    return sorted(got, key=lambda id_: -got[id_])


def score(share: float, cosine: float | None, floor: float) -> float:
    """`cosine` None: the passage has no vector, or there is none of the question."""
    similarity = 0.0 if cosine is None else (cosine - floor) / (1 - floor)
    return min(1.0, max(share, similarity, 0.0))


def pick(ranked: Sequence[Found], limit: int) -> list[Found]:
    """The first `limit`, without what tells the same again, and without one document crowding out the others.

    A document gets half of the places at first. Its further passages come in where the others have nothing that
    scores at least half as much as they do.
    """
    picked: list[Found] = []
    waiting: list[Found] = []
    share = max(1, -(-limit // 2))

    def take(found: Found) -> None:
        if len(picked) < limit and not any(tell_the_same(found, other) for other in picked):
            picked.append(found)

    for found in ranked:
        if len(picked) == limit:
            break
        if sum(other.document_id == found.document_id for other in picked) >= share:
            waiting.append(found)
            continue
        while waiting and waiting[0].score > 2 * found.score:
            take(waiting.pop(0))
        take(found)
    for found in waiting:
        take(found)
    place = {found.passage_id: at for at, found in enumerate(ranked)}
    return sorted(picked, key=lambda found: place[found.passage_id])


def pick_hybrid(selected: Sequence[Found], others: Sequence[Found], limit: int) -> list[Found]:
    """60 % of `limit`, rounded up, from the selected documents; where one side has too few, the other fills up.

    Best ranks first, whichever side they are of; of equal ranks the selected one.
    """
    wanted = -(-limit * SELECTED_PERCENT // 100)
    mine = pick(selected, limit)
    rest = [found for found in pick(others, limit) if not any(tell_the_same(found, other) for other in mine[:wanted])]
    from_selected = max(wanted, limit - len(rest))
    mine = mine[:from_selected]
    return _interleave(mine, rest[: limit - len(mine)])


def tell_the_same(one: Found, other: Found) -> bool:
    """Most of the same characters of one document, or nearly all of the same words."""
    if one.document_id == other.document_id and one.version == other.version:
        common = min(one.end, other.end) - max(one.start, other.start)
        shorter = min(one.end - one.start, other.end - other.start)
        if shorter > 0 and common >= SAME * shorter:
            return True
    words, others = _words(one.text), _words(other.text)
    either = len(words | others)
    return bool(either) and len(words & others) >= SAME_WORDS * either


@lru_cache(maxsize=512)
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


def _interleave(one: list[Found], other: list[Found]) -> list[Found]:
    return [found for _, found in sorted([*enumerate(one), *enumerate(other)], key=lambda numbered: numbered[0])]
