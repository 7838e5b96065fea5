"""The composition: opens everything, closes everything, also half-way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from headwater import runtime
from headwater.config import Settings, load_settings
from headwater.errors import ConfigError, LogInUse, LogUnavailable, UnknownModel
from headwater.logs import MemoryLog
from headwater.request import ChatRequest
from headwater.runtime import Runtime, open_runtime, server_settings, stream_settings
from headwater.streams import StreamSettings
from headwater.streams.log import Query, StreamRecord
from tests.upstream import Upstream


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEADWATER_{name.upper()}", raising=False)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return load_settings(data_dir=tmp_path, grace_s=0, heartbeat_s=3)


async def test_everything_runs_and_nothing_stays(settings: Settings) -> None:
    """P10: tasks, files and the directory's lock are back where they were."""
    before = asyncio.all_tasks()
    async with open_runtime(settings) as running:
        assert running.hub.accepting
        assert running.hub.settings.heartbeat_s == 3
        assert running.registry.names == ["ollama", "extractive", "replay"]
        with pytest.raises(LogInUse):
            async with open_runtime(settings):
                pytest.fail("two owners of one directory")
        assert running.hub.accepting
    assert not running.hub.accepting
    assert asyncio.all_tasks() == before
    async with open_runtime(settings):
        pass


async def test_models_are_those_of_the_registry(settings: Settings) -> None:
    async with open_runtime(settings) as running:
        directory = runtime.Directory(running.registry, created=7)
        [_, card] = await directory.list()
        assert (card.id, card.created, card.owned_by) == ("replay/welcome", 7, "replay")
        found = await directory.resolve("replay/welcome")
        assert (found.model, found.provider_name) == ("replay/welcome", "replay")
        assert hasattr(found.producer_factory(ChatRequest("replay/welcome", [])), "run")
    async with open_runtime(settings, providers=False) as bare:
        assert bare.registry.names == []
        with pytest.raises(UnknownModel):
            await runtime.Directory(bare.registry, created=7).resolve(None)


CONFIG = """
breaker_failures = 7
queue_timeout_s = 9.0

[providers.openai]
max_concurrent = 3

[providers.local]
type = "vllm"
base_url = "{url}"
models = ["tiny"]

[prices."tiny"]
input = 1.0

[routes.best]
[[routes.best.targets]]
provider = "local"
model = "tiny"
[[routes.best.targets]]
provider = "openai"
"""


async def test_the_registry_follows_tables_and_environment(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Upstream() as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.openai_url)
        monkeypatch.setenv("OLLAMA_HOST", upstream.url)
        path = tmp_path / "headwater.toml"
        path.write_text(CONFIG.format(url=upstream.openai_url))
        registry = await runtime.open_registry(load_settings(config=path, data_dir=tmp_path))
        assert registry.names == ["openai", "local", "ollama", "extractive", "replay"]
        names = [listed.model for listed in await registry.models()]
        assert names == [
            "best", "fake-1", "fake-mini", "tiny", "ollama/fake-1", "ollama/fake-mini", "extractive", "replay/welcome",
        ]  # fmt: skip
        first, second = (await registry.resolve("best")).targets
        assert (first.provider.name, first.model, first.queue_timeout_s) == ("local", "tiny", 9.0)
        assert first.price is not None
        assert (second.provider.name, second.model) == ("openai", "best")
        # A name that no route and no list knows goes to `openai` unchanged.
        unknown = await registry.resolve("gpt-of-tomorrow")
        assert (unknown.provider_name, unknown.targets[0].model) == ("openai", "gpt-of-tomorrow")
        held = [unknown.targets[0].gates[0].enter() for _ in range(3)]
        assert not any(ticket.waiting for ticket in held)
        assert second.gates[-1].enter().waiting  # one provider, one gate
        await registry.close()
        await upstream.until(lambda: upstream.open_connections == 0)


