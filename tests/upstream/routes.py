"""Which answer a request gets: the format by its path, authentication, scripts, and the faults that replace an answer.

A format is a module with this surface (see `openai_format`)::

    SSE: bool                                        whether a streamed body is SSE (else lines of JSON)
    is_chat(path) -> bool                            whether a POST (or GET, where it says so) to this path is a chat
    key_of(headers) -> str                           the API key that the request carries
    body_of(path, body) -> dict                      the body, with what the path says (a model's name) put in
    prompt_of(body) -> str | None                    the text of the last user message, which may carry a script
    streams(path, body) -> bool                      whether a stream was asked for
    stream(body, script), whole(body, script) -> Answer
    fault_frame(fault) -> bytes                      the frame of garbage, not_a_chunk, error_mid, error_event
    error(status, message, code, kind) -> Answer     an HTTP error in the API's own form
    plain(path, headers, models) -> object | None    the JSON of every other path, None where it has none

Adding one is its module, its place in `FORMATS`, and a case in the conformance tests.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec

from . import anthropic_format, azure_format, gemini_format, ollama_format, openai_format, responses_format
from .answer import Answer, Frame
from .plan import HTML, Plan, plan
from .script import Script, going_on

# The first whose `is_chat` or `plain` knows the path; OpenAI's also answers what nobody knows.
FORMATS: tuple[ModuleType, ...] = (
    ollama_format,
    anthropic_format,
    gemini_format,
    azure_format,
    responses_format,
    openai_format,
)
MESSAGES = {
    400: ("Invalid value.", "invalid_request_error", None),
    401: ("Incorrect API key provided: {key}. You can find your API key at https://example.invalid.",
          "invalid_request_error", "invalid_api_key"),
    403: ("Project with key {key} has no access to this model.", "invalid_request_error", "model_forbidden"),
    404: ("The model does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
}  # fmt: skip
SERVER_ERROR = ("The server had an error while processing your request.", "server_error", None)


def chat_format(path: str) -> ModuleType | None:
    """The format whose chat this path is."""
    return next((module for module in FORMATS if module.is_chat(path)), None)


def plain_plan(path: str, headers: dict[str, str], models: list[str]) -> Plan:
    """Everything that is not a chat."""
    for module in FORMATS:
        found = module.plain(path, headers, models)
        if found is not None:
            answer = found if isinstance(found, Answer) else _json_answer(found)
            break
    else:
        answer = Answer(404, "text/plain", [Frame(b"404 page not found")])
    return plan(answer, {}, sse=False, fault_frame=b"")


def refused_plan(path: str, status: int, key: str) -> Plan:
    return plan(_error(chat_format(path) or openai_format, status, key), {}, sse=False, fault_frame=b"")


def chat_plan(path: str, body: dict[str, Any], script: Script, faults: dict[str, str], key: str) -> Plan:
    """The scripted answer. `faults` are those in force; `key` is the caller's key, echoed as careless servers do."""
    script = going_on(msgspec.structs.replace(script, fault="+".join(faults)), body.get("messages"))
    fault = next((name for name in faults if name in FRAME_FAULTS), "")
    module = chat_format(path) or openai_format
    answer = _replacing(module, body, faults, key)
    if answer is None:
        streams = module.streams(path, body) and "json_answer" not in faults
        answer = module.stream(body, script) if streams else module.whole(body, script)
    return plan(answer, faults, sse=module.SSE, fault_frame=module.fault_frame(fault))


def _replacing(module: ModuleType, body: dict[str, Any], faults: dict[str, str], key: str) -> Answer | None:
    """The answer of a fault that replaces it."""
    if "status" in faults:
        return _error(module, int(faults["status"]), key)
    if str(body.get("model", "")).startswith("missing"):
        return _error(module, 404, key)
    if "reject_stream_options" in faults and "stream_options" in body:
        refusal: Answer = module.error(400, "Unrecognized request argument supplied: stream_options", None, "")
        return refusal
    if "html" in faults or "html_200" in faults:
        return Answer(502 if "html" in faults else 200, "text/html", [Frame(HTML)])
    if "error_200" in faults:
        return _error(module, 500, key)._replace(status=200)
    if "redirect" in faults:
        return Answer(302, "text/html", [Frame(b"<a href='/elsewhere'>Found</a>")], (("Location", "/elsewhere"),))
    return None


FRAME_FAULTS = frozenset({"garbage", "not_a_chunk", "error_mid", "error_event"})


def _error(module: ModuleType, status: int, key: str) -> Answer:
    message, kind, code = MESSAGES.get(status, SERVER_ERROR)
    answer: Answer = module.error(status, message.format(key=key), code, kind)
    return answer


def _json_answer(value: object) -> Answer:
    return Answer(200, "application/json", [Frame(msgspec.json.encode(value))])
