"""A stand-in for `airefinery-sdk` 1.33.2: its surface and, what matters here, its faults, over real sockets.

The same names and signatures (`AsyncAIRefinery(api_key, base_url, default_headers)`, `chat.completions.create`,
`models.list`), the same typed chunks (pydantic models that are mappings, with a closed list of finish reasons and no
reasoning in a delta), the same two errors with their messages; a comment frame ends its stream.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, MutableMapping
from types import SimpleNamespace
from typing import Any, Literal

import aiohttp
import httpx
from pydantic import BaseModel


class SSEStreamError(RuntimeError): ...


class ChunkValidationError(SSEStreamError): ...


class _Model(BaseModel, MutableMapping):  # type: ignore[type-arg]
    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __delitem__(self, key: str) -> None:
        raise TypeError(key)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(type(self).model_fields)

    def __len__(self) -> int:
        return len(type(self).model_fields)


class _Function(_Model):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(_Model):
    index: int
    id: str | None = None
    function: _Function | None = None
    type: Literal["function"] | None = None


class _Delta(_Model):
    content: str | None = None
    refusal: str | None = None
    role: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _ChoiceChunk(_Model):
    index: int
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"] | None = None
    delta: _Delta
    logprobs: Any = None


class _Usage(_Model):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    completion_tokens_details: Any = None
    prompt_tokens_details: Any = None


class _Chunk(_Model):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[_ChoiceChunk]
    usage: _Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class _Message(_Model):
    role: str
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: Any = None


class _Choice(_Model):
    index: int
    finish_reason: str | None
    message: _Message


class _Completion(_Model):
    id: str
    object: str
    created: int
    model: str
    choices: list[_Choice]
    usage: _Usage | None = None


class _Completions:
    def __init__(self, base_url: str, headers: dict[str, str]) -> None:
        self._base_url = base_url
        self._headers = headers

    async def create(
        self,
        *,
        model: str,
        messages: list[Any],
        timeout: float | None = None,  # noqa: ASYNC109 -- the SDK's own signature
        extra_headers: dict[str, str] | None = None,
        extra_body: object | None = None,
        **kwargs: Any,
    ) -> Any:
        body = {"model": model, "messages": messages, "extra_body": extra_body, **kwargs}
        url = f"{self._base_url}/v1/chat/completions"
        if kwargs.get("stream"):
            return self._stream(url, body)
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=self._headers) as response:
            response.raise_for_status()
            return _Completion.model_validate(await response.json())

    async def _stream(self, url: str, body: dict[str, Any]) -> AsyncGenerator[_Chunk, None]:
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=self._headers) as response:
            response.raise_for_status()
            buffer = ""
            async for data in response.content.iter_any():
                buffer += data.decode()
                while "\n\n" in buffer:
                    frame, buffer = buffer.split("\n\n", 1)
                    chunk = _chunk_of(frame)
                    if chunk is None:
                        return
                    yield chunk


def _chunk_of(frame: str) -> _Chunk | None:
    lines = [line for line in frame.split("\n") if not line.startswith((":", "event:"))]
    data = "\n".join(line.removeprefix("data:").strip() for line in lines)
    if data in ("", "[DONE]"):
        return None
    if "event: error" in frame:
        raise SSEStreamError(f"Upstream SSE error event: {data}")
    try:
        value = json.loads(data)
    except ValueError as exc:
        raise SSEStreamError(f"Failed to parse SSE JSON frame: {data!r}") from exc
    if "error" in value:
        raise SSEStreamError(f"Upstream error payload: {value}")
    try:
        return _Chunk.model_validate(value)
    except ValueError as exc:
        raise ChunkValidationError(f"Invalid chunk payload (strict streaming): {value}") from exc


class _Models:
    def __init__(self, base_url: str, headers: dict[str, str]) -> None:
        self._base_url = base_url
        self._headers = headers

    async def list(self) -> Any:
        url = f"{self._base_url}/v1/models"
        async with aiohttp.ClientSession() as session, session.get(url, headers=self._headers) as response:
            response.raise_for_status()
            data = (await response.json())["data"]
        return SimpleNamespace(data=[SimpleNamespace(id=model["id"]) for model in data])


class AuthenticationError(Exception): ...


class AsyncAIRefinery:
    """Asks the server about the key before it is made, blocking, and takes every failure for a wrong key."""

    def __init__(self, api_key: str, base_url: str = "", default_headers: dict[str, str] | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}", **(default_headers or {})}
        try:
            httpx.post(f"{base_url}/authentication/validate", headers=headers).raise_for_status()
        except httpx.HTTPError as exc:
            raise AuthenticationError(str(exc)) from None
        self.chat = SimpleNamespace(completions=_Completions(base_url, headers))
        self.models = _Models(base_url, headers)