async def test_a_table_that_cannot_work_leaves_nothing_open(tmp_path: Path, settings: Settings) -> None:
    before = asyncio.all_tasks()
    path = tmp_path / "headwater.toml"
    path.write_text('[routes.best]\ntargets = [{ provider = "nobody" }]')
    with pytest.raises(ConfigError, match=r"routes\.best\.targets\[0\]\.provider: there is no provider 'nobody'"):
        await runtime.open_registry(load_settings(config=path, data_dir=tmp_path))
    assert asyncio.all_tasks() == before


async def test_a_server_is_not_its_own_provider(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", f"http://localhost:{settings.port}")
    with pytest.raises(ConfigError, match=r"vllm has this server's own address \(127\.0\.0\.1:8000\)"):
        async with open_runtime(settings, listens=True):
            pytest.fail("it would ask itself")
    for opened in (open_runtime(settings), open_runtime(settings.model_copy(update={"port": 0}), listens=True)):
        async with opened as running:
            assert "vllm" in running.registry.names


@pytest.mark.parametrize(
    ("values", "providers", "expected"),
    [
        ({"prices": {"opnai/gpt-4o": {}}}, ["openai"], '[prices."opnai/gpt-4o"]: no provider'),
        ({"default_model": "olama/llama3"}, ["ollama", "replay"], "did you mean 'ollama/llama3'?"),
        ({"default_model": "gpt-4o"}, ["replay"], "default_model = 'gpt-4o' is neither a route nor a recording"),
        # Names that providers may list, and names that are there.
        ({"prices": {"meta-llama/llama-3": {}, "gpt-4o": {}, "openai/gpt-4o": {}}}, ["openai"], ""),
        ({"prices": {"mistralai/m": {}, "deepseek-ai/m": {}}}, ["mistral", "deepseek"], ""),
        ({"default_model": "gpt-4o"}, ["openai", "replay"], ""),
        ({"default_model": "replay/welcome"}, ["replay"], ""),
        ({"default_model": "best", "routes": {"best": {"targets": [{"provider": "replay"}]}}}, ["replay"], ""),
    ],
)
def test_names_that_look_like_a_slip_of_the_pen(values: dict[str, object], providers: list[str], expected: str) -> None:
    warnings = runtime.name_warnings(load_settings(**values), providers)
    assert len(warnings) == bool(expected)
    assert expected in "".join(warnings)


async def test_such_names_are_told_at_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HEADWATER_DEFAULT_MODEL", "olama/llama3")
    registry = await runtime.open_registry(load_settings(data_dir=settings.data_dir))
    await registry.close()
    assert [record.getMessage() for record in caplog.records if "did you mean 'ollama/llama3'" in record.getMessage()]


async def test_connections_to_providers_end_with_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Upstream() as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.openai_url)
        async with open_runtime(settings) as running:
            assert "fake-1" in [listed.model for listed in await running.registry.models()]
            assert upstream.open_connections == 1  # kept alive
        await upstream.until(lambda: upstream.open_connections == 0)


async def test_a_provider_that_cannot_work_leaves_no_lock_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://[broken")
    with pytest.raises(ConfigError, match="OLLAMA_HOST"):
        async with open_runtime(settings):
            pytest.fail("opened")
    monkeypatch.delenv("OLLAMA_HOST")
    async with open_runtime(settings):
        pass


class BrokenLog(MemoryLog):
    async def find(self, query: Query) -> list[StreamRecord]:
        raise LogUnavailable("the disk is gone")


async def test_a_start_that_fails_half_way_leaves_no_task(settings: Settings) -> None:
    before = asyncio.all_tasks()
    log = BrokenLog()
    with pytest.raises(LogUnavailable):
        async with open_runtime(settings, log=log):
            pytest.fail("opened")
    assert asyncio.all_tasks() == before
    await log.close()


