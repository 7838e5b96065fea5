"""What of an answer is a claim that passages could support, and which passages it cites. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..sentences import CITATION, split_sentences
from ..words import content_words, fold_text

NOTHING_SAID = "the answer says that nothing was found"

_COURTESY_CHARACTERS = 160
# What opens an answer, and can be taken off a sentence; folded, as are the others.
_OPENING = re.compile(
    r"[\s\u00a1\u201c\"'*_]*(?:yes|okay|ok|ja|oui|hello|hi|hey|dear [^\W\d_]{1,30}|sure|certainly|of course|absolutely"
    r"|great question|thanks|thank you"
    r"|hallo|guten tag|gerne|naturlich|danke|bonjour|bien sur|merci|hola|por supuesto|gracias|ciao|buongiorno|certo"
    r"|grazie)\b(?: (?:there|for your question|for asking))?[ ,.!:;\u2013\u2014-]*"
)
_CLOSING = re.compile(
    r"(?:i hope (?:this|that)|let me know|feel free|please (?:let me know|feel free)|if you (?:have|need|would like)"
    r"|you'?re welcome|happy to help|i can (?:also )?help|ich hoffe|lassen sie|lass mich|bei (?:weiteren )?fragen"
    r"|n'hesitez|j'espere|espero que|no dudes|spero che|fammi sapere)"
)
_NOTHING_FOUND = re.compile(
    r"\b(?:found nothing|(?:could|can|did|was|were|is|are|do|does)(?: not|n't|not) (?:be )?"
    r"(?:find|found|able to find|contain|mention|provide|specify|say|state|answer|include|address|know|cover|have "
    r"(?:any |enough )?(?:information|details|data))"
    r"|unable to find|i (?:don't|do not) know|no (?:relevant )?(?:information|mention|answer|details|data)"
    r"|nothing (?:about|on|in|was found)|not (?:mentioned|specified|stated|covered|included|addressed|found)"
    r"|nichts (?:gefunden|dazu|daruber)|keine (?:informationen|angaben|antwort|hinweise)|nicht (?:gefunden|erwahnt"
    r"|finden|angegeben|enthalten)|rien trouve|n'ai pas trouve|aucune (?:information|mention|reponse)"
    r"|ne (?:contien\w*|mentionn\w*|precis\w*) pas|pas (?:mentionne|precise|trouve)"
    r"|no (?:encontre|he encontrado|se (?:menciona|encontro|especifica))|ninguna (?:informacion|mencion)"
    r"|no hay informacion|non (?:ho trovato|e (?:menzionat|specificat)\w|ci sono informazioni)|nessuna informazione)\b"
)
# Such a sentence is about the documents or the one who looked, not about the world: "the warranty does not cover water"
# is a claim.
_LOOKED_AT = re.compile(
    r"\b(?:i|we|passages?|documents?|sources?|texts?|context|provided|given|available|information|answer|mentioned"
    r"|ich|passagen?|dokument\w*|quellen?|text\w*|informationen|angaben|je|j'ai|passages?|extraits?|trouve|yo|pasajes?"
    r"|documentos?|fuentes?|encontre|encontrado|informacion|documenti|passaggi|fonti|trovato|informazion[ei])\b"
)
# "I could not find it, but it is 42."
_TURN = re.compile(r"\b(?:but|however|though|aber|jedoch|mais|cependant|pero|sin embargo|ma|tuttavia)\b")


class Claim(NamedTuple):
    """`text` as it stands in the answer, `bare` without its citations. `cited`: numbers of passages that there are."""

    text: str
    bare: str
    cited: frozenset[int]


def find_claims(answer: str, *, passages: int) -> tuple[list[Claim], bool]:
    """The claims in order, and whether a sentence says that nothing was found.

    No claims are: headings, code, questions, greetings and other courtesies, citations alone, sentences that announce
    a list, and those that say that nothing was found.
    """
    claims: list[Claim] = []
    said_nothing = False
    for sentence in split_sentences(answer):
        if sentence.kind in ("heading", "code"):
            continue
        bare = " ".join(CITATION.sub(" ", sentence.text).split())
        folded = fold_text(bare[:_COURTESY_CHARACTERS]).replace("\u2019", "'")
        if _says_nothing(folded):
            said_nothing = True
        elif _claims_something(bare, folded):
            claims.append(Claim(sentence.text, bare, numbers_cited(sentence.text, passages=passages)))
    return claims, said_nothing


def numbers_cited(text: str, *, passages: int) -> frozenset[int]:
    """The passages' numbers in it, from 1; what is not one of so many passages is no citation."""
    found: set[int] = set()
    for match in CITATION.finditer(text):
        for part in re.split("[,;]", match[1] or match[2]):
            first, _, last = part.replace("\u2013", "-").partition("-")
            begin, end = int(first), int(last or first)
            found.update(range(max(1, begin), min(end, passages) + 1))
    return frozenset(found)


def _says_nothing(folded: str) -> bool:
    return bool(_NOTHING_FOUND.search(folded) and _LOOKED_AT.search(folded)) and not _TURN.search(folded)


def _claims_something(bare: str, folded: str) -> bool:
    if bare.rstrip("\"'\u201d\u00bb)*_ ").endswith(("?", "\uff1f", ":", "\uff1a")) or _CLOSING.match(folded):
        return False
    opening = _OPENING.match(folded)
    # Folding may change the length of what it folds, but not of these words in a way that matters for what follows.
    rest = bare[opening.end() :] if opening else bare
    return bool(content_words(rest))
