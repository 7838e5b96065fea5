"""One browser for all these tests, one server a module, one profile a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from pytest_asyncio import is_async_test

from tests.stack import Served
from tests.upstream import Upstream

from .browser import Reader, launched, reading
from .chat import Chat
from .line import Line

HERE = Path(__file__).parent
# Titles by the question's words: else the upstream is asked for each.
FLAGS = ("--titles", "words", "--grace-s", "0", "--default-model", "openai/fake-1")

Visit: TypeAlias = Callable[..., Awaitable[Reader]]
Converse: TypeAlias = Callable[..., Awaitable[Chat]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All in one loop, which is the browser's."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))
            if is_async_test(item):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with launched() as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Shared by a module's tests, which so find each other's conversations in its list."""
    directory = tmp_path_factory.mktemp("server")
    async with Served(directory, openai_url=upstream.openai_url, flags=FLAGS) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def line(server: Served) -> AsyncIterator[Line]:
    async with Line(server.port) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, server: Served) -> AsyncIterator[Visit]:
    """A new reader of the module's server, or of `url`; further options are the browser context's."""
    async with AsyncExitStack() as stack:

        async def made(url: str | None = None, **options: Any) -> Reader:
            return await stack.enter_async_context(reading(browser, url or server.url, **options))

        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def converse(visit: Visit, upstream: Upstream) -> Converse:
    """The chat page, opened by a new reader."""

    async def made(**options: Any) -> Chat:
        reader = await visit(**options)
        return Chat(await reader.open(), reader, upstream)

    return made
