"""Providers from tables and from the environment, and their order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import ConfigError, UnsupportedField
from headwater.providers import HttpProvider, HttptoolsTransport, Replay, discovery, presets
from headwater.providers.discovery import BUILT_IN, Found, Surroundings, find_providers, transport_for
from headwater.providers.extractive import Extractive
from headwater.providers.options import Maker, ProviderOptions
from headwater.providers.transport_aiohttp import AiohttpTransport
from headwater.request import ChatRequest
from headwater.tables import ProviderTable
from tests.upstream import Upstream, closed_url

NOWHERE = {"OLLAMA_HOST": "127.0.0.1:1"}
ASKING = ChatRequest("m", [{"role": "user", "content": "hi"}])


@pytest.fixture
async def transport() -> AsyncIterator[HttptoolsTransport]:
    transport = HttptoolsTransport()
    yield transport
    await transport.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(api_key="k") as server:
        yield server


@pytest.fixture(autouse=True)
def _no_ollama_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "_OLLAMA_PORT", int(closed_url().rpartition(":")[2]))


def tables(**named: dict[str, Any]) -> dict[str, ProviderTable]:
    return {name.replace("_", "-"): ProviderTable(**fields) for name, fields in named.items()}


async def found_in(transport: HttptoolsTransport, environ: Mapping[str, str], **around: Any) -> dict[str, Found]:
    found = await find_providers(Surroundings(environ, transport, **around))
    return {one.provider.name: one for one in found}


async def refusal(transport: HttptoolsTransport, environ: Mapping[str, str], **around: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        await found_in(transport, environ, **around)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def request_of(found: Found) -> Any:
    """The request that a provider would send."""
    assert isinstance(found.provider, HttpProvider)
    call: Any = found.provider.producer(ASKING, "m")
    return call._request


async def test_without_anything_there_is_what_is_built_in(transport: HttptoolsTransport, tmp_path: Path) -> None:
    extractive, replay = await find_providers(Surroundings({"OPENAI_API_KEY": " \n"}, transport, tmp_path, 2.0))
    assert isinstance(extractive.provider, Extractive)
    assert isinstance(replay.provider, Replay)
    assert (extractive.local, replay.local) == (True, True)
    assert extractive.table == replay.table == ProviderTable()


@pytest.mark.parametrize(
    ("table", "local"),
    [
        ({"base_url": "http://127.0.0.1:9/v1"}, True),
        ({"base_url": "http://localhost:9/v1"}, True),
        ({"base_url": "http://[::1]:9/v1"}, True),
        ({"base_url": "http://10.1.2.3/v1"}, True),
        ({"base_url": "http://192.168.0.7:8000/v1"}, True),
        ({"base_url": "https://8.8.8.8/v1"}, False),
        # A name may lead anywhere, whatever it leads to now.
        ({"base_url": "http://models.internal/v1"}, False),
        ({"base_url": "http://models.internal/v1", "local": True}, True),
        ({"base_url": "http://127.0.0.1:9/v1", "local": False}, False),
    ],
)
async def test_what_stays_here(transport: HttptoolsTransport, table: dict[str, Any], local: bool) -> None:
    found = await found_in(transport, NOWHERE, tables=tables(mine={"type": "openai-compatible", **table}))
    assert found["mine"].local is local


async def test_a_provider_of_the_environment_is_no_other(transport: HttptoolsTransport) -> None:
    found = await found_in(transport, {"OPENAI_API_KEY": "k", "LLAMA_CPP_BASE_URL": "http://127.0.0.1:9"})
    local = [name for name, one in found.items() if one.local]
    assert local == ["llama-cpp", "extractive", "replay"]
    assert "openai" in found


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"OPENAI_API_KEY": "k"}, "openai"),
        ({"OPEN_AI_KEY": "k"}, "openai"),
        ({"OPENAI_BASE_URL": "http://h/v1"}, "openai"),
        ({"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://h"}, "azure"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic"),
        ({"GEMINI_API_KEY": "k"}, "gemini"),
        ({"GOOGLE_API_KEY": "k"}, "gemini"),
        ({"OLLAMA_HOST": "gpu"}, "ollama"),
        ({"AIREFINERY_API_KEY": "k"}, "airefinery"),
        ({"AIR_API_KEY": "k"}, "airefinery"),
        ({"VLLM_BASE_URL": "http://h"}, "vllm"),
        ({"LLAMA_CPP_BASE_URL": "http://h"}, "llama-cpp"),
        ({"LMSTUDIO_BASE_URL": "http://h"}, "lm-studio"),
        ({"MISTRAL_API_KEY": "k"}, "mistral"),
        ({"GROQ_API_KEY": "k"}, "groq"),
        ({"DEEPSEEK_API_KEY": "k"}, "deepseek"),
        ({"OPENROUTER_API_KEY": "k"}, "openrouter"),
        ({"TOGETHER_API_KEY": "k"}, "together"),
        ({"LOCAL_AI_BASE_PATH": "http://h"}, "localai"),
        ({"GENERIC_OPEN_AI_BASE_PATH": "http://h"}, "openai-compatible"),
    ],
    ids=str,
)
async def test_what_makes_a_provider_found(transport: HttptoolsTransport, environ: dict[str, str], name: str) -> None:
    assert list(await found_in(transport, environ)) == [name, *BUILT_IN]


@pytest.mark.parametrize(
    "environ",
    [
        {"AZURE_OPENAI_API_KEY": "k"},
        {"VLLM_API_KEY": "the server's own"},
        {"GROQ_BASE_URL": "http://h"},
        {"OPENAI_ORG_ID": "org"},
    ],
    ids=str,
)
async def test_half_of_it_is_not_enough(transport: HttptoolsTransport, environ: dict[str, str]) -> None:
    assert list(await found_in(transport, environ)) == [*BUILT_IN]


async def test_openai_from_the_environment_works(transport: HttptoolsTransport, upstream: Upstream) -> None:
    environ = {
        "OPENAI_API_KEY": "k\n",  # as `export OPENAI_API_KEY=$(cat file)` leaves it in some shells
        "OPENAI_BASE_URL": f" {upstream.openai_url}/ ",
        "OPENAI_ORG_ID": "org",
        "OPENAI_PROJECT_ID": "",
    }
    found = await found_in(transport, environ)
    assert await found["openai"].provider.models() == ["fake-1", "fake-mini"]
    assert upstream.requests[0].headers["openai-organization"] == "org"
    assert "openai-project" not in upstream.requests[0].headers


async def test_a_base_url_that_cannot_work(transport: HttptoolsTransport) -> None:
    for environ in ({"OPENAI_BASE_URL": "localhost:1234/v1"}, {"VLLM_BASE_URL": "http://[::1"}):
        await refusal(transport, environ)


@pytest.mark.parametrize("there", [True, False])
async def test_ollama_unnamed_is_looked_for(
    transport: HttptoolsTransport, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    async with Upstream() as upstream:
        if there:
            monkeypatch.setattr(presets, "_OLLAMA_PORT", int(upstream.url.rpartition(":")[2]))
        assert ("ollama" in await found_in(transport, {})) == there


async def test_another_server_on_ollamas_port_is_not_ollama(
    transport: HttptoolsTransport, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "_OLLAMA_PORT", int(upstream.url.rpartition(":")[2]))
    assert "ollama" not in await found_in(transport, {})


async def test_the_order_is_the_preference(transport: HttptoolsTransport) -> None:
    environ = {"GROQ_API_KEY": "k", "OPENAI_API_KEY": "k", **NOWHERE, "B": "k"}
    mine = tables(zeta={"type": "llama-cpp"}, alpha={"type": "mistral", "api_key": "env:B"})
    found = await found_in(transport, environ, tables=mine)
    assert list(found) == ["zeta", "alpha", "openai", "ollama", "groq", *BUILT_IN]
    found = await found_in(transport, environ, tables=mine, llm_provider="groq")
    assert list(found) == ["groq", "zeta", "alpha", "openai", "ollama", *BUILT_IN]


async def test_a_table_amends_the_provider_of_its_name(transport: HttptoolsTransport) -> None:
    environ = {"GROQ_API_KEY": "k", "GROQ_BASE_URL": "https://mirror", "LMSTUDIO_BASE_PATH": "http://lm"}
    mine = tables(groq={"max_concurrent": 4}, lmstudio={"headers": {"X-Team": "t"}})
    found = await found_in(transport, environ, tables=mine)
    assert list(found) == ["groq", "lmstudio", *BUILT_IN]
    assert found["groq"].table.max_concurrent == 4
    sent = request_of(found["groq"])
    assert sent.url == "https://mirror/openai/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer k"
    assert request_of(found["lmstudio"]).headers["x-team"] == "t"


async def test_the_environments_key_goes_to_no_address_of_another_table(transport: HttptoolsTransport) -> None:
    """CWE-522: whoever may write a table of his own must not get the keys that are meant for others."""
    environ = {"OPENAI_API_KEY": "hunter2", "OPENAI_ORG_ID": "org", "MINE": "mine"}
    mine = tables(
        other={"type": "openai", "base_url": "http://elsewhere/v1"},
        own={"type": "openai", "api_key": "env:MINE", "api": "chat"},
    )
    found = await found_in(transport, environ, tables=mine)
    sent = request_of(found["other"])
    assert "authorization" not in sent.headers
    assert "openai-organization" not in sent.headers
    assert request_of(found["own"]).headers["authorization"] == "Bearer mine"
    assert list(found) == ["other", "own", "openai", *BUILT_IN]


async def test_a_name_that_a_table_took_is_not_found_again(transport: HttptoolsTransport) -> None:
    found = await found_in(transport, {"OPENAI_API_KEY": "k"}, tables=tables(openai={"type": "llama-cpp"}))
    assert list(found) == ["openai", *BUILT_IN]
    assert request_of(found["openai"]).url == "http://127.0.0.1:8080/v1/chat/completions"


async def test_references_are_resolved(transport: HttptoolsTransport) -> None:
    environ = {"KEY": "k\n", "TEAM": "red"}
    table = {"type": "groq", "api_key": "env:KEY", "headers": {"X-Team": "env:TEAM", "X-Plain": "a:b"}}
    sent = request_of((await found_in(transport, environ, tables=tables(mine=table)))["mine"])
    assert (sent.headers["authorization"], sent.headers["x-team"], sent.headers["x-plain"]) == (
        "Bearer k",
        "red",
        "a:b",
    )


async def test_models_and_dropping_come_from_the_table(transport: HttptoolsTransport) -> None:
    environ = {"GROQ_API_KEY": "k"}
    request = ChatRequest("m", ASKING.messages, {"logprobs": True})
    plain = (await found_in(transport, environ))["groq"].provider
    with pytest.raises(UnsupportedField):
        plain.producer(request, "m")
    mine = tables(groq={"models": ["a", "b"], "drop_unsupported": True})
    amended = (await found_in(transport, environ, tables=mine))["groq"].provider
    assert list(await amended.models()) == ["a", "b"]
    amended.producer(request, "m")


@pytest.mark.parametrize(
    ("setting", "table", "path"),
    [
        ("", {}, "/v1/responses"),
        ("chat", {}, "/v1/chat/completions"),
        ("chat", {"api": "responses"}, "/v1/responses"),
        ("responses", {"base_url": "http://h/v1"}, "/v1/responses"),
        ("", {"base_url": "http://h/v1"}, "/v1/chat/completions"),
    ],
)
async def test_which_of_openais_apis(
    transport: HttptoolsTransport, setting: str, table: dict[str, Any], path: str
) -> None:
    around = {"tables": tables(openai=table), "openai_api": setting}
    found = await found_in(transport, {"OPENAI_API_KEY": "k"}, **around)
    assert request_of(found["openai"]).url.endswith(path)


async def test_azures_version_is_found_too(transport: HttptoolsTransport) -> None:
    environ = {"AZURE_OPENAI_API_KEY": "k", "OPENAI_API_VERSION": "v1"}
    mine = tables(azure={"base_url": "https://r"}, other={"type": "azure", "base_url": "https://o", "api_key": "env:O"})
    found = await found_in(transport, {**environ, "O": "k"}, tables=mine)
    assert request_of(found["azure"]).url.endswith("?api-version=v1")
    assert request_of(found["other"]).url.endswith("?api-version=2024-10-21")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"type": "groq"}, 'providers.x needs a key: set api_key = "env:VARIABLE" in its table'),
        ({"type": "groq", "api_key": "env:NONE"}, "providers.x.api_key: the variable NONE is not set"),
        ({"type": "llama-cpp", "headers": {"a": "env:NONE"}}, "providers.x.headers.a: the variable NONE is not set"),
        ({"type": "generic-openai"}, "providers.x needs an address: set base_url in its table"),
        ({"type": "vllm"}, "providers.x needs an address: set base_url in its table"),
        ({"type": "openai"}, 'providers.x needs a key: set api_key = "env:VARIABLE" in its table'),
        ({"type": "grok"}, "providers.x: there is no provider of the type 'grok'; there are: openai, azure"),
        ({}, "providers.x: there is no provider of the type 'x'; add type to its table, as type ="),
        ({"type": "vllm", "base_url": "gpu:8000/v1"}, "providers.x: a provider's base URL must begin with http"),
        ({"type": "llama-cpp", "api": "chat"}, "providers.x.api has no effect on llama-cpp"),
        ({"type": "vllm", "api_version": "1"}, "providers.x.api_version has no effect on vllm"),
        ({"type": "ollama", "stream": False}, "providers.x.stream has no effect on ollama"),
        ({"type": "ollama", "headers": {"a": "b"}}, "providers.x.headers has no effect on ollama"),
        (
            {"type": "llama-cpp", "headers": {"a": "b\nc"}},
            "providers.x: the header a for the provider holds characters",
        ),
        ({"type": "llama-cpp", "headers": {"a: b\r\nc": "d"}}, "providers.x: a header for the provider has a name"),
    ],
)
async def test_a_table_that_cannot_work(transport: HttptoolsTransport, table: dict[str, Any], expected: str) -> None:
    assert expected in await refusal(transport, {}, tables=tables(x=table))


async def test_variables_are_named_only_where_they_are_read(transport: HttptoolsTransport) -> None:
    """A table of another name than its preset's never reads them, though they are set."""
    table = {"type": "mistral", "base_url": "https://h/v1"}
    told = await refusal(transport, {"MISTRAL_API_KEY": "k"}, tables=tables(mistral2=table))
    assert told == 'providers.mistral2 needs a key: set api_key = "env:VARIABLE" in its table'
    told = await refusal(transport, {}, tables=tables(mistral=table))
    assert told == 'providers.mistral needs a key: set MISTRAL_API_KEY, or api_key = "env:VARIABLE" in its table'
    told = await refusal(transport, {}, tables=tables(vllm={}))
    assert told == "providers.vllm needs an address: set VLLM_BASE_URL, or base_url in its table"


