"""Which sentences answer a question."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.providers import excerpts
from headwater.providers.excerpts import MAX_SENTENCES, Excerpt, select_excerpts

HANDBOOK = (
    "Parental leave\nEvery employee gets 14 weeks of paid parental leave after the birth of a child. "
    "The leave can be taken in two parts. The canteen opens at eleven and closes at two. "
    "Requests for parental leave go to the HR department."
)
URLAUB = "Jeder Mitarbeiter hat 30 Tage Urlaub im Jahr. Resttage gelten bis März. Die Kantine öffnet um elf."
CONGES = "Les salariés ont droit à 25 jours de congés payés par an. La demande se fait par écrit."
VACACIONES = "Los empleados tienen 22 días de vacaciones al año. La oficina cierra en agosto."
FERIE = "I dipendenti hanno 26 giorni di ferie all'anno. L'ufficio chiude in agosto."
ALL = [HANDBOOK, URLAUB, CONGES, VACACIONES, FERIE]


@pytest.mark.parametrize(
    ("question", "passage", "sentence"),
    [
        ("How many weeks of parental leave do employees get?", 0, "Every employee gets 14 weeks"),
        ("Who handles requests for leave in HR?", 0, "Requests for parental leave go to the HR department."),
        ("When does the canteen open?", 0, "The canteen opens at eleven"),
        ("Wie viele Tage Urlaub habe ich im Jahr?", 1, "30 Tage Urlaub"),
        ("Combien de jours de congés payés ?", 2, "25 jours de congés payés"),
        ("¿Cuántos días de vacaciones tengo?", 3, "22 días de vacaciones"),
        ("Quanti giorni di ferie?", 4, "26 giorni di ferie"),
    ],
)
def test_the_sentence_with_the_answer(question: str, passage: int, sentence: str) -> None:
    best = select_excerpts(question, ALL)[0]
    assert best.passage == passage
    assert sentence in best.text


def test_chinese() -> None:
    assert (
        select_excerpts("年假有多少天?", ["食堂十一点开门。每个员工有三十天年假。"])[0].text == "每个员工有三十天年假。"
    )


@pytest.mark.parametrize("question", ["", "Why?", "What is that?", "What is the boiling point of helium?", "?" * 100])
def test_nothing_matches(question: str) -> None:
    assert select_excerpts(question, ALL) == []


def test_a_word_by_chance_is_no_answer() -> None:
    assert select_excerpts("Which canteen painter invented cubism with Braque in Paris?", ALL) == []


def test_without_passages() -> None:
    assert select_excerpts("How long is leave?", []) == []
    assert select_excerpts("How long is leave?", ["", " \n"]) == []


def test_sentences_of_a_passage_are_one_excerpt_in_order() -> None:
    text = "Leave lasts ten weeks in total. Dogs are welcome in all offices. Leave starts after the birth."
    assert select_excerpts("When does leave start, and how long does leave last?", [text]) == [
        Excerpt(0, "Leave lasts ten weeks in total. … Leave starts after the birth.")
    ]


def test_what_is_said_twice_is_told_once() -> None:
    passages = [
        "Leave lasts ten weeks in total.",
        "The leave lasts ten weeks in total!",
        "In total, leave lasts ten weeks.",
    ]
    assert select_excerpts("How long does leave last?", passages) == [Excerpt(0, passages[0])]


def test_a_few_sentences_are_enough() -> None:
    names = ["red", "green", "blue", "black", "white", "brown"]
    passages = [f"The {name} leave of {name} people has {name} rules about {name}ish things." for name in names]
    found = select_excerpts("leave", passages)
    assert len(found) == MAX_SENTENCES


def test_halves_of_sentences_are_not_quoted() -> None:
    passage = "weeks of leave are given to all people. Leave lasts ten weeks in total. Leave that begins in the"
    assert select_excerpts("leave weeks", [passage]) == [Excerpt(0, "Leave lasts ten weeks in total.")]
    # Unless there is nothing else.
    assert select_excerpts("leave weeks", ["weeks of leave are given to"])[0].text == "weeks of leave are given to"


def test_headings_and_code_are_not_quoted() -> None:
    passage = "# Leave and how many weeks it lasts\n\n```\nleave weeks lasts = 3\n```\n\nLeave lasts for ten weeks."
    assert select_excerpts("How many weeks does leave last?", [passage]) == [Excerpt(0, "Leave lasts for ten weeks.")]


def test_the_rest_of_a_passage_helps() -> None:
    passages = [
        "Office chairs are blue. It lasts ten weeks for everybody here.",
        "Parental leave is for parents. It lasts ten weeks for everybody there.",
    ]
    found = select_excerpts("How many weeks does parental leave last?", passages)
    assert found[0].passage == 1


def test_sentences_are_on_one_line() -> None:
    assert select_excerpts("leave weeks", ["The leave\nlasts  ten\tweeks."])[0].text == "The leave lasts ten weeks."


def test_passages_are_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "MAX_CHARACTERS", len(HANDBOOK))
    assert select_excerpts("Wie viele Tage Urlaub im Jahr?", [HANDBOOK, URLAUB]) == []


@given(st.text(), st.lists(st.text(), max_size=4))
def test_any_text(question: str, passages: list[str]) -> None:
    for excerpt in select_excerpts(question, passages):
        assert excerpt.text.strip()
        for part in excerpt.text.split(" … "):
            assert "".join(part.split())[:20] in "".join(passages[excerpt.passage].split()).replace("…", "…")


def test_the_choice_does_not_depend_on_the_process() -> None:
    """Sets have another order in every process, and an answer must go on in another one than it began in."""
    program = (
        "import json, sys; from headwater.providers.excerpts import select_excerpts;"
        "print(json.dumps(select_excerpts(*json.loads(sys.argv[1]))))"
    )
    import json

    question = "leave parental weeks canteen requests employee birth child department parts"
    found = {
        subprocess.run(
            [sys.executable, "-c", program, json.dumps([question, ALL])],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}, check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1
