from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.upstream import Upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server