@pytest.mark.parametrize(
    ("own", "base_url", "refused"),
    [
        (("127.0.0.1", 8000), "http://127.0.0.1:8000/v1", True),
        (("127.0.0.1", 8000), "http://LOCALHOST:8000", True),
        (("localhost", 8000), "http://[::1]:8000", True),
        (("[::1]", 8000), "http://[::1]:8000", True),
        (("0.0.0.0", 8000), "http://localhost:8000", True),
        (("gpu", 80), "http://gpu", True),
        (("127.0.0.1", 8000), "http://127.0.0.1:8001", False),
        (("127.0.0.1", 8000), "http://gpu:8000", False),
        (("10.0.0.1", 8000), "http://127.0.0.1:8000", False),
        (None, "http://127.0.0.1:8000", False),
    ],
)
async def test_no_provider_is_headwater_itself(
    transport: HttptoolsTransport, own: tuple[str, int] | None, base_url: str, refused: bool
) -> None:
    mine = tables(mine={"type": "vllm", "base_url": base_url})
    for around in ({"tables": mine}, {"environ": {**NOWHERE, "VLLM_BASE_URL": base_url}}):
        environ = around.pop("environ", NOWHERE)
        if refused:
            assert "this server's own address" in await refusal(transport, environ, own_address=own, **around)
        else:
            await found_in(transport, environ, own_address=own, **around)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:99999/v1",
        "http://gpu:x",
        "http://[::1/v1",
    ],
)
async def test_an_address_that_is_none_is_not_our_own(transport: HttptoolsTransport, base_url: str) -> None:
    """It is told as what it is, whatever this server's own address."""
    mine = tables(mine={"type": "vllm", "base_url": base_url})
    told = await refusal(transport, NOWHERE, own_address=("127.0.0.1", 8000), tables=mine)
    assert told.startswith("providers.mine")
    assert "own address" not in told


