"""One upstream, one server in front of it and one client for a whole module, where it does not make its own.

A module's `FLAGS` are given to its server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.stack import Served, viewers_client
from tests.upstream import Upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    upstream: Upstream, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    flags: tuple[str, ...] = getattr(request.module, "FLAGS", ())
    async with Served(tmp_path_factory.mktemp("served"), openai_url=upstream.openai_url, flags=flags) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with viewers_client() as http:
        yield http
