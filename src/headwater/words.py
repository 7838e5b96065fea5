"""The words of a text that carry its meaning, in a form that can be compared. Pure, and linear in the text's length.

English, French, German, Spanish and Italian are known, and need not be told apart: a text may hold several. Words of
other languages that are written with spaces are kept as they are; Chinese and Japanese become pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Words that mean much in another of the languages (car, war, hat, son, come, fin, mai, sur …) are not in the list:
# a word too many to compare does less harm than one too few.
_STOP_WORD_LIST = """
    a about above after again all also am an and any are as at be because been before being below between both
    but by can could did do does doing don down during each else ever few for from further get gets give had has
    have having he her here hers herself him himself his how however i if in into is it its itself just let many
    me more most much must my myself nor of off on only or other our ours ourselves out over own please same
    shall she should so some such tell than that the their theirs them themselves then there these they this
    those through to too under until up upon very was we were what when where which while who whom whose why
    will with would you your yours yourself not no cannot without neither

    au aux avec ce ceci cela celle celles celui ces cet cette ceux chez combien comme comment dans de des dont
    du elle elles en entre est et etait etre eu eux il ils je la le les leur leurs lors lui ma mais mes moi mon
    nos notre nous ont ou par parce pas pendant peut peuvent plus pour pourquoi qu quand que quel quelle quelles
    quels qui quoi sa sans se selon sera ses si sont sous ta te tes toi ton tous tout toute toutes tres tu un
    une vos votre vous y

    aber alle allem allen aller alles als am an ander andere anderem anderen anderer auch auf aus bei beim bis
    bitte da dabei damit dann das dass dazu dein deine dem den denn der deren des dessen dich die dies diese
    diesem diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines er es etwas euch euer
    fur gegen habe haben hatte hier ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im ist ja jede jedem jeden
    jeder jedes jetzt kann kein keine keinem keinen keiner konnen man mehr mein meine mich mir mit muss mussen
    nach nicht noch nun nur ob oder ohne sehr sein seine seinem seinen seiner seit sich sie sind soll sollen
    sondern uber um und uns unser unsere unter viel viele vom von vor wann warum was weil welche welchem welchen
    welcher welches wenn wer werde werden wie wieder wird wo wurde wurden zu zum zur zwischen

    al algo algunas algunos ante antes aqui asi aunque cada como con contra cual cuales cualquier cuando cuanto
    cuantos cuantas de del desde donde durante e el ella ellas ellos en entre era eran es esa esas ese eso esos
    esta estaba estan estar estas este esto estos fue fueron ha habia han hasta hay la las le les lo los mas me
    mi mis mucho muy nos nosotros nuestra nuestro o os otra otras otro otros para pero poco por porque puede
    pueden pues que quien quienes se ser si sido sobre su sus tal tambien tan te tiene tienen toda todas todo
    todos tu tus un una unas uno unos y ya yo

    ad agli alla alle allo anche ancora avere aveva che chi ci cio cioe coi col con cosa cui da dagli dai dal
    dalla dalle degli dei del della delle dello di dopo dov dove e ed egli era erano essere fra gli ha hai hanno
    ho il in io la le lei li lo loro lui ma mi mia mie mio molto ne negli nei nel nella nelle noi non nostra
    nostro o ogni oppure per perche piu poi pu puo qual quale quali quando quanta quante quanti quanto quella
    quelle quelli quello questa queste questi questo qui sara se senza si sia siamo solo sono sta stata stato su
    sua sue sugli sui sul sulla sulle suo suoi tra tu tutti tutto un una uno vi voi
"""

_NEGATION_LIST = """
    not no never none nobody nothing neither nor cannot without non
    nicht nie niemals ohne kein keine keinem keinen keiner keines weder
    pas jamais aucun aucune sans ni
    nunca jamas sin ningun ninguna ninguno tampoco
    senza nessun nessuna nessuno
"""
_STOP_WORDS, _NEGATIONS = frozenset(_STOP_WORD_LIST.split()), frozenset(_NEGATION_LIST.split())
_SHORT_NOT = re.compile(r"n[\u2019']t\b", re.IGNORECASE)

# Han, and the two Japanese syllabaries: written without spaces.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]+")
_TOKEN = re.compile(rf"\d+(?:[.,]\d+)*[^\W_]*|{_UNSPACED.pattern}|[^\W_]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DIGIT = re.compile(r"\d")
_VOWEL = re.compile("[aeiouy]")

# The longest first. Each with what takes its place, and how many letters must be left before it.
_SUFFIXES = (
    ("ungen", "", 4),
    ("ing", "", 3),
    ("ung", "", 4),
    ("ies", "y", 3),
    ("ern", "", 3),
    ("ers", "", 3),
    ("ed", "", 3),
    ("er", "", 3),
    ("en", "", 3),
    ("em", "", 4),
    ("es", "", 3),
    ("ly", "", 4),
    ("os", "", 4),
    ("as", "", 4),
    ("ie", "y", 4),
    ("s", "", 3),
    ("e", "", 3),
    ("a", "", 4),
    ("o", "", 4),
    ("i", "", 4),
)
# Words are compared, not shown: what is longer is no word, and each suffix is looked for once a round.
_MAX_WORD = 64


def fold_text(text: str) -> str:
    """Without case and accents: `Élève` and `eleve` are the same."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return "".join(each for each in decomposed if not unicodedata.combining(each))


def content_words(text: str) -> list[str]:
    """The words in order, folded and stemmed, without stop words and single letters. What has a digit stays exact."""
    found: list[str] = []
    for match in _TOKEN.finditer(fold_text(text)):
        word = match[0]
        if _DIGIT.search(word):
            found.append(word)
        elif _UNSPACED.match(word):
            found += _pairs(word)
        elif len(word) > 1 and word not in _STOP_WORDS:
            found.append(stem(word))
    return found


def is_pair(word: str) -> bool:
    """Whether it is no word but two characters of a text without spaces. One in two such pairs crosses a word's end."""
    return _UNSPACED.match(word) is not None


def numbers(text: str) -> list[str]:
    """The numbers in order, as they are written: `1,000`, `3.5`, and the `27001` of `ISO-27001`."""
    return _NUMBER.findall(text)


def has_negation(text: str) -> bool:
    """Whether a word in it says no."""
    return bool(_SHORT_NOT.search(text)) or any(word in _NEGATIONS for word in _TOKEN.findall(fold_text(text)))


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """A folded word without its endings; a stem's stem is itself. Unlike words may meet (`rate`, `rat`)."""
    word = word[:_MAX_WORD]
    while True:
        shorter = _strip(word)
        if shorter == word:
            return word
        word = shorter


def _strip(word: str) -> str:
    for suffix, instead, left in _SUFFIXES:
        if not word.endswith(suffix) or len(word) - len(suffix) < left:
            continue
        rest = word[: -len(suffix)]
        if suffix == "s" and rest[-1] in "siu":
            continue  # class, analysis, bonus
        if suffix == "ed" and rest[-1] == "e":
            continue  # exceed
        if not _VOWEL.search(rest):
            continue  # string, bring
        return rest + instead
    return word


def _pairs(run: str) -> list[str]:
    """Two characters are close to a word in Chinese and Japanese, and need no dictionary."""
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]
