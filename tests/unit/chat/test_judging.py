"""A judge model, asked over a real hub."""

from __future__ import annotations

import pytest

from headwater.chat.aside import Aside, Asides
from headwater.chat.judging import ModelJudge
from headwater.chat.signals import Signals
from headwater.events import Source
from headwater.streams.log import Query
from tests.integration.chat_kit import ChatModels

from .backing import backed, says

WORDS = Signals(0.5, "", "lexical", 0.25, "", "lexical", [])


@pytest.mark.parametrize(
    ("answer", "sources"), [("", [Source(id="1", text="The ferry leaves at nine.")]), ("It leaves at nine.", [])]
)
async def test_where_there_is_nothing_to_judge_no_model_is_asked(answer: str, sources: list[Source]) -> None:
    """A stream of its own would cost tokens, and the answer's end would wait for it."""
    async with backed(ChatModels({"judge": says})) as world:
        judge = ModelJudge(Asides(world.hub, world.models), "judge", timeout_s=5.0)
        told = await judge.improve(WORDS, answer, sources, confidential=False, aside=Aside(""))
        assert told is WORDS
        assert not await world.log.find(Query(owner="", limit=10))
