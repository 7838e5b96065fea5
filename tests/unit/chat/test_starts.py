from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headwater.chat.starts import Starts, digest_of
from headwater.events import StreamId
from headwater.store import Store, open_store
from headwater.store.database import database_url

A, B, C = StreamId("a"), StreamId("b"), StreamId("c")


@pytest.fixture
async def opened(tmp_path: Path) -> Store:
    return await open_store(database_url(None, tmp_path))


async def test_each_start_of_an_address_has_an_epoch_of_its_own(opened: Store) -> None:
    starts = Starts(opened)
    assert await starts.newest("t", "d") is None
    assert [await starts.note("t", "d", stream) for stream in (A, B)] == [1, 257]
    assert await starts.note("t", "other", C) == 1
    assert await starts.at("t", "d", "1.17") == A
    assert await starts.at("t", "d", "257.0") == B
    # Of the same streams after a retry, or after the machine lost power.
    assert await starts.at("t", "d", "2.17") == await starts.at("t", "d", "256.0") == A
    assert await starts.newest("t", "d") == B
    await opened.close()


@pytest.mark.parametrize("cursor", ["257.0", "0.0", "9999999999999999999.0", "", "nonsense", "1", "-1.0", "1.0.0"])
async def test_other_cursors_name_nothing(opened: Store, cursor: str) -> None:
    starts = Starts(opened)
    await starts.note("t", "d", A)
    assert await starts.at("t", "d", cursor) is None
    await opened.close()


async def test_another_tenant_has_starts_of_its_own(opened: Store) -> None:
    starts = Starts(opened)
    await starts.note("one", "d", A)
    assert await starts.at("two", "d", "1.0") is None
    assert await starts.note("two", "d", B) == 1
    assert await starts.newest("one", "d") == A
    await opened.close()


@pytest.mark.parametrize("number", [5, 50])
async def test_many_at_once_get_different_epochs(number: int, store: Store) -> None:
    """A link that is shown to a class is opened by all of it, and without keys all of them are one tenant."""
    starts = Starts(store)
    epochs = await asyncio.gather(*(starts.note("t", "d", StreamId(str(n))) for n in range(number)))
    assert sorted(epochs) == [1 + 256 * n for n in range(number)]


async def test_two_processes_at_once_get_different_epochs(
    store: Store, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """They have nothing in common but the database, which lets one in after the other."""
    shared = None if store.is_sqlite else request.getfixturevalue("shared_postgres_url")
    other = await open_store(database_url(shared, tmp_path))
    both = [Starts(store), Starts(other)]
    notes = (both[n % 2].note("t", "d", StreamId(str(n))) for n in range(20))
    assert sorted(await asyncio.gather(*notes)) == [1 + 256 * n for n in range(20)]
    await other.close()


async def test_old_starts_are_forgotten(opened: Store) -> None:
    now = [1_000_000]
    starts = Starts(opened, max_age_s=10, clock_ms=lambda: now[0])
    await starts.note("t", "d", A)
    now[0] += 20_000
    await starts.note("t", "other", B)
    assert await starts.newest("t", "d") is None
    await opened.close()


def test_a_digest_is_of_what_is_asked() -> None:
    question = [("message", "Hi"), ("model", "m")]
    assert digest_of("/p", question) == digest_of("/p", question[::-1])
    others = [digest_of("/q", question), digest_of("/p", question[:1]), digest_of("/p", [("message", "Hi\0model\1m")])]
    assert len({digest_of("/p", question), *others}) == 4
