from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headwater.documents.records import Scope
from headwater.documents.shelf import Shelf
from headwater.store import Store
from tests.unit.store.databases import KINDS, opened

from .shelving import ANN, BOB, Clock, make_workspace


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request, tmp_path) as store:
        yield store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf(store: Store, clock: Clock) -> Shelf:
    return Shelf(store, clock_ms=clock)


@pytest.fixture
async def desk(store: Store) -> Scope:
    """Ann's workspace."""
    return await make_workspace(store, ANN)


@pytest.fixture
async def other(store: Store) -> Scope:
    """Bob's workspace."""
    return await make_workspace(store, BOB)
