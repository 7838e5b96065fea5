"""Which answer a request gets: routing, authentication, scripts, and the faults that replace an answer."""

from __future__ import annotations

from typing import Any

import msgspec

from . import ollama_format, openai_format
from .answer import Answer, Frame
from .plan import HTML, Plan, plan
from .script import Script

OPENAI_CHAT = "/v1/chat/completions"
OLLAMA_CHAT = "/api/chat"
CHAT_PATHS = frozenset({OPENAI_CHAT, OLLAMA_CHAT})
MESSAGES = {
    400: ("Invalid value.", "invalid_request_error", None),
    401: ("Incorrect API key provided: {key}. You can find your API key at https://example.invalid.",
          "invalid_request_error", "invalid_api_key"),
    403: ("Project with key {key} has no access to this model.", "invalid_request_error", "model_forbidden"),
    404: ("The model does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
}  # fmt: skip
SERVER_ERROR = ("The server had an error while processing your request.", "server_error", None)


def plain_plan(path: str, models: list[str]) -> Plan:
    """Everything that is not a chat."""
    match path:
        case "/v1/models":
            answer = _json_answer(openai_format.models_body(models))
        case "/api/tags":
            answer = _json_answer(ollama_format.tags_body(models))
        case "/api/version":
            answer = _json_answer(ollama_format.VERSION)
        case "/":
            answer = Answer(200, "text/plain; charset=utf-8", [Frame(b"Ollama is running")])
        case _:
            answer = Answer(404, "text/plain", [Frame(b"404 page not found")])
    return plan(answer, {}, sse=False, fault_frame=b"")


def refused_plan(path: str, status: int, key: str) -> Plan:
    return plan(_error(path, status, key), {}, sse=False, fault_frame=b"")


def chat_plan(path: str, body: dict[str, Any], script: Script, faults: dict[str, str], key: str) -> Plan:
    """The scripted answer. `faults` are those in force; `key` is the bearer key, echoed as careless servers do."""
    script = msgspec.structs.replace(script, fault="+".join(faults))
    fault = next((name for name in faults if name in _FRAME_FAULTS), "")
    module = openai_format if path == OPENAI_CHAT else ollama_format
    answer = _replacing(path, body, faults, key)
    if answer is None:
        streams = bool(body.get("stream", path == OLLAMA_CHAT)) and "json_answer" not in faults
        answer = module.stream(body, script) if streams else module.whole(body, script)
    return plan(answer, faults, sse=path == OPENAI_CHAT, fault_frame=module.fault_frame(fault))


def _replacing(path: str, body: dict[str, Any], faults: dict[str, str], key: str) -> Answer | None:
    """The answer of a fault that replaces it."""
    if "status" in faults:
        return _error(path, int(faults["status"]), key)
    if str(body.get("model", "")).startswith("missing"):
        return _error(path, 404, key)
    if "reject_stream_options" in faults and "stream_options" in body:
        return openai_format.error_answer(400, "Unrecognized request argument supplied: stream_options", code=None)
    if "html" in faults or "html_200" in faults:
        return Answer(502 if "html" in faults else 200, "text/html", [Frame(HTML)])
    if "error_200" in faults:
        return _error(path, 500, key)._replace(status=200)
    if "redirect" in faults:
        return Answer(302, "text/html", [Frame(b"<a href='/elsewhere'>Found</a>")], (("Location", "/elsewhere"),))
    return None


_FRAME_FAULTS = frozenset({"garbage", "not_a_chunk", "error_mid", "error_event"})


def _error(path: str, status: int, key: str) -> Answer:
    message, kind, code = MESSAGES.get(status, SERVER_ERROR)
    message = message.format(key=key)
    if path.startswith("/api/"):
        return ollama_format.error_answer(status, message)
    return openai_format.error_answer(status, message, code=code, kind=kind)


def _json_answer(value: object) -> Answer:
    return Answer(200, "application/json", [Frame(msgspec.json.encode(value))])
