"""A third party's FastAPI application with Headwater in it, for `test_embedding`: middleware and all.

Usage: `embedding_app.py DATA_DIR plain|own`, the second for Headwater's own HTTP protocol under uvicorn. The answer is
the numbers 0 … N-1; `pause_s` between them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.middleware.gzip import GZipMiddleware

from headwater import Headwater
from headwater.server.handoff import HeadwaterHttpProtocol

hw = Headwater(data_dir=sys.argv[1], heartbeat_s=0.2)
app = FastAPI(lifespan=hw.lifespan)
app.mount("/streams-api", hw.asgi())


async def numbers(count: int, pause_s: float) -> AsyncIterator[str]:
    for number in range(count):
        yield f"{number} "
        await asyncio.sleep(pause_s)


@app.get("/{kind}/{key}")
async def answer(request: Request, kind: str, key: str, count: int = 50, pause_s: float = 0.01) -> Response:
    response = await hw.respond(lambda: numbers(count, pause_s), request=request, key=key)
    response.headers["X-Mine"] = kind
    response.set_cookie("mine", kind)
    return response


@app.middleware("http")
async def tag(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """What FastAPI's documentation teaches: it puts a queue between the response and the server."""
    response = await call_next(request)
    response.headers["X-Tagged"] = "yes"
    return response


if "gzip" in sys.argv:
    app.add_middleware(GZipMiddleware)

if __name__ == "__main__":
    uvicorn.run(app, port=0, http=HeadwaterHttpProtocol if "own" in sys.argv else "auto")
