"""A stream of the `openai` SDK as a durable response that `openai` clients read unchanged.

Start it with `uv run examples/openai_sdk.py`, with `OPENAI_API_KEY` and, for another server than OpenAI's own,
`OPENAI_BASE_URL` set. Then ask:

    curl -N http://127.0.0.1:8002/chat -H 'content-type: application/json' -H 'idempotency-key: first' \
         -d '{"question": "Why is the sky blue?"}'

Interrupt curl in mid-answer and send the same line again: the model is not asked a second time. With
`-H 'last-event-id: <the last id: you saw>'` only the rest comes.
"""

from __future__ import annotations

import os
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header, Request, Response
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from headwater import Headwater

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")

hw = Headwater(data_dir=os.environ.get("EXAMPLE_DATA_DIR", ".headwater-example"))
app = FastAPI(lifespan=hw.lifespan)
client = AsyncOpenAI()


class Question(BaseModel):
    question: str


async def ask(question: str) -> AsyncStream[ChatCompletionChunk]:
    return await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
    )


@app.post("/chat")
async def chat(request: Request, body: Question, idempotency_key: Annotated[str | None, Header()] = None) -> Response:
    return await hw.respond(
        lambda: ask(body.question), dialect="openai_chat", request=request, key=idempotency_key, model=MODEL
    )


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8002")))
