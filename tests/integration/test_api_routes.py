"""`/v1/routes` of a real server: made, used by the official SDK, kept over a kill, refused where it must be."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.stack import Served
from tests.upstream import Script, Upstream, closed_url, prompt

pytestmark = pytest.mark.timeout(120)

FIXED = """
[routes.house]
targets = [{ provider = "first", model = "fake-1" }]
"""
PRICE = {"input": 1.0, "output": 2.0, "currency": "EUR"}


class Stack:
    """A server between two upstreams, `first` and `second`, and whoever administers it."""

    def __init__(self, served: Served, admin: httpx.AsyncClient, sdk: openai.AsyncOpenAI) -> None:
        self.served = served
        self.admin = admin
        self.sdk = sdk

    async def put(self, name: str, *targets: dict[str, Any], **fields: Any) -> httpx.Response:
        return await self.admin.put(f"/v1/routes/{name}", json={"targets": targets, **fields})

    async def ask(self, model: str, **script: Any) -> tuple[str, Any]:
        """The answer of the official client, and its usage."""
        chunks = [
            chunk
            async for chunk in await self.sdk.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": prompt(**script)}],
                stream=True,
                stream_options={"include_usage": True},
            )
        ]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), chunks[-1].usage

    async def last(self) -> Any:
        """The newest stream of the SDK's key."""
        [info] = (await self.admin.get("/v1/streams", params={"limit": 1}, headers=self.sdk.auth_headers)).json()[
            "data"
        ]
        return info


@asynccontextmanager
async def stack(
    tmp_path: Path,
    urls: Mapping[str, str],
    *,
    environment: dict[str, str] | None = None,
    key: str = "",
    admin: str = "",
) -> AsyncIterator[Stack]:
    tables = "".join(f'[providers.{name}]\ntype = "openai"\nbase_url = "{url}"\n' for name, url in urls.items())
    (tmp_path / "headwater.toml").write_text(tables + FIXED)
    flags = ("--config", str(tmp_path / "headwater.toml"))
    async with (
        Served(tmp_path, environment=environment, flags=flags) as served,
        httpx.AsyncClient(base_url=served.url, timeout=30, headers={"x-api-key": admin} if admin else {}) as client,
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=key or "any", max_retries=0) as sdk,
    ):
        yield Stack(served, client, sdk)


@pytest.fixture
async def upstreams() -> AsyncIterator[tuple[Upstream, Upstream]]:
    async with Upstream() as first, Upstream() as second:
        yield first, second


def urls_of(upstreams: tuple[Upstream, Upstream]) -> dict[str, str]:
    return {"first": upstreams[0].openai_url, "second": upstreams[1].openai_url}


async def test_a_route_lives_from_its_making_to_its_removal(
    tmp_path: Path, upstreams: tuple[Upstream, Upstream]
) -> None:
    first, second = upstreams
    expected = Script(tokens=12, seed=3).answer()
    async with stack(tmp_path, urls_of(upstreams)) as it:
        made = await it.put("team/best", {"provider": "first", "model": "fake-1", "price": PRICE})
        assert (made.status_code, made.json()["persistent"]) == (201, True)
        text, usage = await it.ask("team/best", tokens=12, seed=3)
        assert text == expected
        assert usage.model_extra["cost"] == pytest.approx((usage.prompt_tokens + 2 * usage.completion_tokens) / 1e6)
        assert (first.attempts, second.attempts) == (1, 0)
        assert first.requests[-1].body["model"] == "fake-1"
        assert "team/best" in [model.id async for model in it.sdk.models.list()]
        metadata = (await it.last())["metadata"]
        assert metadata["cost"]["currency"] == "EUR"
        [attempt] = metadata["attempts"]
        assert (attempt["provider"], attempt["model"], attempt["outcome"]) == ("first", "fake-1", "done")

        changed = await it.put("team/best", {"provider": "second", "model": "fake-1"})
        assert changed.status_code == 200
        text, usage = await it.ask("team/best", tokens=12, seed=3)
        assert (text, usage.model_extra.get("cost")) == (expected, None)
        assert (first.attempts, second.attempts) == (1, 1)
        assert (await it.last())["provider"] == "second"

        await it.served.restart()
        listed = (await it.admin.get("/v1/routes")).json()["data"]
        assert [(route["name"], route["fixed"]) for route in listed] == [("house", True), ("team/best", False)]
        assert (await it.ask("team/best", tokens=12, seed=3))[0] == expected
        assert second.attempts == 2

        assert (await it.admin.delete("/v1/routes/team/best")).status_code == 204
        with pytest.raises(openai.NotFoundError):
            await it.ask("team/best")
        await it.served.restart()
        assert (await it.admin.get("/v1/routes/team/best")).status_code == 404