async def test_a_key_that_no_header_can_hold(transport: HttptoolsTransport) -> None:
    """It would end the header and begin another (CWE-93). It is not repeated."""
    told = await refusal(transport, {"GROQ_API_KEY": "secret\r\nx-other: 1"})
    assert "api-key" in told
    assert "secret" not in told


async def test_the_recordings_keep_their_name(transport: HttptoolsTransport) -> None:
    assert "taken by the recordings" in await refusal(transport, {}, tables=tables(replay={"type": "vllm"}))
    assert "taken by the built-in model" in await refusal(transport, {}, tables=tables(extractive={"type": "vllm"}))


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("replay", "replay"),
        ("extractive", "extractive"),
        ("mine", "mine"),
        ("lmstudio", "mine"),
        ("groq", "groq"),
        (" llamacpp ", "llama-cpp"),
        ("ollama", "ollama"),
    ],
)
async def test_the_selected_one_comes_first(transport: HttptoolsTransport, wanted: str, first: str) -> None:
    """By a table's name, by a kind that a table has, and by a kind that only its default address tells of."""
    environ = {"OPENAI_API_KEY": "k", "GROQ_API_KEY": "k"}
    found = await found_in(transport, environ, tables=tables(mine={"type": "lm-studio"}), llm_provider=wanted)
    assert next(iter(found)) == first
    assert {"mine", "openai", "groq", "replay"} <= set(found)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("mistral", "LLM_PROVIDER = mistral needs a key: set MISTRAL_API_KEY"),
        ("vllm", "LLM_PROVIDER = vllm needs an address: set VLLM_BASE_URL, or base_url in its table"),
        ("azure", "LLM_PROVIDER = azure needs an address: set AZURE_OPENAI_ENDPOINT"),
        ("bedrock", "there is no provider 'bedrock'; there are: mine, openai, azure, anthropic"),
    ],
)
async def test_a_selection_that_cannot_work(transport: HttptoolsTransport, wanted: str, expected: str) -> None:
    mine = tables(mine={"type": "llama-cpp"})
    assert expected in await refusal(transport, {}, tables=mine, llm_provider=wanted)


