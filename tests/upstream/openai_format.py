"""OpenAI's chat completions on the wire, as api.openai.com and compatible servers send them."""

from __future__ import annotations

from typing import Any

import msgspec

from .answer import Answer, Frame, middle_of, paced
from .script import Script, last_user_text, prompt_tokens, split_words

CREATED = 1_750_000_000
FINGERPRINT = "fp_5e5a7c12"


SSE = True
CHAT = "/v1/chat/completions"


def is_chat(path: str) -> bool:
    return path == CHAT


def key_of(headers: dict[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")


def body_of(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return body


def prompt_of(body: dict[str, Any]) -> str | None:
    return last_user_text(body.get("messages") or [])


def streams(path: str, body: dict[str, Any]) -> bool:
    return bool(body.get("stream"))


def plain(path: str, headers: dict[str, str], models: list[str]) -> object:
    if path == "/authentication/validate":  # what airefinery-sdk asks before anything else
        return {"organization_id": "org"}
    return models_body(models) if path == "/v1/models" else None


def error(status: int, message: str, code: str | None, kind: str) -> Answer:
    body = error_body(message, code=code, kind=kind or "invalid_request_error")
    return Answer(status, "application/json", [Frame(_json(body))])


def error_body(message: str, *, code: str | None, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models_body(models: list[str]) -> dict[str, Any]:
    # The last three as compatible servers (vLLM) have them; airefinery-sdk insists on them.
    more: dict[str, Any] = {"root": "upstream", "parent": None, "permission": []}
    data = [{"id": model, "object": "model", "created": CREATED, "owned_by": "upstream", **more} for model in models]
    return {"object": "list", "data": data}


def whole(body: dict[str, Any], script: Script) -> Answer:
    """`chat.completion`, the answer without streaming."""
    choices = [_whole_choice(script, index) for index in range(_choices(body, script))]
    completion = {**_head(body, "chat.completion"), "choices": choices, "usage": usage(body, script)}
    return Answer(200, "application/json", [Frame(_json(completion), script.first_delay_ms)])


def stream(body: dict[str, Any], script: Script) -> Answer:
    """Every frame of the stream, `[DONE]` included; faults inside frames are applied here."""
    faults = script.faults()
    options = body.get("stream_options") or {}
    with_usage = script.usage if script.usage is not None else bool(options.get("include_usage"))
    n = _choices(body, script)
    deltas = _deltas(script, no_index="no_index" in faults)
    cumulative = "usage_every_chunk" in faults
    frames: list[Frame] = []

    def chunk(choices: list[dict[str, Any]], *, tokens: int | None = None, token: bool = False) -> None:
        data: dict[str, Any] = {**_head(body, "chat.completion.chunk"), "choices": choices}
        if tokens is not None:
            data["usage"] = usage(body, script, tokens)
        elif with_usage:
            data["usage"] = None
        frames.append(Frame(_sse(_json(data)), script.delay_ms if token else 0, token))

    for index in range(n):
        chunk([_delta(index, {"role": "assistant", "content": "", "refusal": None})])
    for count, delta in enumerate(deltas, 1):
        for index in range(n):
            logprobs = _logprobs(delta) if script.logprobs and delta.get("content") else None
            chunk([_delta(index, delta, logprobs)], tokens=count if cumulative else None, token=True)
    if "no_finish" not in faults and "cut_clean" not in faults:
        last = len(deltas) if "usage_on_last" in faults or cumulative else None
        for index in range(n):
            chunk([{**_delta(index, {}), "finish_reason": _finish(script)}], tokens=last)
        if with_usage and "usage_on_last" not in faults:
            chunk([], tokens=len(deltas))
        if "no_done" not in faults:
            frames.append(Frame(_sse(b"[DONE]")))
    else:
        frames = frames[: middle_of(frames, script.middle() * n)]
    return Answer(
        200,
        "text/event-stream; charset=utf-8",
        paced(frames, first_ms=script.first_delay_ms, batch=script.batch),
        (("openai-processing-ms", "12"), ("cache-control", "no-cache")),
        mid=middle_of(frames, script.middle() * n),
    )


def fault_frame(fault: str) -> bytes:
    """The frame of an in-band fault."""
    overloaded = error_body("The server had an error while processing your request.", code=None, kind="server_error")
    match fault:
        case "garbage":
            return b"data: {this is not json\n\n"
        case "not_a_chunk":
            return b'data: {"hello": [1, 2, 3]}\n\n'
        case "error_event":
            return b"event: error\n" + _sse(_json(overloaded))
        case _:
            return _sse(_json(overloaded))


def usage(body: dict[str, Any], script: Script, tokens: int | None = None) -> dict[str, Any]:
    prompt = prompt_tokens(body)
    reasoning = len(split_words(script.reasoning))
    completion = len(_deltas(script)) if tokens is None else tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": min(reasoning, completion), "audio_tokens": 0},
    }


def _deltas(script: Script, *, no_index: bool = False) -> list[dict[str, Any]]:
    """One delta a token, in the order of the models that think first."""
    deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in split_words(script.reasoning)]
    if script.refusal:
        return deltas + [{"refusal": piece} for piece in split_words(script.refusal)]
    for index, call in enumerate(script.tool_calls):
        deltas += _call_deltas(index, call.id or f"call_{index}", call.name, call.arguments, no_index)
    if script.tool_calls and script.text is None:
        return deltas
    return deltas + [{"content": piece} for piece in script.pieces()]


def _call_deltas(index: int, id: str, name: str, arguments: dict[str, Any], no_index: bool) -> list[dict[str, Any]]:
    text = _json(arguments).decode()
    if no_index:
        return [{"tool_calls": [{"id": id, "type": "function", "function": {"name": name, "arguments": text}}]}]
    first = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [text[at : at + 6] for at in range(0, len(text), 6)]
    rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
    return [{"tool_calls": [call]} for call in [first, *rest]]


def _whole_choice(script: Script, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": script.refusal or None}
    if not script.refusal and not (script.tool_calls and script.text is None):
        message["content"] = script.answer()
    if script.reasoning:
        message["reasoning_content"] = script.reasoning
    if script.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id or f"call_{at}",
                "type": "function",
                "function": {"name": call.name, "arguments": _json(call.arguments).decode()},
            }
            for at, call in enumerate(script.tool_calls)
        ]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": _finish(script)}


def _finish(script: Script) -> str:
    return script.finish_reason or ("tool_calls" if script.tool_calls else "stop")


def _choices(body: dict[str, Any], script: Script) -> int:
    return script.n or int(body.get("n") or 1)


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": kind,
        "created": CREATED,
        "model": f"{body.get('model')}-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def _delta(index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}


def _logprobs(delta: dict[str, Any]) -> dict[str, Any]:
    token = delta["content"]
    entry = {"token": token, "logprob": -0.25, "bytes": list(token.encode()), "top_logprobs": []}
    return {"content": [entry], "refusal": None}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _sse(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