async def test_a_target_that_fails_is_seen_in_the_state_and_in_the_metadata(
    tmp_path: Path, upstreams: tuple[Upstream, Upstream]
) -> None:
    """Nobody listens behind the first target: five refusals open its breaker, and the answers come all the same."""
    urls = {"first": f"{closed_url()}/v1", "second": upstreams[1].openai_url}
    async with stack(tmp_path, urls) as it:
        targets = ({"provider": "first", "model": "m"}, {"provider": "second", "model": "fake-1", "max_concurrent": 5})
        await it.put("best", *targets, attempts=1)
        for _ in range(5):
            assert (await it.ask("best", tokens=3))[0] == Script(tokens=3).answer()
        outcomes = [(a["provider"], a["outcome"]) for a in (await it.last())["metadata"]["attempts"]]
        assert outcomes == [("first", "failed"), ("second", "done")]
        state = (await it.admin.get("/v1/routes/best")).json()["state"]
        assert [target["breaker"] for target in state] == ["open", "closed"]
        assert [(target["running"], target["queued"]) for target in state] == [(0, 0), (0, 0)]
        await it.ask("best", tokens=3)
        assert [a["provider"] for a in (await it.last())["metadata"]["attempts"]] == ["second"]


async def test_only_an_admin_key_changes_routes(tmp_path: Path, upstreams: tuple[Upstream, Upstream]) -> None:
    keys = {"HEADWATER_API_KEYS": "user", "HEADWATER_ADMIN_KEYS": "admin"}
    async with stack(tmp_path, urls_of(upstreams), environment=keys, key="user", admin="admin") as it:
        user = {"x-api-key": "user"}
        body = {"targets": [{"provider": "first", "model": "fake-1"}]}
        for method, arguments in (("PUT", {"json": body}), ("DELETE", {})):
            refused = await it.admin.request(method, "/v1/routes/best", headers=user, **arguments)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_required")
        assert (await it.admin.get("/v1/routes", headers=user)).status_code == 200
        assert (await it.admin.get("/v1/routes", headers={"x-api-key": "no"})).status_code == 401
        assert (await it.put("best", *body["targets"])).status_code == 201
        assert (await it.ask("best", tokens=3))[0] == Script(tokens=3).answer()


@pytest.mark.parametrize(
    ("name", "target", "status", "param"),
    [
        ("best", {"provider": "nobody"}, 400, "routes.best.targets[0].provider"),
        ("best", {"provider": "first", "weight": -1}, 400, "routes.best.targets[0].weight"),
        ("best", {"provider": "first", "base_url": "http://127.0.0.1:9"}, 400, "routes.best.targets[0]"),
        ("best", {"provider": "http://127.0.0.1:9/v1"}, 400, "routes.best.targets[0].provider"),
        ("house", {"provider": "second"}, 409, "name"),
    ],
    ids=["unknown provider", "wrong weight", "address", "address as provider", "fixed"],
)
async def test_what_is_refused_is_named(
    tmp_path: Path, name: str, target: dict[str, Any], status: int, param: str
) -> None:
    unused = dict.fromkeys(("first", "second"), f"{closed_url()}/v1")
    async with stack(tmp_path, unused, environment={"HEADWATER_LOG": "memory"}) as it:
        refused = await it.put(name, target)
        assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)
        assert [route["name"] for route in (await it.admin.get("/v1/routes")).json()["data"]] == ["house"]
        kept = await it.put("best", {"provider": "first"})
        assert kept.json()["persistent"] is False
    assert list(tmp_path.glob("**/routes.json")) == []


async def test_a_provider_that_is_gone_does_not_stop_the_start(
    tmp_path: Path, upstreams: tuple[Upstream, Upstream]
) -> None:
    urls = urls_of(upstreams)
    async with stack(tmp_path, urls) as it:
        await it.put("best", {"provider": "second", "model": "fake-1"})
        assert await it.served.stop() in (0, -signal.SIGTERM)
    async with stack(tmp_path, {"first": urls["first"]}) as it:
        card = (await it.admin.get("/v1/routes/best")).json()
        assert "there is no provider 'second'" in card["error"]
        assert card["state"] == []
        with pytest.raises(openai.NotFoundError):
            await it.ask("best")
    async with stack(tmp_path, urls) as it:
        assert "error" not in (await it.admin.get("/v1/routes/best")).json()
        assert (await it.ask("best", tokens=3))[0] == Script(tokens=3).answer()
