"""Whether passages support a sentence, by words, numbers and negation. Pure; no model, no language to be told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..sentences import split_sentences
from ..words import content_words, fold_text, has_negation, numbers
from .claims import Claim

SUPPORT = 0.5
"""At least this share of a claim's content words must be in its passages. Paraphrases share about half of their words
with what they are made from; sentences about another thing rarely share a third."""

# A sentence says the same as the claim, or the opposite, where it has this share of the claim's words.
_SAME = 0.6
# How many sentences with a word are looked at, so that words which are everywhere cost no more.
_MOST_PLACES = 500

_GROUPED = re.compile(r"\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*")
# Numbers that texts spell out; those that are another word in one of the languages (once, due, sei, nine is none) not.
_SPELLED = {
    word: str(number)
    for number, words in {
        2: "two zwei deux",
        3: "three drei trois tres tre",
        4: "four vier quatre cuatro quattro",
        5: "five funf cinq cinco cinque",
        6: "six sechs seis",
        7: "seven sieben sept siete sette",
        8: "eight acht huit ocho otto",
        9: "nine neun neuf nueve nove",
        10: "ten zehn dix diez dieci",
        11: "eleven elf onze undici",
        12: "twelve zwolf douze doce dodici",
        14: "fourteen vierzehn quatorze catorce quattordici",
        15: "fifteen funfzehn quinze quince quindici",
        20: "twenty zwanzig vingt veinte venti",
        30: "thirty dreissig trente treinta trenta",
    }.items()
    for word in words.split()
}
_WORD = re.compile(r"[^\W\d_]+")


class _Sentence(NamedTuple):
    passage: int
    negated: bool


class Evidence:
    """`passages` in their order, the first is number 1; what goes beyond `most_characters` is not read."""

    def __init__(self, passages: Sequence[str], *, most_characters: int) -> None:
        self._words: list[set[str]] = []
        self._numbers: list[set[str]] = []
        self._sentences: list[_Sentence] = []
        # The sentences that hold a word, in order.
        self._places: dict[str, list[int]] = {}
        for number, passage in enumerate(passages, start=1):
            text = passage[:most_characters]
            most_characters -= len(text)
            self._add(number, text)

    def supports(self, claim: Claim) -> bool:
        """Looks in the passages that the claim cites, or in all where it cites none.

        Not supported is a claim with a number that they do not have; with fewer than `SUPPORT` of its content words in
        them; or that says no where every sentence much like it says yes, or the other way round.
        """
        passages = claim.cited or range(1, len(self._words) + 1)
        if any(not self._has_number(numeral, passages) for numeral in numbers(claim.bare)):
            return False
        # Numbers are settled; "5km" beside "5 km" is not held against it.
        words = {word for word in content_words(claim.bare) if not word[0].isdigit()}
        held = sum(any(word in self._words[number - 1] for number in passages) for word in words)
        return held >= SUPPORT * len(words) and not self._contradicted(claim.bare, words, passages)

    def _add(self, number: int, text: str) -> None:
        held: set[str] = set()
        spelled = {_SPELLED[word] for word in _WORD.findall(fold_text(text)) if word in _SPELLED}
        self._numbers.append(spelled.union(*map(_forms, numbers(text))))
        for sentence in split_sentences(text):
            self._sentences.append(_Sentence(number, has_negation(sentence.text)))
            words = set(content_words(sentence.text))
            held |= words
            for word in words:
                self._places.setdefault(word, []).append(len(self._sentences) - 1)
        self._words.append(held)

    def _has_number(self, numeral: str, passages: Collection[int]) -> bool:
        forms = _forms(numeral)
        return any(not forms.isdisjoint(self._numbers[number - 1]) for number in passages)

    def _contradicted(self, text: str, words: set[str], passages: Collection[int]) -> bool:
        """Where no one sentence is like the claim, nothing can be said."""
        shared: Counter[int] = Counter()
        for word in words:
            shared.update(self._places.get(word, [])[:_MOST_PLACES])
        alike = [self._sentences[at] for at, count in shared.items() if count >= _SAME * len(words)]
        alike = [sentence for sentence in alike if sentence.passage in passages]
        negated = has_negation(text)
        return bool(alike) and all(sentence.negated != negated for sentence in alike)


def _forms(numeral: str) -> set[str]:
    """What the number may be: `1,000` is a thousand, or one; `3,50` is `3.5`; `07` is `7`."""
    forms = {_decimal(numeral)}
    if _GROUPED.fullmatch(numeral):
        forms.add(numeral.replace(",", "").replace(".", ""))
    elif numeral.count(",") + numeral.count(".") > 1:
        # "1.234,56": the last mark is the decimal one.
        whole, mark, rest = re.split(r"([.,])(?=\d+$)", numeral, maxsplit=1)
        forms.add(_decimal(re.sub("[.,]", "", whole) + mark + rest))
    return forms


def _decimal(numeral: str) -> str:
    whole, mark, rest = numeral.replace(",", ".").partition(".")
    rest = rest.rstrip("0") if "." not in rest else rest
    return (whole.lstrip("0") or "0") + (mark + rest if rest else "")
