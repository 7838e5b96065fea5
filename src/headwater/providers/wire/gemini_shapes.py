"""The fields of a `GenerateContentResponse` that matter here, typed for msgspec; everything else is skipped unread.

After `google.genai.types`. What stands in every frame but is needed once, at the end (`usageMetadata`,
`safetyRatings`), is left as raw JSON until then.
"""

from __future__ import annotations

import msgspec

from ...events import FinishReason, JsonObject, Usage
from .lenient import decode_lenient

# Another reason is told in the metadata, as it came, beside Done's.
FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"), "content_filter"),
    **dict.fromkeys(("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"), "content_filter"),
    **dict.fromkeys(("MODEL_ARMOR", "ESCALATION"), "content_filter"),
}
# Reasons that Done can tell alone.
PLAIN = frozenset({"STOP", "MAX_TOKENS"})
# Reasons that leave no answer to use: the HTTP status that says as much. The same request may well succeed if it is
# sent again (502), or it cannot (4xx).
FAULTS = {
    **dict.fromkeys(("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"), 502),
    **dict.fromkeys(("MALFORMED_RESPONSE", "OTHER", "IMAGE_OTHER", "NO_IMAGE"), 502),
    "MISSING_THOUGHT_SIGNATURE": 400,
    "PUP_LIMITED_DISABLED": 403,
}


class Function(msgspec.Struct, rename="camel"):
    name: str = ""
    args: JsonObject | None = None
    id: str | None = None


class Part(msgspec.Struct, rename="camel", gc=False):
    """One of its kinds at a time, by Google's word; `thought` and `thought_signature` go with any."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Function | None = None
    executable_code: JsonObject | None = None
    code_execution_result: JsonObject | None = None
    inline_data: JsonObject | None = None
    file_data: JsonObject | None = None


class Content(msgspec.Struct, rename="camel", gc=False):
    parts: list[Part] | None = None


class _Token(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float | None = None


class _Tokens(msgspec.Struct, rename="camel"):
    candidates: list[_Token] | None = None


class Logprobs(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Token] | None = None
    top_candidates: list[_Tokens] | None = None

    def as_openai(self) -> JsonObject:
        """OpenAI's `logprobs` of a choice. Google does not tell the bytes of a token."""
        chosen, tops = self.chosen_candidates or [], self.top_candidates or []
        alternatives = [top.candidates or [] for top in tops] + [[]] * (len(chosen) - len(tops))
        return {
            "content": [
                {**_token(token), "top_logprobs": [_token(top) for top in top_tokens]}
                for token, top_tokens in zip(chosen, alternatives, strict=False)
            ]
        }


class Candidate(msgspec.Struct, rename="camel", gc=False):
    content: Content | None = None
    index: int | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    safety_ratings: msgspec.Raw = msgspec.Raw()
    logprobs_result: Logprobs | None = None
    citation_metadata: JsonObject | None = None
    grounding_metadata: JsonObject | None = None


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None
    safety_ratings: msgspec.Raw = msgspec.Raw()


class Chunk(msgspec.Struct, rename="camel", gc=False):
    candidates: list[Candidate] | msgspec.UnsetType | None = msgspec.UNSET
    prompt_feedback: Feedback | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()
    error: object = None


class FirstChunk(Chunk, rename="camel"):
    """Also the facts that are the same in every frame, so that they are read once."""

    response_id: str | None = None
    model_version: str | None = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_first_chunk = msgspec.json.Decoder(FirstChunk).decode


def _token(token: _Token) -> JsonObject:
    return {"token": token.token, "logprob": token.log_probability, "bytes": None}


def raw_value(raw: msgspec.Raw) -> object:
    """What a field that was left raw says; None where it was not given."""
    data = bytes(raw)
    return decode_lenient(data) if data else None


def usage_of(raw: bytes) -> Usage | None:
    """None where no count was told.

    Google counts the results of its own tools beside the prompt, and thoughts beside the candidates; all are billed.
    """
    usage = decode_lenient(raw) if raw else None
    if not isinstance(usage, dict):
        return None
    if not any(type(usage.get(name)) is int for name in _COUNTS):
        return None
    counts = {name: _count(usage.get(name)) for name in _COUNTS}
    details = {name: value for name, value in usage.items() if name not in _TOLD and value is not None}
    return Usage(
        prompt_tokens=counts["promptTokenCount"] + counts["toolUsePromptTokenCount"],
        completion_tokens=counts["candidatesTokenCount"] + counts["thoughtsTokenCount"],
        reasoning_tokens=counts["thoughtsTokenCount"],
        cached_tokens=_count(usage.get("cachedContentTokenCount")),
        details=details or None,
    )


_COUNTS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
_TOLD = frozenset({"promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount",
                   "totalTokenCount"})  # fmt: skip


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
