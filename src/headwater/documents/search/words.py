"""The words of a question that are worth looking for. Pure.

What comes out holds letters, digits and underscores only, so that no text of a user is ever syntax of a query.
"""

from __future__ import annotations

import re

MAX_WORDS = 32
MAX_WORD_CHARACTERS = 64
# Far more than a question; of a pasted book only both ends are read.
_MAX_READ = 20_000

_WORD = re.compile(r"\w+")

# Those that PostgreSQL's `english` leaves out (it would never find them), and what questions are asked with.
_ENGLISH = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its
itself they them their theirs themselves what which who whom this that these those am is are was were be been being
have has had having do does did doing a an the and but if or because as until while of at by for with about against
between into through during before after above below to from up down in out on off over under again further then once
here there when where why how all any both each few more most other some such no nor not only own same so than too
very s t can will just don should now d ll m re ve could would may might shall us whose also much many please tell get
got
"""
_FRENCH = """
à au aux avec c ce ces cet cette ceux d dans de des du elle elles en est et étaient était être eu eux faire fait il
ils j je l la là le les leur leurs lui m ma mais me mes moi mon même n ne nos notre nous on ont ou où par pas peut
peux puis peuvent pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se sera ses si son sont suis
sur t ta te tes toi ton tu un une vos votre vous y comment combien dois doit doivent faut ai as a avons avez aussi
plus très ça cela
"""
_GERMAN = """
aber alle allem allen aller alles als also am an ander andere anderen auch auf aus bei beim bin bis bist da damit dann
das dass dein deine dem den denn der des dich die dies diese diesem diesen dieser dieses dir doch dort du durch ein
eine einem einen einer eines er es etwas euch euer eure für gegen gibt habe haben hat hatte hatten hier hinter ich ihm
ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja kann kannst können könnte man mein meine meinem meinen meiner
mich mir mit muss müssen nach nicht noch nun nur ob oder ohne sehr sein seine sich sie sind so soll sollen über um und
uns unser unsere unter viel viele vom von vor wann war waren warum was weil welche welchem welchen welcher welches
wenn wer werden wie wieder will wir wird wo wohin womit worden wurde wurden zu zum zur zwischen
"""
STOP_WORDS = {
    "en": frozenset(_ENGLISH.split()),
    "fr": frozenset(_FRENCH.split()),
    "de": frozenset(_GERMAN.split()),
}


def words_of(question: str) -> list[str]:
    """Distinct, in lower case and in order; without stop words unless nothing else is there. At most `MAX_WORDS`."""
    if len(question) > _MAX_READ:
        question = f"{question[: _MAX_READ // 2]} {question[-_MAX_READ // 2 :]}"
    found = [word for word in _WORD.findall(question.lower()) if word.strip("_") and len(word) <= MAX_WORD_CHARACTERS]
    words = list(dict.fromkeys(found))
    dropped = _stop_words(words)
    kept = [word for word in words if word not in dropped] or words
    if len(kept) > MAX_WORDS:
        # A text that was pasted in is asked about before or behind it.
        kept = kept[: MAX_WORDS // 2] + kept[-MAX_WORDS // 2 :]
    return kept


def _stop_words(words: list[str]) -> frozenset[str]:
    """Those of the question's language: "die" and "car" are stop words in one language, and words in another.

    One such word alone shows a language only in English, whose list holds few words that mean something elsewhere.
    """
    hits = {language: sum(word in stop for word in words) for language, stop in STOP_WORDS.items()}
    most = max(hits.values())
    if hits["en"] == most:
        return STOP_WORDS["en"]
    if most < 2:
        return frozenset()
    return frozenset().union(*(STOP_WORDS[language] for language, number in hits.items() if number == most))
