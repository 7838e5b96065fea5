"""Anthropic's Messages on the wire: named SSE events, as api.anthropic.com sends them."""

from __future__ import annotations

from typing import Any

import msgspec

from .answer import Answer, Frame, middle_of, paced
from .script import Script, last_user_text, prompt_tokens, split_words

CREATED_AT = "2026-01-01T00:00:00Z"
REQUEST_ID = "req_011CSHoEeqs5C35K2UUqR7Fy"
SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"

SSE = True
CHAT = "/v1/messages"

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Scripts use OpenAI's words.
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def is_chat(path: str) -> bool:
    return path == CHAT


def key_of(headers: dict[str, str]) -> str:
    """Both headers are good; the SDK's newer releases send the second."""
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


def body_of(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return body


def prompt_of(body: dict[str, Any]) -> str | None:
    return last_user_text(body.get("messages") or [])


def streams(path: str, body: dict[str, Any]) -> bool:
    return bool(body.get("stream"))


def plain(path: str, headers: dict[str, str], models: list[str]) -> object:
    """The model list has OpenAI's path; a request's `anthropic-version` tells whose it is."""
    return models_body(models) if path == "/v1/models" and "anthropic-version" in headers else None


def error(status: int, message: str, code: str | None, kind: str) -> Answer:
    body = _error_body(_KINDS.get(status, "api_error"), message)
    return Answer(status, "application/json", [Frame(_json(body))], (("request-id", REQUEST_ID),))


def models_body(models: list[str]) -> dict[str, Any]:
    data = [
        {"type": "model", "id": model, "display_name": model, "created_at": CREATED_AT, "lifecycle": "active"}
        for model in models
    ]
    ends = {"first_id": models[0], "last_id": models[-1]} if models else {"first_id": None, "last_id": None}
    return {"data": data, "has_more": False, **ends}


def whole(body: dict[str, Any], script: Script) -> Answer:
    """A `message`, the answer without streaming."""
    message = {
        **_head(body),
        "content": [block for block, _ in _blocks(script)],
        **_stop(script),
        "usage": _usage(body, script, _tokens(script)),
    }
    return Answer(200, "application/json", [Frame(_json(message), script.first_delay_ms)], _HEADERS)


def stream(body: dict[str, Any], script: Script) -> Answer:
    """Every event of the stream; faults inside frames are applied here."""
    faults = script.faults()
    start = {**_head(body), "content": [], "stop_reason": None, "stop_sequence": None}
    frames = [
        _event("message_start", message={**start, "usage": _usage(body, script, 1)}),
        _event("ping"),
    ]
    for index, (block, deltas) in enumerate(_blocks(script)):
        frames.append(_event("content_block_start", index=index, content_block=_empty(block)))
        for delta in deltas:
            frame = _event("content_block_delta", index=index, delta=delta)
            token = delta["type"] != "signature_delta"
            frames.append(frame._replace(delay_ms=script.delay_ms if token else 0, token=token))
        frames.append(_event("content_block_stop", index=index))
    mid = middle_of(frames, script.middle())
    if "no_finish" in faults or "cut_clean" in faults:
        frames = frames[:mid]
    else:
        usage = {} if script.usage is False else {"usage": {"output_tokens": _tokens(script)}}
        frames.append(_event("message_delta", delta=_stop(script), **usage))
        if "no_done" not in faults:
            frames.append(_event("message_stop"))
    frames = paced(frames, first_ms=script.first_delay_ms, batch=script.batch)
    return Answer(200, "text/event-stream; charset=utf-8", frames, _HEADERS, mid=mid)


def fault_frame(fault: str) -> bytes:
    """The frame of an in-band fault; errors in mid-answer are always events of their own."""
    match fault:
        case "garbage":
            return b"event: content_block_delta\ndata: {this is not json\n\n"
        case "not_a_chunk":
            return b'event: content_block_delta\ndata: {"hello": [1, 2, 3]}\n\n'
        case _:
            return b"event: error\ndata: " + _json(_error_body("overloaded_error", "Overloaded")) + b"\n\n"


_HEADERS = (("request-id", REQUEST_ID), ("cache-control", "no-cache"))


def _blocks(script: Script) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each content block as a whole, and as its deltas."""
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if script.reasoning:
        pieces = [{"type": "thinking_delta", "thinking": piece} for piece in split_words(script.reasoning)]
        thinking = {"type": "thinking", "thinking": script.reasoning, "signature": SIGNATURE}
        blocks.append((thinking, [*pieces, {"type": "signature_delta", "signature": SIGNATURE}]))
    words = split_words(script.refusal) if script.refusal else script.pieces()
    if script.refusal or not script.tool_calls or script.text is not None:
        text = {"type": "text", "text": "".join(words)}
        blocks.append((text, [{"type": "text_delta", "text": word} for word in words]))
    for at, call in enumerate(() if script.refusal else script.tool_calls):
        json = _json(call.arguments).decode() if call.arguments else ""
        # The first piece is always empty, and the only one of a call without arguments.
        cuts = ["", *(json[cut : cut + 6] for cut in range(0, len(json), 6))]
        use = {"type": "tool_use", "id": call.id or f"toolu_{at:02}", "name": call.name, "input": call.arguments}
        blocks.append((use, [{"type": "input_json_delta", "partial_json": cut} for cut in cuts]))
    return blocks


def _empty(block: dict[str, Any]) -> dict[str, Any]:
    """A block as it begins."""
    match block["type"]:
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
        case "tool_use":
            return {**block, "input": {}}
        case _:
            return {**block, "text": ""}


def _tokens(script: Script) -> int:
    return sum(delta["type"] != "signature_delta" for _, deltas in _blocks(script) for delta in deltas)


def _stop(script: Script) -> dict[str, Any]:
    calls = bool(script.tool_calls) and not script.refusal
    reason = script.finish_reason or ("refusal" if script.refusal else "tool_calls" if calls else "stop")
    return {"stop_reason": _STOP_REASONS.get(reason, reason), "stop_sequence": None}


def _usage(body: dict[str, Any], script: Script, tokens: int) -> dict[str, Any] | None:
    if script.usage is False:
        return None
    return {
        "input_tokens": prompt_tokens(body),
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0},
        "output_tokens": tokens,
        "service_tier": "standard",
    }


def _head(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
    }


def _error_body(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": REQUEST_ID}


def _event(kind: str, **fields: Any) -> Frame:
    data = _json({"type": kind, **fields})
    return Frame(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
