"""Azure OpenAI on the wire: OpenAI's chat completions with the deployment in the path and the filters' findings.

After https://learn.microsoft.com/azure/ai-services/openai/reference and …/concepts/content-filter: a first chunk with
`prompt_filter_results` and no choices, `content_filter_results` in every choice, and 400 `content_filter` with an
`innererror` for a prompt that is filtered (here: a script with finish_reason `content_filter` and no tokens).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from . import openai_format
from .answer import Answer, Frame
from .script import Script

SSE = True
_CHAT = re.compile(r"/openai/deployments/([^/]+)/chat/completions")
_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_FILTERED = {**_SAFE, "violence": {"filtered": True, "severity": "high"}}

prompt_of = openai_format.prompt_of
streams = openai_format.streams
fault_frame = openai_format.fault_frame


def is_chat(path: str) -> bool:
    return _CHAT.fullmatch(path) is not None


def key_of(headers: dict[str, str]) -> str:
    return headers.get("api-key", "")


def body_of(path: str, body: dict[str, Any]) -> dict[str, Any]:
    found = _CHAT.fullmatch(path)
    return {**body, "model": found[1]} if found else body


def plain(path: str, headers: dict[str, str], models: list[str]) -> object:
    """Base models, which are no deployments."""
    return openai_format.models_body(["gpt-4o-2024-11-20"]) if path == "/openai/models" else None


def error(status: int, message: str, code: str | None, kind: str) -> Answer:
    """Without a type, and where nothing better is known with the status as the code."""
    codes = {401: "401", 404: "DeploymentNotFound", 429: "429"}
    return _error(status, {"code": codes.get(status, code), "message": message})


def whole(body: dict[str, Any], script: Script) -> Answer:
    if _is_refused(script):
        return _refused()
    answer = openai_format.whole(body, script)
    value = {**msgspec.json.decode(answer.frames[0].data), "prompt_filter_results": _prompt_findings()}
    for choice in value["choices"]:
        choice["content_filter_results"] = _findings(choice)
    return answer._replace(frames=[answer.frames[0]._replace(data=msgspec.json.encode(value))])


def stream(body: dict[str, Any], script: Script) -> Answer:
    if _is_refused(script):
        return _refused()
    answer = openai_format.stream(body, script)
    first = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    head = Frame(_sse({**first, "prompt_filter_results": _prompt_findings()}))
    return answer._replace(frames=[head, *map(_found_in, answer.frames)], mid=answer.mid + 1)


def _found_in(frame: Frame) -> Frame:
    payload = frame.data.removeprefix(b"data: ").strip()
    if payload == b"[DONE]":
        return frame
    value = msgspec.json.decode(payload)
    for choice in value["choices"]:
        choice["content_filter_results"] = _findings(choice)
    return frame._replace(data=_sse(value))


def _findings(choice: dict[str, Any]) -> dict[str, Any]:
    return _FILTERED if choice["finish_reason"] == "content_filter" else _SAFE


def _prompt_findings() -> list[dict[str, Any]]:
    return [{"prompt_index": 0, "content_filter_results": _SAFE}]


def _is_refused(script: Script) -> bool:
    return script.finish_reason == "content_filter" and not script.pieces()


def _refused() -> Answer:
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _FILTERED}
    message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    facts = {"message": message, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
    return _error(400, {**facts, "innererror": inner})


def _error(status: int, facts: dict[str, Any]) -> Answer:
    return Answer(status, "application/json", [Frame(msgspec.json.encode({"error": facts}))])


def _sse(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