def plug_in(monkeypatch: pytest.MonkeyPatch, make: Callable[[ProviderOptions], Any]) -> None:
    makers: dict[str, Maker] = {"line": make}
    monkeypatch.setattr(discovery, "plugin", makers.get)
    monkeypatch.setattr(discovery, "plugin_names", lambda: ["line"])


async def test_a_plug_in_is_a_type_and_may_be_selected(
    transport: HttptoolsTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ProviderOptions] = []

    def make(options: ProviderOptions) -> Any:
        seen.append(options)
        return presets.OpenAIChat("http://line/v1")

    plug_in(monkeypatch, make)
    table = {"type": "line", "base_url": "http://h", "api_key": "env:K", "api_version": "7", "models": ["a"]}
    found = await found_in(transport, {"K": "k"}, tables=tables(mine=table), llm_provider="line")
    assert next(iter(found)) == "mine"
    assert list(await found["mine"].provider.models()) == ["a"]
    assert (seen[0].base_url, seen[0].api_key, seen[0].table.api_version) == ("http://h", "k", "7")
    assert next(iter(await found_in(transport, {}, llm_provider="line"))) == "line"
    assert next(iter(await found_in(transport, {}, tables=tables(line={})))) == "line"


async def test_a_plug_in_may_bring_a_whole_provider_of_its_name(
    transport: HttptoolsTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, lambda options: Replay(pace=0))
    assert "its maker named it 'replay'" in await refusal(transport, {}, tables=tables(line={}))

    class Mine(Replay):
        def __init__(self) -> None:
            super().__init__(pace=0)
            self.name = "line"

    plug_in(monkeypatch, lambda options: Mine())
    assert isinstance((await found_in(transport, {}, tables=tables(line={})))["line"].provider, Mine)


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
