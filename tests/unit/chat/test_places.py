from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from headwater.chat.backend import BackendSettings
from headwater.chat.places import MAX_NEW_NUMBER, Places, check_label, slug_for
from headwater.chat.settings import AiChatSettings, ChatSettings
from headwater.errors import InputError, UnknownItem
from tests.integration.chat_kit import ChatModels, Chatting, chatting

LITTLE_ROOM = BackendSettings(chat=ChatSettings(max_workspaces=2, max_threads=2, titles="off"))


@pytest.fixture
async def it() -> AsyncIterator[Chatting]:
    async with chatting(ChatModels({}), settings=LITTLE_ROOM) as running:
        yield running


async def test_a_workspace_is_found_by_id_or_slug_or_made(it: Chatting) -> None:
    places = Places(it.backend)
    assert (await places.workspace("t")).slug == "default"
    assert await places.workspace("t", " ") == await places.workspace("t")
    made = await places.workspace("t", "Handbuch für Fährleute")
    assert made.name == "Handbuch für Fährleute"
    assert made.slug.startswith("handbuch-fur-fahrleute-")
    for label in ("Handbuch für Fährleute", made.id, made.slug):
        assert await places.workspace("t", label) == made
    with pytest.raises(InputError, match="2 workspaces"):
        await places.workspace("t", "another")
    # The bound is a tenant's own.
    assert (await places.workspace("u", "another")).slug == "another"


async def test_a_thread_is_that_of_all_its_labels(it: Chatting) -> None:
    places = Places(it.backend)
    workspace = await places.workspace("t")
    first = await places.thread(workspace, ["session", "a"], {"project_id": "a"})
    assert first.metadata == {"project_id": "a"}
    assert await places.thread(workspace, ["session", "a"], {}) == first
    assert (await places.thread(workspace, ["session", "b"], {})).id != first.id
    with pytest.raises(InputError, match="2 threads"):
        await places.thread(workspace, ["session", "c"], {})


async def test_a_number_is_a_thread_from_its_first_use(it: Chatting) -> None:
    places = Places(it.backend)
    workspace, thread = await places.numbered("t", 7)
    assert (workspace.slug, thread.number) == ("default", 7)
    assert await places.numbered("t", 7) == (workspace, thread)
    elsewhere = await places.workspace("t", "elsewhere")
    other = await it.backend.conversations.threads.create("t", elsewhere.id)
    assert await places.numbered("t", other.number) == (elsewhere, other)
    with pytest.raises(InputError, match="2 threads"):
        await places.numbered("t", 9)
    with pytest.raises(InputError, match="2 threads"):
        await places.create("t")


@pytest.mark.parametrize("number", [0, -1, MAX_NEW_NUMBER + 1, 2**53])
async def test_a_number_that_would_use_up_all_others_is_unknown(it: Chatting, number: int) -> None:
    with pytest.raises(UnknownItem):
        await Places(it.backend).numbered("t", number)


@pytest.mark.parametrize("label", ["../../etc", "a b", "\x00", "ä" * 200, "\udc80", "…", "-", "A" * 200])
def test_any_label_makes_a_slug_and_no_two_the_same(label: str) -> None:
    slug = slug_for([label], otherwise="session")
    assert slug.isascii()
    assert len(slug) <= 128
    assert slug != slug_for([label, ""], otherwise="session") != slug_for(["", label], otherwise="session")


def test_a_label_has_a_bound() -> None:
    assert check_label(None, param="sessionId") == ""
    assert check_label(" s ", param="sessionId") == "s"
    with pytest.raises(InputError, match="200"):
        check_label("x" * 201, param="sessionId")


@pytest.mark.parametrize(
    ("settings", "named", "model"),
    [
        (AiChatSettings(), None, ""),
        (AiChatSettings(), "m", "m"),
        (AiChatSettings(model="d"), None, "d"),
        (AiChatSettings(model="d"), "m", "m"),
        (AiChatSettings(model="d", provider="ai"), None, "ai/d"),
        (AiChatSettings(model="d", provider="ai"), "m", "ai/m"),
        (AiChatSettings(model="d", provider="ai"), "ai/m", "ai/m"),
        (AiChatSettings(provider="ai"), None, ""),
    ],
)
def test_the_routes_own_provider_has_their_models(settings: AiChatSettings, named: str | None, model: str) -> None:
    assert settings.model_of(named) == model
