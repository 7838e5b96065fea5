from __future__ import annotations

import asyncio
import base64
import json
import socket
from array import array
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from headwater.documents.embedding import endpoint as module
from headwater.documents.embedding.endpoint import EndpointEmbedder, is_local
from headwater.documents.settings import DocumentSettings
from headwater.errors import (
    ConfigError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnreachable,
)


class Service:
    """An embedding service on loopback. `answers`: what the next requests get instead of vectors."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, object]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Callable[[list[str]], web.Response]] = []
        self.at_once = self.most_at_once = 0
        self.hold: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            if self.hold is not None:
                await self.hold.wait()
            body = await request.json()
            self.asked.append(body)
            self.paths.append(request.path)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            if self.answers:
                return self.answers.pop(0)(body["input"])
            vectors = [[float(len(text)), 1.0] for text in body["input"]]
            if request.path.endswith("/api/embed"):
                return web.json_response({"model": "m", "embeddings": vectors})
            # The last first: the order is what `index` says.
            data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
            return web.json_response({"object": "list", "data": data[::-1]})
        finally:
            self.at_once -= 1


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_post("/{path:.*}", service.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/"
    yield service
    await runner.cleanup()


@pytest.fixture
async def make(service: Service) -> AsyncIterator[Callable[..., EndpointEmbedder]]:
    made: list[EndpointEmbedder] = []

    def make(**more: object) -> EndpointEmbedder:
        settings = {
            "embedding": "openai",
            "embedding_url": service.url,
            "embedding_model": "m",
            "embedding_backoff_s": 0.0,
            **more,
        }
        made.append(EndpointEmbedder(DocumentSettings(**settings)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for embedder in made:
        await embedder.close()
        await embedder.close()  # closing twice is nothing


def numbers(vector: bytes) -> list[float]:
    return list(array("f", vector))


def data(*vectors: object) -> Callable[[list[str]], web.Response]:
    rows = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return lambda _texts: web.json_response({"data": rows})


def status(code: int, **headers: str) -> Callable[[list[str]], web.Response]:
    return lambda _texts: web.Response(status=code, headers=headers, text="sk-secret said no")


async def test_vectors_are_of_length_one_and_in_the_order_of_the_texts(
    service: Service, make: Callable[..., EndpointEmbedder]
) -> None:
    vectors = await make(embedding_api_key="sk-1").embed(["abc", ""])
    assert numbers(vectors[0]) == pytest.approx([3 / 10**0.5, 1 / 10**0.5])
    # No service has to take an empty text.
    assert numbers(vectors[1]) == pytest.approx([0.5**0.5, 0.5**0.5])
    assert service.paths == ["/v1/embeddings"]
    assert service.asked == [{"model": "m", "input": ["abc", " "], "encoding_format": "float"}]
    assert service.headers[0]["authorization"] == "Bearer sk-1"


async def test_ollama_has_a_path_and_an_answer_of_its_own(
    service: Service, make: Callable[..., EndpointEmbedder]
) -> None:
    embedder = make(embedding="ollama", embedding_url=service.url.removesuffix("/v1/"), embedding_dimensions=2)
    (vector,) = await embedder.embed(["abc"])
    assert numbers(vector) == pytest.approx([3 / 10**0.5, 1 / 10**0.5])
    assert service.paths == ["/api/embed"]
    assert service.asked == [{"model": "m", "input": ["abc"], "dimensions": 2}]
    assert "authorization" not in service.headers[0]


async def test_nothing_asks_nobody(service: Service, make: Callable[..., EndpointEmbedder]) -> None:
    assert await make().embed([]) == []
    assert service.asked == []


async def test_base64_is_understood_as_well(service: Service, make: Callable[..., EndpointEmbedder]) -> None:
    service.answers = [data(base64.b64encode(array("f", [3.0, 4.0]).tobytes()).decode())]
    (vector,) = await make().embed(["x"])
    assert numbers(vector) == pytest.approx([0.6, 0.8])


async def test_texts_go_in_batches_a_bounded_number_at_once(
    service: Service, make: Callable[..., EndpointEmbedder]
) -> None:
    embedder = make(embedding_batch=2, embedding_concurrency=2)
    vectors = await embedder.embed([str(10**n) for n in range(9)])
    assert [numbers(vector)[0] / numbers(vector)[1] for vector in vectors] == pytest.approx(list(range(1, 10)))
    assert sorted(len(asked["input"]) for asked in service.asked) == [1, 2, 2, 2, 2]  # type: ignore[arg-type]
    assert service.most_at_once <= 2


@pytest.mark.parametrize(
    "first",
    [status(429, **{"Retry-After": "0"}), status(503), status(500, **{"Retry-After": "soon"}), status(408)],
)
async def test_what_may_succeed_later_is_tried_again(
    service: Service, make: Callable[..., EndpointEmbedder], first: Callable[[list[str]], web.Response]
) -> None:
    service.answers = [first, first]
    assert len(await make().embed(["x"])) == 1
    assert len(service.asked) == 3


async def test_the_wait_is_as_long_as_the_service_says(
    service: Service, make: Callable[..., EndpointEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    service.answers = [
        status(429, **{"Retry-After": "7"}),
        status(429, **{"Retry-After": "3600"}),
        status(503, **{"Retry-After": soon}),
        status(503, **{"Retry-After": past}),
        status(503),
    ]
    await make(embedding_retries=5, embedding_backoff_s=0.5).embed(["x"])
    assert waits[:2] == [7.0, module.MAX_WAIT_S]
    assert 10 < waits[2] <= 20
    assert waits[3] == 0
    assert 4 <= waits[4] <= 8  # 0.5 s, doubled four times, at least half of it


async def test_what_cannot_succeed_is_not_tried_again_and_quotes_nothing(
    service: Service, make: Callable[..., EndpointEmbedder]
) -> None:
    service.answers = [status(401)]
    with pytest.raises(ProviderRejected) as refused:
        await make().embed(["x"])
    assert (refused.value.http_status, refused.value.message) == (401, "the embedding service answered 401")
    assert len(service.asked) == 1


async def test_after_the_last_try_the_error_is_told(service: Service, make: Callable[..., EndpointEmbedder]) -> None:
    service.answers = [status(503)] * 3
    with pytest.raises(ProviderRejected, match="answered 503"):
        await make(embedding_retries=2).embed(["x"])
    assert len(service.asked) == 3


async def test_a_redirect_is_not_followed(service: Service, make: Callable[..., EndpointEmbedder]) -> None:
    service.answers = [status(307, Location="http://127.0.0.1:9/elsewhere")]
    with pytest.raises(ProviderProtocolError, match="has status 307"):
        await make().embed(["x"])


WRONG: list[Callable[[list[str]], web.Response]] = [
    data(),
    data([1.0], [1.0]),
    data([]),
    data([0.0, 0.0]),
    data([1e400, 1.0]),
    data("not base64!"),
    data(base64.b64encode(b"12345").decode()),
    data(["x"]),
    lambda _: web.json_response({"data": [{"index": 5, "embedding": [1.0]}]}),
    lambda _: web.json_response({"error": "no"}),
    lambda _: web.Response(text="<html>"),
    lambda _: web.Response(body=b'{"data": "\xff"}'),
    lambda _: web.Response(text="[" * 100_000),
]


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_answer_that_is_not_the_protocol_is_an_error(
    service: Service, make: Callable[..., EndpointEmbedder], wrong: Callable[[list[str]], web.Response]
) -> None:
    service.answers = [wrong]
    with pytest.raises(ProviderProtocolError):
        await make().embed(["x"])
    assert len(service.asked) == 1


async def test_all_vectors_have_one_length(service: Service, make: Callable[..., EndpointEmbedder]) -> None:
    embedder = make()
    await embedder.embed(["x"])
    service.answers = [data([1.0, 2.0, 3.0])]
    with pytest.raises(ProviderProtocolError, match="3 numbers, not 2"):
        await embedder.embed(["x"])
    with pytest.raises(ProviderProtocolError, match="2 numbers, not 3"):
        await make(embedding_dimensions=3).embed(["x"])
    service.answers = [data([1.0, 2.0], [1.0])]
    with pytest.raises(ProviderProtocolError):
        await make().embed(["x", "y"])


async def test_an_answer_without_end_is_cut(
    service: Service, make: Callable[..., EndpointEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 100)
    service.answers = [lambda _: web.Response(body=b"x" * 101)]
    with pytest.raises(ProviderProtocolError, match="larger than 100 bytes"):
        await make().embed(["x"])


async def test_a_silent_service_is_waited_for_so_long(service: Service, make: Callable[..., EndpointEmbedder]) -> None:
    service.hold = asyncio.Event()
    with pytest.raises(ProviderTimeout):
        await make(embedding_timeout_s=0.05, embedding_retries=1).embed(["x"])
    service.hold.set()


async def test_a_service_that_is_not_there(make: Callable[..., EndpointEmbedder]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ProviderUnreachable):
            await make(embedding_url=url, embedding_retries=1).embed(["x"])


async def test_one_failed_batch_fails_all_and_ends_the_others(
    service: Service, make: Callable[..., EndpointEmbedder]
) -> None:
    service.answers = [status(400)] * 3
    with pytest.raises(ProviderError):
        await make(embedding_batch=1, embedding_concurrency=1).embed(["a", "b", "c"])
    assert len(service.asked) == 1


async def test_no_proxy_stands_before_a_local_service(
    make: Callable[..., EndpointEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert len(await make(embedding_retries=0).embed(["x"])) == 1


async def test_what_is_sent_is_utf8_and_bounded(service: Service, make: Callable[..., EndpointEmbedder]) -> None:
    await make().embed(["a\ud800b", "x" * 50_000])
    first, second = json.loads(json.dumps(service.asked[0]["input"]))
    assert first == "a?b"
    assert len(second) == module.MAX_CHARACTERS


def test_the_name_says_what_makes_vectors_differ() -> None:
    def named(**more: object) -> str:
        return EndpointEmbedder(DocumentSettings(embedding="ollama", embedding_model="m", **more)).name  # type: ignore[arg-type]

    assert named() == "m"
    assert named(embedding_dimensions=256) == "m:256"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:11434", True),
        ("http://localhost/v1", True),
        ("http://LOCALHOST./v1", True),
        ("http://models.localhost", True),
        ("http://[::1]:1/", True),
        ("https://10.1.2.3/v1", True),
        ("http://192.168.1.5", True),
        ("http://[fd00::1]", True),
        ("https://api.openai.com/v1", False),
        ("http://8.8.8.8", False),
        ("http://localhost.example.com", False),
        ("http://10.example.com", False),
        ("http://127.0.0.1@example.com/", False),
    ],
)
def test_local_is_what_the_address_says(url: str, local: bool) -> None:
    assert is_local(url) is local


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://[::1", "http://a:b"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        is_local(url)
