"""Gemini's `generateContent` on the wire, after `google.genai.types`: SSE with CRLF line ends, as Google sends it.

`refusal` blocks the prompt. `finish_reason` may be canonical or Google's own (`MALFORMED_FUNCTION_CALL`). A wrong key
is answered with 400, as Google does.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import msgspec

from .answer import Answer, Frame, middle_of, paced
from .script import Script, split_words

SSE = True
SIGNATURE = "EjQKMgEMOdbHfakeSignatureOfAThoughtAAAA="
_CHAT = re.compile(r"/v1(?:alpha|beta)?/(?:models|tunedModels)/([^/]+):((?:streamG|g)enerateContent)")
_MODELS = re.compile(r"/v1(?:alpha|beta)/models")
_FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_RPC = "type.googleapis.com/google.rpc."
_RATINGS = [
    {"category": f"HARM_CATEGORY_{name}", "probability": "NEGLIGIBLE"}
    for name in ("SEXUALLY_EXPLICIT", "HATE_SPEECH", "HARASSMENT", "DANGEROUS_CONTENT")
]


def is_chat(path: str) -> bool:
    return _CHAT.fullmatch(path) is not None


def key_of(headers: dict[str, str]) -> str:
    return headers.get("x-goog-api-key", "")


def body_of(path: str, body: dict[str, Any]) -> dict[str, Any]:
    match = _CHAT.fullmatch(path)
    return body | {"model": unquote(match[1]) if match else ""}


def prompt_of(body: dict[str, Any]) -> str | None:
    for content in reversed(body.get("contents") or []):
        if content.get("role", "user") == "user":
            return next((part["text"] for part in content.get("parts") or [] if "text" in part), None)
    return None


def streams(path: str, body: dict[str, Any]) -> bool:
    return path.endswith(":streamGenerateContent")


def plain(path: str, headers: dict[str, str], models: list[str]) -> object:
    return models_body(models) if _MODELS.fullmatch(path) else None


def error(status: int, message: str, code: str | None, kind: str) -> Answer:
    details: list[dict[str, Any]] = []
    if status == 401:
        status, message = 400, "API key not valid. Please pass a valid API key."
        details.append({"@type": f"{_RPC}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"})
    elif status == 429:
        quota = {"quotaMetric": "generate_content_requests", "quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}
        details.append({"@type": f"{_RPC}QuotaFailure", "violations": [quota]})
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": "37s"})
    body = msgspec.json.format(_json(error_body(status, message, details)), indent=2) + b"\n"
    return Answer(status, "application/json; charset=UTF-8", [Frame(body)])


def error_body(status: int, message: str, details: list[dict[str, Any]]) -> dict[str, Any]:
    inner = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
    return {"error": inner | ({"details": details} if details else {})}


def models_body(models: list[str]) -> dict[str, Any]:
    """Each of them, and one that only embeds."""
    methods = {model: ["generateContent", "countTokens"] for model in models} | {"embedding-1": ["embedContent"]}
    return {
        "models": [
            {"name": f"models/{name}", "version": "001", "displayName": name, "inputTokenLimit": 1_048_576,
             "outputTokenLimit": 65_536, "supportedGenerationMethods": can, "temperature": 1, "topP": 0.95, "topK": 64}
            for name, can in methods.items()
        ]
    }  # fmt: skip


def whole(body: dict[str, Any], script: Script) -> Answer:
    """The answer of `generateContent`, which is one chunk with everything in it."""
    parts = _parts(script)
    data: dict[str, Any] = _blocked() if script.refusal else {
        "candidates": [_candidate(index, parts, script) for index in range(_choices(body, script))]
    }  # fmt: skip
    answer = data | _tail(body, script, len(parts))
    return Answer(200, "application/json; charset=UTF-8", [Frame(_json(answer), script.first_delay_ms)])


def stream(body: dict[str, Any], script: Script) -> Answer:
    """Every frame. Without `no_finish`, `no_done` and `cut_clean` the last of each candidate has its finishReason."""
    faults = script.faults()
    end = b"\n\n" if faults.keys() & {"crlf", "cr"} else b"\r\n\r\n"
    frames: list[Frame] = []

    def chunk(data: dict[str, Any], tokens: int, *, token: bool = False) -> None:
        payload = _json(data | _tail(body, script, tokens))
        frames.append(Frame(b"data: " + payload + end, script.delay_ms if token else 0, token))

    n = _choices(body, script)
    parts = [] if script.refusal else _parts(script)
    for count, part in enumerate(parts, 1):
        for index in range(n):
            chunk({"candidates": [_candidate(index, [part], script, last=False)]}, count, token=True)
    mid = middle_of(frames, script.middle() * n)
    if faults.keys() & {"no_finish", "no_done", "cut_clean"}:
        frames = frames[:mid]
    elif script.refusal:
        chunk(_blocked(), 0)
    else:
        for index in range(n):
            ending: dict[str, Any] = {"text": ""} | ({"thoughtSignature": SIGNATURE} if _signs(script) else {})
            chunk({"candidates": [_candidate(index, [ending], script)]}, len(parts))
    frames = paced(frames, first_ms=script.first_delay_ms, batch=script.batch)
    return Answer(200, "text/event-stream", frames, (("server-timing", "gfet4t7; dur=312"),), mid=mid)


def fault_frame(fault: str) -> bytes:
    overloaded = _json(error_body(503, "The model is overloaded. Please try again later.", []))
    match fault:
        case "garbage":
            return b"data: {this is not json\r\n\r\n"
        case "not_a_chunk":
            return b'data: {"hello": [1, 2, 3]}\r\n\r\n'
        case "error_event":  # on lines of its own, without `data:`
            return msgspec.json.format(overloaded, indent=2).replace(b"\n", b"\r\n") + b"\r\n"
        case _:
            return b"data: " + overloaded + b"\r\n\r\n"


def _parts(script: Script) -> list[dict[str, Any]]:
    """One part a token, in the order of the models that think first; the first call carries the signature."""
    parts: list[dict[str, Any]] = [{"text": piece, "thought": True} for piece in split_words(script.reasoning)]
    for at, call in enumerate(script.tool_calls):
        made = {"name": call.name, "args": call.arguments} | ({"id": call.id} if call.id else {})
        signed = script.reasoning and at == 0
        parts.append({"functionCall": made} | ({"thoughtSignature": SIGNATURE} if signed else {}))
    if script.tool_calls and script.text is None:
        return parts
    return parts + [{"text": piece} for piece in script.pieces()]


def _signs(script: Script) -> bool:
    """Whether the signature comes with the last text, which may be empty."""
    return bool(script.reasoning) and not script.tool_calls


def _candidate(index: int, parts: list[dict[str, Any]], script: Script, *, last: bool = True) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
    if last:
        reason = script.finish_reason or "stop"
        candidate["finishReason"] = _FINISH.get(reason, reason)
        if candidate["finishReason"] == "SAFETY":
            candidate["safetyRatings"] = [*_RATINGS[:-1], _RATINGS[-1] | {"probability": "HIGH", "blocked": True}]
    tokens = [part["text"] for part in parts if part.get("text") and not part.get("thought")]
    if script.logprobs and tokens:
        chosen = [{"token": token, "tokenId": 1, "logProbability": -0.25} for token in tokens]
        candidate["logprobsResult"] = {
            "chosenCandidates": chosen,
            "topCandidates": [{"candidates": [c]} for c in chosen],
        }
    return candidate | {"index": index}


def _blocked() -> dict[str, Any]:
    return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": _RATINGS}}


def _tail(body: dict[str, Any], script: Script, tokens: int) -> dict[str, Any]:
    """What stands in every frame. Counts are cumulative."""
    facts = {"modelVersion": f"{body.get('model')}-001", "responseId": "aZ3KaP-vH5uxkdUP4Pu0gAo"}
    if script.usage is False:
        return facts
    thoughts = min(len(split_words(script.reasoning)), tokens)
    prompt = sum(len(str(part.get("text", "")).split()) + 3 for content in body.get("contents") or []
                 for part in content["parts"])  # fmt: skip
    usage: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": tokens - thoughts,
        "totalTokenCount": prompt + tokens,
        "cachedContentTokenCount": 2,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    return {"usageMetadata": usage} | facts


def _choices(body: dict[str, Any], script: Script) -> int:
    return script.n or int((body.get("generationConfig") or {}).get("candidateCount") or 1)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
