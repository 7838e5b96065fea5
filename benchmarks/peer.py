"""What people write without Headwater: a FastAPI route that relays an answer. Nothing is stored, nothing can resume.

`queue`: aiohttp towards the model, a queue between the reading task and the response. `sdk`: the `openai` package and
its pydantic chunks instead. Written plainly, as in the frameworks' own tutorials.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse


async def queue_answer(session: aiohttp.ClientSession, body: dict[str, Any]) -> AsyncIterator[str]:
    """Relay with a reader task and a queue, decoding and encoding each chunk."""
    queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def read() -> None:
        headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
        url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
        async with session.post(url, json=body, headers=headers) as response:
            async for line in response.content:
                if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
                    await queue.put(json.loads(line[6:]))
        await queue.put(None)

    reader = asyncio.create_task(read())
    while (chunk := await queue.get()) is not None:
        yield f"data: {json.dumps(chunk)}\n\n"
    await reader
    yield "data: [DONE]\n\n"


async def sdk_answer(client: openai.AsyncOpenAI, body: dict[str, Any]) -> AsyncIterator[str]:
    """Relay with the openai package."""
    async for chunk in await client.chat.completions.create(**body):
        yield f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"
    yield "data: [DONE]\n\n"


def make_app(way: str) -> FastAPI:
    """The application; `way` is `queue` or `sdk`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            app.state.session = session
            app.state.client = openai.AsyncOpenAI() if way == "sdk" else None
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/chat/completions")
    async def completions(request: Request) -> StreamingResponse:
        body = await request.json()
        state = request.app.state
        answer = sdk_answer(state.client, body) if way == "sdk" else queue_answer(state.session, body)
        return StreamingResponse(answer, media_type="text/event-stream")

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False)
