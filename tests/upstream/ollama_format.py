"""Ollama's `/api/chat` on the wire: newline-delimited JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from .answer import Answer, Frame, middle_of, paced
from .script import Script, last_user_text, prompt_tokens, split_words

CREATED_AT = "2026-01-01T00:00:00.000000Z"
VERSION = {"version": "0.12.6"}


SSE = False
CHAT = "/api/chat"


def is_chat(path: str) -> bool:
    return path == CHAT


def key_of(headers: dict[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")


def body_of(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return body


def prompt_of(body: dict[str, Any]) -> str | None:
    return last_user_text(body.get("messages") or [])


def streams(path: str, body: dict[str, Any]) -> bool:
    return bool(body.get("stream", True))


def plain(path: str, headers: dict[str, str], models: list[str]) -> object:
    if path == "/":
        return Answer(200, "text/plain; charset=utf-8", [Frame(b"Ollama is running")])
    return {"/api/tags": tags_body(models), "/api/version": VERSION}.get(path)


def error(status: int, message: str, code: str | None, kind: str) -> Answer:
    return Answer(status, "application/json; charset=utf-8", [Frame(_json({"error": message}))])


def tags_body(models: list[str]) -> dict[str, Any]:
    details = {"format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "1B"}
    return {
        "models": [
            {"name": name, "model": name, "modified_at": CREATED_AT, "size": 815319791, "digest": "0" * 64,
             "details": details | {"parent_model": "", "quantization_level": "Q4_K_M"}}
            for name in models
        ]
    }  # fmt: skip


def whole(body: dict[str, Any], script: Script) -> Answer:
    message: dict[str, Any] = {"role": "assistant", "content": script.answer()}
    if script.reasoning:
        message["thinking"] = script.reasoning
    if script.tool_calls:
        message["tool_calls"] = [_call(at, call.name, call.arguments) for at, call in enumerate(script.tool_calls)]
    tokens = len(split_words(script.reasoning)) + len(script.pieces())
    last = _last(body, script, message, tokens)
    return Answer(200, "application/json; charset=utf-8", [Frame(last, script.first_delay_ms)])


def stream(body: dict[str, Any], script: Script) -> Answer:
    faults = script.faults()
    frames: list[Frame] = []

    def line(message: dict[str, Any]) -> None:
        data = {**_head(body), "message": {"role": "assistant", "content": "", **message}, "done": False}
        frames.append(Frame(_json(data) + b"\n", script.delay_ms, True))

    for piece in split_words(script.reasoning):
        line({"thinking": piece})
    for at, call in enumerate(script.tool_calls):
        line({"tool_calls": [_call(at, call.name, call.arguments)]})
    if not script.tool_calls or script.text is not None:
        for piece in script.pieces():
            line({"content": piece})
    if "no_finish" in faults or "cut_clean" in faults:
        frames = frames[: middle_of(frames, script.middle())]
    elif "no_done" not in faults:
        frames.append(Frame(_last(body, script, {"role": "assistant", "content": ""}, len(frames)) + b"\n"))
    mid = middle_of(frames, script.middle())
    frames = paced(frames, first_ms=script.first_delay_ms, batch=script.batch)
    return Answer(200, "application/x-ndjson", frames, mid=mid)


def fault_frame(fault: str) -> bytes:
    match fault:
        case "garbage":
            return b"{this is not json\n"
        case "not_a_chunk":
            return b'{"hello": [1, 2, 3]}\n'
        case _:
            return b'{"error":"an error was encountered while running the model: CUDA error"}\n'


def _last(body: dict[str, Any], script: Script, message: dict[str, Any], tokens: int) -> bytes:
    counts = {} if script.usage is False else {"prompt_eval_count": prompt_tokens(body), "eval_count": tokens}
    return _json(
        {
            **_head(body),
            "message": message,
            "done": True,
            "done_reason": script.finish_reason or "stop",
            "total_duration": 4_883_583_458,
            "load_duration": 1_334_875,
            **counts,
            "prompt_eval_duration": 342_546_000,
            "eval_duration": 4_535_599_000,
        }
    )


def _head(body: dict[str, Any]) -> dict[str, Any]:
    return {"model": body.get("model"), "created_at": CREATED_AT}


def _call(index: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"function": {"index": index, "name": name, "arguments": arguments}}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
