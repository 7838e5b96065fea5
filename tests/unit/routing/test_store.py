"""Routes made by API: kept before they are in force, and there again after a restart."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from headwater.errors import ConfigError, InputError, RouteFixed, RouteNotKept, UnknownRoute
from headwater.integrity import file_sum
from headwater.integrity.findings import Report
from headwater.request import ChatRequest
from headwater.routing import Registry
from headwater.routing.store import FILE_NAME, KeptRoute, RouteStore, check_routes
from headwater.streams.ports import Producer
from headwater.tables import Price, RouteTable, Target


class Provider:
    """One that is there, and no more."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def models(self) -> Sequence[str]:
        return []

    def producer(self, request: ChatRequest, model: str) -> Producer:
        raise NotImplementedError

    async def close(self) -> None:
        return


def table(*providers: str, **fields: object) -> RouteTable:
    return RouteTable(targets=[Target(provider=name) for name in providers], **fields)  # type: ignore[arg-type]


def registry(*providers: str, **routes: RouteTable) -> Registry:
    return Registry([Provider(name) for name in providers], routes=routes)


async def opened(path: Path | None, *providers: str, **routes: RouteTable) -> RouteStore:
    store = RouteStore(registry(*providers, **routes), path)
    await store.load()
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


async def test_what_was_made_is_there_after_a_restart(path: Path) -> None:
    rich = RouteTable(
        targets=[
            Target(provider="a", model="m", weight=2, price=Price(input=1.5, currency="EUR")),
            Target(provider="b"),
        ],
        hedge_after_s=2.5,
        continue_answers=True,
    )
    store = await opened(path, "a", "b")
    assert await store.set("best/one", table("a"))
    assert not await store.set("best/one", rich)
    assert await store.set("two", table("b"))
    expected = [KeptRoute("best/one", rich, False, True), KeptRoute("two", table("b"), False, True)]
    assert store.routes() == expected

    again = RouteStore(found := registry("a", "b"), path)
    await again.load()
    assert again.routes() == expected
    route = await found.resolve("best/one")
    assert [target.name for target in route.targets] == ["a/m", "b/best/one"]

    await again.remove("best/one")
    assert [kept.name for kept in (await opened(path, "a", "b")).routes()] == ["two"]


