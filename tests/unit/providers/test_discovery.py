from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headwater.errors import ConfigError
from headwater.providers import AiohttpTransport, HttptoolsTransport, Replay, discovery
from headwater.providers.call import HttpProvider
from headwater.providers.discovery import (
    Surroundings,
    find_ollama,
    find_openai,
    find_providers,
    find_replay,
    ollama_url,
    transport_for,
)
from tests.upstream import Upstream, closed_url


@pytest.fixture
async def transport() -> AsyncIterator[HttptoolsTransport]:
    transport = HttptoolsTransport()
    yield transport
    await transport.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(api_key="k") as server:
        yield server


async def test_openai_needs_a_key_or_an_address(transport: HttptoolsTransport) -> None:
    assert await find_openai(Surroundings({}, transport)) is None
    assert await find_openai(Surroundings({"OPENAI_API_KEY": " \n"}, transport)) is None
    for environ in ({"OPENAI_API_KEY": "k"}, {"OPENAI_BASE_URL": "http://h/v1"}):
        provider = await find_openai(Surroundings(environ, transport))
        assert provider is not None
        assert provider.name == "openai"


async def test_openai_from_the_environment_works(transport: HttptoolsTransport, upstream: Upstream) -> None:
    environ = {
        "OPENAI_API_KEY": "k\n",  # as `export OPENAI_API_KEY=$(cat file)` leaves it in some shells
        "OPENAI_BASE_URL": f" {upstream.openai_url}/ ",
        "OPENAI_ORG_ID": "org",
        "OPENAI_PROJECT_ID": "",
    }
    provider = await find_openai(Surroundings(environ, transport))
    assert provider is not None
    assert await provider.models() == ["fake-1", "fake-mini"]
    assert upstream.requests[0].headers["openai-organization"] == "org"
    assert "openai-project" not in upstream.requests[0].headers


async def test_a_base_url_that_cannot_work(transport: HttptoolsTransport) -> None:
    with pytest.raises(ConfigError):
        await find_openai(Surroundings({"OPENAI_BASE_URL": "localhost:1234/v1"}, transport))


async def test_ollama_named_is_taken_at_its_word(transport: HttptoolsTransport) -> None:
    provider = await find_ollama(Surroundings({"OLLAMA_HOST": closed_url()}, transport))
    assert isinstance(provider, HttpProvider)
    assert provider.name == "ollama"


@pytest.mark.parametrize("there", [True, False])
async def test_ollama_unnamed_is_looked_for(
    transport: HttptoolsTransport, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    async with Upstream() as upstream:
        monkeypatch.setattr(
            discovery, "_OLLAMA_PORT", int((upstream.url if there else closed_url()).rpartition(":")[2])
        )
        provider = await find_ollama(Surroundings({}, transport))
        assert (provider is not None) == there


async def test_another_server_on_ollamas_port_is_not_ollama(
    transport: HttptoolsTransport, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_OLLAMA_PORT", int(upstream.url.rpartition(":")[2]))
    assert await find_ollama(Surroundings({}, transport)) is None


async def test_replay_is_always_there(transport: HttptoolsTransport, tmp_path: Path) -> None:
    assert isinstance(await find_replay(Surroundings({}, transport, tmp_path, 2.0)), Replay)


async def test_the_order_is_the_preference(transport: HttptoolsTransport) -> None:
    environ = {"OPENAI_API_KEY": "k", "OLLAMA_HOST": "127.0.0.1:1"}
    found = await find_providers(Surroundings(environ, transport))
    assert [provider.name for provider in found] == ["openai", "ollama", "replay"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box", "https://gpu-box:443"),
        ("https://gpu-box:8443/ollama/", "https://gpu-box:8443/ollama"),
    ],
)
def test_every_form_of_ollama_host(host: str, url: str) -> None:
    assert ollama_url(host) == url


@pytest.mark.parametrize("host", ["http://[::1", "gpu-box:port"])
def test_ollama_hosts_that_do_not_parse(host: str) -> None:
    with pytest.raises(ConfigError):
        ollama_url(host)


async def test_proxies_need_the_other_transport() -> None:
    for environ, kind in (
        ({}, HttptoolsTransport),
        ({"HTTPS_PROXY": ""}, HttptoolsTransport),
        ({"HTTPS_PROXY": "http://proxy:3128"}, AiohttpTransport),
        ({"http_proxy": "http://proxy:3128"}, AiohttpTransport),
    ):
        transport = transport_for(environ)
        assert type(transport) is kind
        await transport.close()
