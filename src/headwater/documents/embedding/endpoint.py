"""Vectors from a service: OpenAI's `POST {url}/embeddings`, or Ollama's `POST {url}/api/embed`.

Texts go in batches, a bounded number of them at once. What may succeed later (429, 5xx, a lost connection) is tried
again. An answer is believed only when it has one finite vector for each text, all of one length.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ...errors import (
    ConfigError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnreachable,
)
from ..settings import DocumentSettings
from .vectors import unit_bytes

if TYPE_CHECKING:
    import httpx

PROVIDER = "embedding"
_URLS = {"openai": "https://api.openai.com/v1", "ollama": "http://127.0.0.1:11434"}
# 2048 vectors of 4096 numbers of 12 characters are 100 MB: more than that is not an answer.
MAX_ANSWER_BYTES = 128 * 2**20
MAX_WAIT_S = 30.0
# What any embedding model reads of a text at most; more is cut by the service, or refused.
MAX_CHARACTERS = 20_000


class _OpenAIVector(msgspec.Struct):
    embedding: list[float] | str
    index: int


class _OpenAIAnswer(msgspec.Struct):
    data: list[_OpenAIVector]


class _OllamaAnswer(msgspec.Struct):
    embeddings: list[list[float]]


class EndpointEmbedder:
    """`settings.embedding` is `openai` or `ollama`, and `embedding_model` is set."""

    def __init__(self, settings: DocumentSettings) -> None:
        """Raises `ConfigError` for an address that is none."""
        self._settings = settings
        self._ollama = settings.embedding == "ollama"
        base = (settings.embedding_url or _URLS[settings.embedding]).rstrip("/")
        self._url = base + ("/api/embed" if self._ollama else "/embeddings")
        self.local = is_local(base) if settings.embedding_local is None else settings.embedding_local
        dimensions = settings.embedding_dimensions
        # Vectors of another length are those of another model.
        self.name = settings.embedding_model + (f":{dimensions}" if dimensions else "")
        self._length = dimensions
        self._slots = asyncio.Semaphore(settings.embedding_concurrency)
        self._client: httpx.AsyncClient | None = None

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """Raises `ProviderRejected`, `ProviderTimeout`, `ProviderUnreachable`, `ProviderProtocolError`."""
        size = self._settings.embedding_batch
        batches = [texts[at : at + size] for at in range(0, len(texts), size)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._embed_batch(batch)) for batch in batches]
        except* ProviderError as failed:
            raise _first(failed) from failed
        return [vector for task in tasks for vector in task.result()]

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _embed_batch(self, texts: Sequence[str]) -> list[bytes]:
        tries = 0
        async with self._slots:
            while True:
                try:
                    return self._vectors(await self._post(texts), len(texts))
                except ProviderError as exc:
                    if not exc.retryable or tries == self._settings.embedding_retries:
                        raise
                    wait_s = exc.retry_after_s
                if wait_s is None:
                    # Spread, so that the batches that failed together do not come back together.
                    wait_s = self._settings.embedding_backoff_s * 2**tries * random.uniform(0.5, 1.0)  # noqa: S311
                tries += 1
                await asyncio.sleep(min(wait_s, MAX_WAIT_S))

    async def _post(self, texts: Sequence[str]) -> bytes:
        """The body of a 200. Raises `ProviderError`."""
        import httpx

        request = self._http().build_request("POST", self._url, content=self._body(texts))
        try:
            response = await self._http().send(request, stream=True)
            try:
                if response.status_code < 400 and response.status_code != 200:
                    raise _not_the_protocol(f"has status {response.status_code}")
                if response.status_code != 200:
                    raise _rejected(response.status_code, response.headers)
                return await _read(response)
            finally:
                await response.aclose()
        except httpx.TimeoutException as exc:
            raise ProviderTimeout("the embedding service did not answer in time", provider=PROVIDER) from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise ProviderUnreachable("the embedding service cannot be reached", provider=PROVIDER) from exc

    def _body(self, texts: Sequence[str]) -> bytes:
        asked: dict[str, object] = {
            "model": self._settings.embedding_model,
            # Some services refuse the empty text, and UTF-8 has no lone surrogates.
            "input": [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode() or " " for text in texts],
        }
        if self._settings.embedding_dimensions:
            asked["dimensions"] = self._settings.embedding_dimensions
        if not self._ollama:
            asked["encoding_format"] = "float"
        return msgspec.json.encode(asked)

    def _vectors(self, body: bytes, count: int) -> list[bytes]:
        """Raises `ProviderProtocolError`."""
        try:
            found = _read_ollama(body) if self._ollama else _read_openai(body)
        except (msgspec.DecodeError, UnicodeError, binascii.Error, RecursionError) as exc:
            raise _not_the_protocol("is not what its protocol says") from exc
        if len(found) != count:
            raise _not_the_protocol(f"has {len(found)} vectors for {count} texts")
        vectors = [unit_bytes(values) for values in found]
        if any(vector is None for vector in vectors):
            raise _not_the_protocol("has a vector without direction")
        whole = [vector for vector in vectors if vector is not None]
        if self._length is None and whole:
            self._length = len(whole[0]) // 4
        for vector in whole:
            if len(vector) != 4 * (self._length or 0):
                raise _not_the_protocol(f"has a vector of {len(vector) // 4} numbers, not {self._length}")
        return whole

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            headers = {"content-type": "application/json", "accept": "application/json"}
            if self._settings.embedding_api_key:
                headers["authorization"] = f"Bearer {self._settings.embedding_api_key}"
            # A proxy of the environment would take texts for a local service elsewhere. Redirects are not followed
            # for the same reason.
            self._client = httpx.AsyncClient(
                headers=headers, timeout=self._settings.embedding_timeout_s, trust_env=not self.local
            )
        return self._client


def is_local(url: str) -> bool:
    """Whether the host is `localhost`, or a loopback or private address written out: names may change where they lead.

    Raises `ConfigError` for what is no http address.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        _ = parts.port
    except ValueError as exc:
        raise ConfigError("embedding_url is not an address") from exc
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("embedding_url is not an http or https address")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise _not_the_protocol(f"is larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _read_openai(body: bytes) -> list[Sequence[float]]:
    """In the order of `index`, which services do not promise to be the order of the list."""
    data = msgspec.json.decode(body, type=_OpenAIAnswer).data
    if {vector.index for vector in data} != set(range(len(data))):
        raise _not_the_protocol("numbers its vectors wrongly")
    return [_numbers(vector.embedding) for vector in sorted(data, key=lambda vector: vector.index)]


def _read_ollama(body: bytes) -> list[Sequence[float]]:
    return list(msgspec.json.decode(body, type=_OllamaAnswer).embeddings)


def _numbers(embedding: list[float] | str) -> Sequence[float]:
    """A list, or base64 of little-endian float32."""
    if not isinstance(embedding, str):
        return embedding
    import numpy as np

    data = base64.b64decode(embedding, validate=True)
    if len(data) % 4:
        raise _not_the_protocol("has a vector that is cut")
    numbers: list[float] = np.frombuffer(data, dtype="<f4").tolist()
    return numbers


def _rejected(status: int, headers: Mapping[str, str]) -> ProviderRejected:
    """Without the service's own words, which may quote the texts or the key."""
    return ProviderRejected(
        f"the embedding service answered {status}",
        status=status,
        provider=PROVIDER,
        retry_after_s=_retry_after_s(headers.get("retry-after", "")),
    )


def _retry_after_s(value: str) -> float | None:
    """Seconds, or a date (RFC 9110 section 10.2.3); None where there is neither."""
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _not_the_protocol(what: str) -> ProviderProtocolError:
    error = ProviderProtocolError(f"the embedding service's answer {what}", provider=PROVIDER)
    # The same texts would be answered the same.
    error.retryable = False
    return error


def _first(group: BaseExceptionGroup[ProviderError]) -> ProviderError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ProviderError)  # noqa: S101 - `except*` took no other
    return error
