"""Any async generator becomes a durable stream that survives a reload of the page.

Start it with `uv run examples/plain_generator.py`, open http://127.0.0.1:8001, and reload while the answer comes: the
page goes on exactly where it was. Kill this program and start it again: the page keeps what it had, then says that the
answer was interrupted, because the generator died with its process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from headwater import Headwater

hw = Headwater(data_dir=os.environ.get("EXAMPLE_DATA_DIR", ".headwater-example"))
app = FastAPI(lifespan=hw.lifespan)


async def answer(question: str) -> AsyncIterator[str]:
    """Your model call, chain or agent goes here. What it yields is the answer."""
    for word in f"You asked: {question}. A river remembers its spring, and so does this stream.".split():
        yield word + " "
        await asyncio.sleep(float(os.environ.get("EXAMPLE_PAUSE_S", "0.3")))


@app.get("/answers/{key}")
async def stream(request: Request, key: str, question: str = "") -> Response:
    # The key names the answer: whoever asks for it again gets the same stream, and the generator runs once.
    return await hw.respond(lambda: answer(question), request=request, key=key)


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    return PAGE


PAGE = """<!doctype html>
<meta charset="utf-8"><title>Headwater: a plain generator</title>
<style>body { font: 1.1rem/1.6 system-ui; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }</style>
<form><input id="question" value="What is a headwater?" size="40"> <button>Ask</button></form>
<p id="answer" aria-live="polite"></p>
<script>
const answer = document.getElementById("answer");

function show(key, question) {
  answer.textContent = "";
  const source = new EventSource(`/answers/${key}?question=${encodeURIComponent(question)}`);
  source.addEventListener("text", (event) => { answer.textContent += JSON.parse(event.data).text; });
  source.addEventListener("reset", () => { answer.textContent = ""; });
  source.addEventListener("done", () => source.close());
  source.addEventListener("error", (event) => {
    // Without data it is the browser's own: the connection broke, and it reconnects by itself.
    if (!event.data) return;
    answer.textContent += ` [${JSON.parse(event.data).message}]`;
    source.close();
  });
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = crypto.randomUUID();
  const question = document.getElementById("question").value;
  location.hash = new URLSearchParams({ key, question });
  show(key, question);
});

const asked = new URLSearchParams(location.hash.slice(1));
if (asked.has("key")) show(asked.get("key"), asked.get("question"));
</script>
"""

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8001")))
