from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headwater.chat.conversations import Conversations
from headwater.chat.records import Thread, Workspace
from headwater.store import Store
from tests.unit.store.databases import KINDS, opened

ANN, BOB = "user:ann", "user:bob"


class Clock:
    """Unix milliseconds that go on by one each time somebody looks."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        self.ms += 1
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request, tmp_path) as store:
        yield store


@pytest.fixture
def conversations(store: Store, clock: Clock) -> Conversations:
    return Conversations(store, clock)


@pytest.fixture
async def workspace(conversations: Conversations) -> Workspace:
    return await conversations.workspaces.create(ANN, name="Ann's notes")


@pytest.fixture
async def thread(conversations: Conversations, workspace: Workspace) -> Thread:
    return await conversations.threads.create(ANN, workspace.id)