async def test_the_file_is_its_owner_s_alone_and_nothing_is_left_beside_it(path: Path) -> None:
    store = await opened(path, "a")
    await store.set("r", table("a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [FILE_NAME]
    routes = {"r": {"targets": [{"provider": "a"}]}}
    whole = {"version": 1, "routes": routes, "sum": file_sum(json.dumps(routes, separators=(",", ":")).encode())}
    assert json.loads(path.read_text()) == whole


async def test_a_file_that_is_not_as_it_was_written_is_refused(path: Path) -> None:
    await (await opened(path, "a", "b")).set("r", table("a"))
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
    with pytest.raises(ConfigError, match=r'does not match its checksum.*remove its "sum"'):
        await opened(path, "a", "b")
    report = Report()
    check_routes(path.parent, report)
    assert [finding.file for finding in report.findings] == [FILE_NAME]
    kept = json.loads(path.read_text())
    del kept["sum"]
    path.write_text(json.dumps(kept))
    assert [each.name for each in (await opened(path, "a", "b")).routes()] == ["r"]


async def test_without_a_file_routes_live_as_long_as_the_process(tmp_path: Path) -> None:
    store = await opened(None, "a", fixed=table("a"))
    await store.set("r", table("a"))
    assert [(kept.name, kept.fixed, kept.persistent) for kept in store.routes()] == [
        ("fixed", True, True),
        ("r", False, False),
    ]
    assert os.listdir(tmp_path) == []


async def test_refusals_change_nothing(path: Path) -> None:
    store = await opened(path, "a", fixed=table("a"))
    with pytest.raises(InputError, match="there is no provider 'nobody'") as caught:
        await store.set("r", table("a", "nobody"))
    assert caught.value.param == "routes.r.targets[1].provider"
    with pytest.raises(RouteFixed):
        await store.set("fixed", table("a"))
    with pytest.raises(RouteFixed):
        await store.remove("fixed")
    with pytest.raises(UnknownRoute):
        await store.remove("r")
    assert [kept.name for kept in store.routes()] == ["fixed"]
    assert not path.exists()


async def test_a_route_whose_provider_is_gone_is_kept_and_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that was not set must neither stop the start nor cost the route."""
    await (await opened(path, "a", "b")).set("r", table("b"))
    store = await opened(path, "a")
    [kept] = store.routes()
    assert (kept.name, kept.table, kept.persistent) == ("r", table("b"), True)
    assert "there is no provider 'b'" in str(kept.error)
    assert "the route r is not in force" in caplog.text
    await store.set("other", table("a"))  # which writes the file anew
    assert [kept.error for kept in (await opened(path, "a", "b")).routes()] == [None, None]


async def test_a_route_that_is_not_in_force_can_be_mended_or_removed(path: Path) -> None:
    made = await opened(path, "b")
    await made.set("r", table("b"))
    await made.set("s", table("b"))
    store = await opened(path, "a")
    assert await store.set("r", table("a")) is False  # it was there
    await store.remove("s")
    assert store.routes() == [KeptRoute("r", table("a"), False, True)]
    assert (await opened(path, "a")).routes() == store.routes()


async def test_the_settings_win_over_a_route_of_the_same_name(path: Path) -> None:
    await (await opened(path, "a")).set("r", table("a"))
    store = await opened(path, "a", r=table("a", max_attempts=2))
    fixed, own = store.routes()
    assert (fixed.fixed, fixed.error) == (True, None)
    assert (own.fixed, own.error) == (False, "the route 'r' stands in the settings file")
    await store.remove("r")
    assert store.routes() == [fixed]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged"),
        (b'{"version":1', "damaged"),
        (b"[]", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b'{"version":1,"routes":' + b"[" * 100_000, "damaged"),
        (b'{"version":1,"routes":{"r":{"targets":[]}}}', "routes.r.targets"),
        (b'{"version":1,"routes":{"r":{"targets":[{"provider":"a","base_url":"http://x"}]}}}', "base_url"),
        (b'{"version":2,"routes":{}}', "version 2"),
    ],
    ids=["empty", "cut", "list", "no text", "deep", "no targets", "unknown field", "newer"],
)
async def test_a_damaged_file_is_named(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        await opened(path, "a")
    assert str(path) in caught.value.message
    assert path.read_bytes() == content


async def test_a_file_that_cannot_be_read_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot read") as caught:
        await opened(path, "a")
    assert str(path) in caught.value.message


async def test_what_cannot_be_kept_is_not_in_force(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A caller that is told of a failure must not find the change made, nor lose it at the next start unawares."""
    await (await opened(path, "b")).set("idle", table("b"))
    store = RouteStore(found := registry("a"), path)
    await store.load()
    await store.set("r", table("a"))
    before, content = store.routes(), path.read_bytes()
    path.with_name(f"{FILE_NAME}.new").mkdir()  # in the way of the new file, also for root
    for name, change in (("r", table("a", max_attempts=1)), ("new", table("a")), ("idle", table("a"))):
        with pytest.raises(RouteNotKept) as caught:
            await store.set(name, change)
        assert (caught.value.http_status, caught.value.retryable) == (503, True)
    for name in ("r", "idle"):
        with pytest.raises(RouteNotKept):
            await store.remove(name)
    assert str(path) not in caught.value.message
    assert str(path) in caplog.text
    assert sorted(store.routes()) == sorted(before)
    assert (await found.resolve("r")).policy.max_attempts == 6
    assert path.read_bytes() == content


async def test_changes_at_the_same_time_are_all_kept(path: Path) -> None:
    """Each writes the whole file: two writers at once could bring an older list back."""
    store = await opened(path, "a")
    await asyncio.gather(*(store.set(f"r{n}", table("a")) for n in range(20)))
    await asyncio.gather(*(store.remove(f"r{n}") for n in range(0, 20, 2)))
    kept = {kept.name for kept in (await opened(path, "a")).routes()}
    assert kept == {f"r{n}" for n in range(1, 20, 2)}


@pytest.mark.parametrize("kept", [True, False])
async def test_a_caller_that_leaves_does_not_stop_half_way(path: Path, kept: bool) -> None:
    """What it began is kept and in force, or neither."""
    store = await opened(path, "a")
    if not kept:
        path.with_name(f"{FILE_NAME}.new").mkdir()
    leaving = asyncio.ensure_future(store.set("r", table("a")))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    with pytest.raises(UnknownRoute):
        await store.remove("other")  # waits for its turn
    assert [route.name for route in store.routes()] == (["r"] if kept else [])
    assert (await opened(path, "a")).routes() == store.routes()