class Upkept(MemoryLog):
    """Counts its maintenance, once it has failed in all the ways given."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.expired: list[tuple[float | None, int | None]] = []
        self.twice = asyncio.Event()

    async def compact(self) -> int:
        if self.failures:
            raise self.failures.pop(0)
        return 0

    async def expire(self, *, now_ms: int, max_age_s: float | None, max_bytes: int | None) -> int:
        self.expired.append((max_age_s, max_bytes))
        if len(self.expired) == 2:
            self.twice.set()
        return 0


async def test_maintenance_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime, "MAINTENANCE_INTERVAL_S", 0)
    log = Upkept(LogUnavailable("busy"), ZeroDivisionError())
    settings = load_settings(data_dir=tmp_path, retention_max_age_s=0, retention_max_bytes=5)
    async with open_runtime(settings, log=log, providers=False):
        await asyncio.wait_for(log.twice.wait(), 10)
    assert log.expired[0] == (None, 5)
    assert "could not be tidied: busy" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    await log.close()


class Plain:
    """A log with the five methods only."""

    def __init__(self) -> None:
        inner = MemoryLog()
        self.commit, self.read, self.get, self.find, self.close = (
            inner.commit,
            inner.read,
            inner.get,
            inner.find,
            inner.close,
        )


async def test_a_log_needs_no_extra_abilities(tmp_path: Path) -> None:
    log = Plain()
    async with open_runtime(load_settings(data_dir=tmp_path), log=log, providers=False) as running:
        assert await running.hub.list(owner="") == []
    await log.close()


def test_every_setting_of_the_core_has_its_name_in_the_settings() -> None:
    """A renamed one would silently stay at its default."""
    internal = {"max_pending_bytes", "max_recoveries"}
    assert set(StreamSettings.__struct_fields__) - set(Settings.model_fields) == internal
    defaults = load_settings()
    assert stream_settings(defaults) == StreamSettings()


@pytest.mark.parametrize(
    ("values", "single_user"),
    [
        ({}, True),
        ({"api_keys": "k"}, False),
        ({"admin_keys": "k"}, False),
        ({"host": "0.0.0.0", "allow_anonymous": True}, False),
    ],
)
def test_who_is_let_in(values: dict[str, object], single_user: bool) -> None:
    made = server_settings(load_settings(**values))
    assert made.single_user is single_user
    assert made.api_keys == (("k",) if "api_keys" in values else ())
    assert made.admin_keys == (("k",) if "admin_keys" in values else ())
    assert server_settings(load_settings(**values), single_user=False).single_user is False


ROUTES = b'{"version":1,"routes":{"best":{"targets":[{"provider":"openai"}]}}}'


async def routes_of(running: Runtime) -> list[tuple[str, str | None]]:
    transport = httpx.ASGITransport(running.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        routes = (await client.get("/v1/routes")).json()["data"]
    return [(route["name"], route.get("error")) for route in routes]


async def test_routes_lie_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "routes.json").write_bytes(ROUTES)
    async with open_runtime(load_settings(data_dir=tmp_path), providers=False) as running:
        [(name, error)] = await routes_of(running)
        assert name == "best"
        assert error is not None
        assert "no provider 'openai'" in error
    assert (tmp_path / "routes.json").read_bytes() == ROUTES


@pytest.mark.parametrize("own", [True, False], ids=["log given", "memory log"])
async def test_without_a_log_of_its_own_there_no_directory_is_read(tmp_path: Path, own: bool) -> None:
    """Another process may own it, and what it keeps is not for this one."""
    (tmp_path / "routes.json").write_bytes(ROUTES)
    log = MemoryLog() if own else None
    settings = load_settings(data_dir=tmp_path, log=None if own else "memory")
    async with open_runtime(settings, log=log, providers=False) as running:
        assert await routes_of(running) == []


async def test_damaged_routes_stop_the_start_and_leave_no_lock(tmp_path: Path) -> None:
    (tmp_path / "routes.json").write_bytes(b"{")
    settings = load_settings(data_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"routes\.json is damaged"):
        async with open_runtime(settings, providers=False):
            pytest.fail("opened")
    (tmp_path / "routes.json").unlink()
    async with open_runtime(settings, providers=False):
        pass
