"""OpenAI's Responses API on the wire, as api.openai.com sends it, with responses that go on in the background."""

from __future__ import annotations

from typing import Any

import msgspec

from .answer import Answer, Frame, middle_of, paced
from .openai_format import CREATED, error, key_of
from .script import Script, prompt_tokens, split_words

__all__ = ["body_of", "error", "fault_frame", "is_chat", "key_of", "plain", "prompt_of", "stream", "streams", "whole"]

SSE = True
CHAT = "/v1/responses"
ID = "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b"
_PADDING = "Kq3vXb8LmT0aWz5C"


def is_chat(path: str) -> bool:
    return path == CHAT


def body_of(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return body


def prompt_of(body: dict[str, Any]) -> str | None:
    given = body.get("input") or []
    if isinstance(given, str):
        return given
    content = next((item.get("content") for item in reversed(given) if item.get("role") == "user"), None)
    if isinstance(content, list):
        content = next((part["text"] for part in content if part.get("type") == "input_text"), "")
    return content


def streams(path: str, body: dict[str, Any]) -> bool:
    return bool(body.get("stream"))


def plain(path: str, headers: dict[str, str], models: list[str]) -> object:
    """Nothing of its own: the model list is that of chat completions."""
    return None


def whole(body: dict[str, Any], script: Script) -> Answer:
    """The `response` object; of a background response what is known at once: that it is queued."""
    response = _response(body, "queued") if body.get("background") else _ended(body, script)
    return Answer(200, "application/json", [Frame(_json(response), script.first_delay_ms)])


def settled(body: dict[str, Any], script: Script, *, cancelled: bool) -> Answer:
    """The `response` object of a background response that nothing more is added to."""
    response = _response(body, "cancelled") if cancelled else _ended(body, script)
    return Answer(200, "application/json", [Frame(_json(response))])


def stream(body: dict[str, Any], script: Script) -> Answer:
    """Every event of the stream; faults inside it are applied here."""
    faults = script.faults()
    frames = events(body, script)
    if faults.keys() & {"no_finish", "cut_clean"}:
        frames = frames[: middle_of(frames, script.middle())]
    elif "no_done" in faults:
        frames = frames[:-1]
    return streamed(frames, script)


def streamed(frames: list[Frame], script: Script) -> Answer:
    return Answer(
        200,
        "text/event-stream; charset=utf-8",
        paced(frames, first_ms=script.first_delay_ms, batch=script.batch),
        (("openai-processing-ms", "12"), ("cache-control", "no-cache")),
        mid=middle_of(frames, script.middle()),
    )


def fault_frame(fault: str) -> bytes:
    """The frame of an in-band fault. `error_event` has its facts in `error`, as seen in the field."""
    facts = {"code": "server_error", "message": "The server had an error while processing your request.", "param": None}
    match fault:
        case "garbage":
            return b"event: response.output_text.delta\ndata: {this is not json\n\n"
        case "not_a_chunk":
            return b'data: {"hello": [1, 2, 3]}\n\n'
        case "error_event":
            return frame_of({"type": "error", "sequence_number": 999, "error": {"type": "server_error", **facts}})
        case _:
            return frame_of({"type": "error", "sequence_number": 999, **facts})


def frame_of(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _json(event))


def events(body: dict[str, Any], script: Script, *, cancelled: bool = False) -> list[Frame]:
    """The frames of the whole answer, from number 0 on; of a cancelled one those before its middle, and its end."""
    made = _Events(body, script)
    made.lifecycle("created", _response(body, "queued" if body.get("background") else "in_progress"))
    if body.get("background"):
        made.lifecycle("queued", _response(body, "queued"))
    made.lifecycle("in_progress", _response(body, "in_progress"))
    for index, item in enumerate(_items(script)):
        made.item(index, item)
    if cancelled:
        del made.frames[middle_of(made.frames, script.middle()) :]
    response = _response(body, "cancelled") if cancelled else _ended(body, script)
    made.lifecycle(response["status"], response)
    return made.frames


class _Events:
    def __init__(self, body: dict[str, Any], script: Script) -> None:
        self.frames: list[Frame] = []
        self._script = script
        self._padded = (body.get("stream_options") or {}).get("include_obfuscation") is not False

    def lifecycle(self, name: str, response: dict[str, Any]) -> None:
        self._add(f"response.{name}", response=response)

    def item(self, index: int, item: dict[str, Any]) -> None:
        begun = {**item, "status": "in_progress"}
        begun |= {name: empty for name, empty in _BEGUN.items() if name in item}
        self._add("response.output_item.added", output_index=index, item=begun)
        where = {"item_id": item["id"], "output_index": index}
        match item["type"]:
            case "reasoning":
                self._summary(where, item["summary"])
            case "message":
                self._content(where, item["content"][0])
            case _:
                text = item["arguments"]
                for piece in [text[at : at + 6] for at in range(0, len(text), 6)]:
                    self._delta("response.function_call_arguments.delta", piece, **where)
                self._add("response.function_call_arguments.done", **where, name=item["name"], arguments=text)
        self._add("response.output_item.done", output_index=index, item=item)

    def _summary(self, where: dict[str, Any], parts: list[dict[str, Any]]) -> None:
        for index, part in enumerate(parts):
            at = {**where, "summary_index": index}
            self._add("response.reasoning_summary_part.added", **at, part={**part, "text": ""})
            for piece in split_words(part["text"]):
                self._delta("response.reasoning_summary_text.delta", piece, **at)
            self._add("response.reasoning_summary_text.done", **at, text=part["text"])
            self._add("response.reasoning_summary_part.done", **at, part=part)

    def _content(self, where: dict[str, Any], part: dict[str, Any]) -> None:
        kind = part["type"]
        field = "refusal" if kind == "refusal" else "text"
        at = {**where, "content_index": 0}
        begun = {**part, field: ""} | ({} if kind == "refusal" else {"logprobs": []})
        self._add("response.content_part.added", **at, part=begun)
        refused = split_words(self._script.refusal)
        for piece in refused if kind == "refusal" else self._script.pieces():
            logprobs = {} if kind == "refusal" else {"logprobs": _logprobs(self._script, [piece])}
            self._delta(f"response.{kind}.delta", piece, **at, **logprobs)
        rest = {} if kind == "refusal" else {"logprobs": part["logprobs"]}
        self._add(f"response.{kind}.done", **at, **{field: part[field]}, **rest)
        self._add("response.content_part.done", **at, part=part)

    def _delta(self, kind: str, piece: str, **fields: Any) -> None:
        if self._padded:
            fields["obfuscation"] = _PADDING[len(piece) % 16 :]
        self._add(kind, token=True, delta=piece, **fields)

    def _add(self, kind: str, *, token: bool = False, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": len(self.frames), **fields}
        self.frames.append(Frame(frame_of(event), self._script.delay_ms if token else 0, token))


# What an item has not got yet when it begins.
_BEGUN: dict[str, Any] = {"summary": [], "content": [], "arguments": ""}


def _items(script: Script) -> list[dict[str, Any]]:
    """The output, in the order of the models that think first. Paragraphs of the thinking are parts of its summary."""
    items: list[dict[str, Any]] = []
    if script.reasoning:
        parts = [{"type": "summary_text", "text": text} for text in script.reasoning.split("\n\n")]
        items.append({"id": "rs_1", "type": "reasoning", "status": "completed", "summary": parts})
    calls = [] if script.refusal else script.tool_calls
    for index, call in enumerate(calls):
        items.append({
            "id": f"fc_{index}", "type": "function_call", "status": "completed", "name": call.name,
            "call_id": call.id or f"call_{index}", "arguments": _json(call.arguments).decode(),
        })  # fmt: skip
    if script.refusal:
        items.append(_message({"type": "refusal", "refusal": script.refusal}))
    elif not calls or script.text is not None:
        logprobs = _logprobs(script, script.pieces())
        part = {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": script.answer()}
        items.append(_message(part))
    return items


def _message(part: dict[str, Any]) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _logprobs(script: Script, pieces: list[str]) -> list[dict[str, Any]]:
    if not script.logprobs:
        return []
    return [
        {"token": piece, "logprob": -0.25, "bytes": list(piece.encode()), "top_logprobs": []} for piece in pieces
    ]  # fmt: skip


_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _ended(body: dict[str, Any], script: Script) -> dict[str, Any]:
    reason = _INCOMPLETE.get(script.finish_reason or "")
    response = _response(body, "incomplete" if reason else "completed")
    response["output"] = _items(script)
    response["service_tier"] = "default"
    if reason:
        response["incomplete_details"] = {"reason": reason}
    if script.usage is not False:
        response["usage"] = usage(body, script)
    return response


def usage(body: dict[str, Any], script: Script) -> dict[str, Any]:
    given = body.get("input") or []
    items = [{"content": given}] if isinstance(given, str) else given
    read = prompt_tokens({"messages": [{"content": _text(item.get("content"))} for item in items]})
    written = sum(frame.token for frame in events({}, msgspec.structs.replace(script, usage=False)))
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": len(split_words(script.reasoning))},
        "total_tokens": read + written,
    }


def _text(content: Any) -> str:
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content or [])


def _response(body: dict[str, Any], status: str) -> dict[str, Any]:
    """The object as it is before its end."""
    return {
        "id": body.get("id", ID),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": bool(body.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": f"{body.get('model')}-2026-01-01",
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": body.get("service_tier", "auto"),
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_logprobs": body.get("top_logprobs", 0),
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": None,
        "user": body.get("user"),
    }


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
