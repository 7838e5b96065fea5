from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.errors import ProviderProtocolError, ProviderRejected, ProviderTruncated
from headwater.events import Done, Event, Metadata, Reasoning, Text, ToolCall, Usage, encode_segment
from headwater.providers.wire.gemini_decoder import GeminiDecoder
from tests.unit.providers.kit import sse, whole


def chunk(*parts: dict[str, Any], finish: str | None = None, index: int | None = 0, **fields: Any) -> dict[str, Any]:
    """A chunk with one candidate; `fields` are the candidate's."""
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": index, "finishReason": finish, **fields}
    return {"candidates": [candidate]}


def says(text: str, **fields: Any) -> dict[str, Any]:
    return chunk({"text": text}, **fields)


STOP = says("", finish="STOP")


def decode(*payloads: Any) -> list[Event]:
    events = whole(GeminiDecoder(), sse(*payloads))
    encode_segment(events)
    return events


def test_text_facts_and_usage() -> None:
    """Usage comes with every chunk, cumulative; what Google's own tools read is billed like the prompt."""
    facts = {"modelVersion": "gemini-3-flash-001", "responseId": "r1"}
    early = {"promptTokenCount": 4, "totalTokenCount": 4}
    last = {
        "promptTokenCount": 4,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 3,
        "toolUsePromptTokenCount": 5,
        "cachedContentTokenCount": 1,
        "totalTokenCount": 14,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
        "serviceTier": None,
    }
    end = {"usageMetadata": last, **facts}
    assert decode(says("Hi ") | {"usageMetadata": early} | facts, says("you"), STOP, end) == [
        Metadata({"id": "r1", "model": "gemini-3-flash-001"}),
        Text("Hi "),
        Text("you"),
        Usage(
            9,
            5,
            reasoning_tokens=3,
            cached_tokens=1,
            details={"toolUsePromptTokenCount": 5, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}]},
        ),
        Done("stop"),
    ]


@pytest.mark.parametrize("usage", [None, {}, {"promptTokenCount": None}, [1], {"totalTokenCount": 3}])
def test_without_counts_there_is_no_usage(usage: Any) -> None:
    assert decode(says("a", finish="STOP") | {"usageMetadata": usage}) == [Text("a"), Done("stop")]


def test_counts_of_nothing_are_counts() -> None:
    assert Usage(0, 0) in decode(STOP | {"usageMetadata": {"promptTokenCount": 0}})


def test_one_fact_alone() -> None:
    assert decode(STOP | {"modelVersion": "m"})[0] == Metadata({"model": "m"})
    assert decode(STOP | {"responseId": "r"})[0] == Metadata({"id": "r"})


def test_done_comes_with_the_end_of_the_body_only() -> None:
    """Old models and gateways put STOP on every chunk, and usage may follow it."""
    decoder = GeminiDecoder()
    assert decoder.feed(sse(says("a", finish="STOP"))) == [Text("a")]
    assert decoder.feed(sse(says("b", finish="STOP"), {"usageMetadata": {"promptTokenCount": 1}})) == [Text("b")]
    assert decoder.close() == [Usage(1, 0), Done("stop")]
    assert (decoder.close(), decoder.feed(sse(STOP))) == ([], [])


def test_text_after_a_finish_reason_takes_it_back() -> None:
    """A gateway that writes STOP on chunks without content, then dies: truncation, not success (bifrost #5546)."""
    decoder = GeminiDecoder()
    assert decoder.feed(sse(STOP, STOP, says("a"))) == [Text("a")]
    with pytest.raises(ProviderTruncated):
        decoder.close()


def test_a_chunk_that_adds_nothing_takes_nothing_back() -> None:
    grounded = {"candidates": [{"index": 0, "groundingMetadata": {"webSearchQueries": ["q"]}}]}
    cited = {"candidates": [{"citationMetadata": {"citationSources": [{"uri": "u"}]}}]}
    assert decode(STOP, says(""), {"candidates": None, "usageMetadata": None}, grounded, cited) == [
        Metadata({"grounding_metadata": {"webSearchQueries": ["q"]}}),
        Metadata({"citation_metadata": {"citationSources": [{"uri": "u"}]}}),
        Done("stop"),
    ]


def test_thoughts_and_their_signatures() -> None:
    """Nothing of a chunk with several parts is lost: litellm #36327, #32357."""
    thought = {"text": "hm", "thought": True}
    assert decode(
        chunk(thought, {"text": "so", "thought": True, "thoughtSignature": "S1"}, {"text": "Hi"}),
        chunk({"text": "!", "thoughtSignature": "S2"}),
        chunk({"text": "", "thoughtSignature": "S3"}, {"text": "", "thought": True, "thoughtSignature": "S4"}),
        STOP,
    ) == [
        Reasoning("hm"),
        Reasoning("so", signature="gemini:S1"),
        Text("Hi"),
        Text("!"),
        Reasoning("", signature="gemini:S2"),
        Reasoning("", signature="gemini:S3"),
        Reasoning("", signature="gemini:S4"),
        Done("stop"),
    ]


def test_calls_are_whole_and_numbered_by_choice() -> None:
    first = chunk({"functionCall": {"name": "f", "args": {"a": 1}, "id": "own"}, "thoughtSignature": "S"})
    second = chunk({"functionCall": {"name": "g"}}, {"text": "and", "functionCall": {"name": "h", "args": None}})
    other = chunk({"functionCall": {"name": "f", "args": {}}}, index=1)
    assert decode(first, second, other, chunk(finish="MAX_TOKENS", index=1), STOP) == [
        Reasoning("", signature="gemini:S"),
        ToolCall(0, "own", "f", '{"a":1}'),
        ToolCall(1, "call_0_1", "g", "{}"),
        Text("and"),
        ToolCall(2, "call_0_2", "h", "{}"),
        ToolCall(0, "call_1_0", "f", "{}", choice=1),
        Done("tool_calls", ["tool_calls", "length"]),
    ]


def test_several_candidates_end_each_for_itself() -> None:
    both = {"candidates": [*says("a")["candidates"], *says("b", index=1)["candidates"]]}
    assert decode(both, STOP, says("", finish="SAFETY", index=1)) == [
        Text("a"),
        Text("b", 1),
        Metadata({"choice": 1, "finish_reason": "SAFETY"}),
        Done("stop", ["stop", "content_filter"]),
    ]
    with pytest.raises(ProviderTruncated):
        decode(both, STOP)


def test_other_parts_are_kept_as_metadata() -> None:
    image = {"mimeType": "image/png", "data": "AAAA"}
    ran = {"executableCode": {"language": "PYTHON", "code": "1"}}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    assert decode(chunk(ran, result, {"inlineData": image}, {"videoMetadata": {}}), STOP) == [
        Metadata({"executable_code": ran["executableCode"]}),
        Metadata({"code_execution_result": result["codeExecutionResult"]}),
        Metadata({"inline_data": image}),
        Done("stop"),
    ]


def test_log_probabilities_in_openai_form() -> None:
    token = {"token": "a", "tokenId": 5, "logProbability": -0.5}
    told = {"chosenCandidates": [token, {"token": "b"}], "topCandidates": [{"candidates": [token]}]}
    entry = {"token": "a", "logprob": -0.5, "bytes": None}
    content = [
        {**entry, "top_logprobs": [entry]},
        {"token": "b", "logprob": None, "bytes": None, "top_logprobs": []},
    ]
    assert decode(says("ab", logprobsResult=told), STOP)[0] == Text("ab", logprobs={"content": content})
    # Of another chunk than the text, whether it came with the same read or not.
    assert decode(says("ab"), chunk(finish="STOP", logprobsResult=told))[:2] == [
        Text("ab"),
        Text("", logprobs={"content": content}),
    ]
    assert Text("", logprobs={"content": []}) in decode(
        chunk({"text": "a"}, {"functionCall": {}}, logprobsResult={}), STOP
    )


@pytest.mark.parametrize(
    ("reason", "canonical"),
    [
        *(("STOP", "stop"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length"), ("SAFETY", "content_filter")),
        *(("RECITATION", "content_filter"), ("PROHIBITED_CONTENT", "content_filter"), ("SPII", "content_filter")),
        *(("BLOCKLIST", "content_filter"), ("IMAGE_SAFETY", "content_filter"), ("OF_THE_FUTURE", "stop")),
    ],
)
def test_finish_reasons(reason: str, canonical: str) -> None:
    ratings = [{"category": "HARM_CATEGORY_HARASSMENT", "blocked": True}]
    events = decode(says("a"), chunk(finish=reason, finishMessage="m", safetyRatings=ratings))
    assert events[-1] == Done(canonical)
    why = Metadata({"finish_reason": reason, "finish_message": "m", "safety_ratings": ratings})
    assert (why in events) == (reason not in ("STOP", "MAX_TOKENS"))


@pytest.mark.parametrize(
    ("reason", "status", "retryable"),
    [("MALFORMED_FUNCTION_CALL", 502, True), ("OTHER", 502, True), ("MISSING_THOUGHT_SIGNATURE", 400, False)],
)
def test_finishes_without_an_answer_are_errors(reason: str, status: int, retryable: bool) -> None:
    """What was told before is kept; an answer that broke off must not look whole (portkey #1797)."""
    for message, text in (
        ("call:f(", f"the model stopped with {reason}: call:f("),
        ("", f"the model stopped with {reason}"),
    ):
        decoder = GeminiDecoder()
        with pytest.raises(ProviderRejected) as caught:
            decoder.feed(sse(says("a"), says("b", finish=reason, finishMessage=message)))
        assert decoder.pending == [Text("a"), Text("b")]
        assert (caught.value.http_status, caught.value.retryable) == (status, retryable)
        assert (caught.value.upstream_code, caught.value.message) == (reason, text)


def test_a_blocked_prompt_is_an_answer() -> None:
    feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no", "safetyRatings": []}
    assert decode({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 3}}) == [
        Metadata({"blocked": "prompt", "finish_reason": "PROHIBITED_CONTENT", "finish_message": "no"}),
        Usage(3, 0),
        Done("content_filter"),
    ]
    assert decode(says("a"), {"promptFeedback": {"blockReason": "SAFETY"}})[-1] == Done("content_filter")
    assert decode({"promptFeedback": {"safetyRatings": []}}, says("a", finish="STOP")) == [Text("a"), Done("stop")]
    with pytest.raises(ProviderTruncated):
        decode({"promptFeedback": {"safetyRatings": []}})


def error(code: int = 503, **fields: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "overloaded", "status": "UNAVAILABLE", **fields}}


def test_errors_in_the_stream() -> None:
    for payload in (error(), [error()], {"candidates": [], **error()}):
        decoder = GeminiDecoder(secret="s3cret-key")
        with pytest.raises(ProviderRejected) as caught:
            decoder.feed(sse(says("a"), payload))
        assert decoder.pending == [Text("a")]
        assert (caught.value.http_status, caught.value.upstream_code) == (503, "UNAVAILABLE")


@pytest.mark.parametrize(
    "form", [b'{\r\n "error": {"code": 429, "message": "m"}\r\n}\r\n', b'[{"error": {"code": 429}}]']
)
def test_an_error_on_lines_of_its_own(form: bytes) -> None:
    """Google ends a stream so; the lines are no SSE fields, and the answer must not just look cut."""
    for size in (1, 10_000):
        decoder, body = GeminiDecoder(), sse(says("x" * 5_000), says("a")) + form
        events = [event for at in range(0, len(body), size) for event in decoder.feed(body[at : at + size])]
        assert len(events) == 2
        with pytest.raises(ProviderRejected) as caught:
            decoder.close()
        assert caught.value.http_status == 429


@pytest.mark.parametrize("form", [b"\n{broken", b'\n{"a": 1}\n', b"\n"])
def test_other_stray_lines_explain_nothing(form: bytes) -> None:
    with pytest.raises(ProviderTruncated):
        whole(GeminiDecoder(), sse(says("a")) + form)


@pytest.mark.parametrize(
    "payload", [b"{nonsense", {"hello": 1}, [1], {"candidates": 1}, {"candidates": ["x"]}, b"[]", {}]
)
def test_what_is_no_chunk(payload: Any) -> None:
    with pytest.raises(ProviderProtocolError):
        GeminiDecoder().feed(sse(payload))


def test_numbers_and_halves_that_are_no_json() -> None:
    """NaN, and half a character, which UTF-8 cannot carry."""
    body = b'{"candidates":[{"content":{"parts":[{"text":"a\\ud83d"}]},"avgLogprobs":NaN,"finishReason":"STOP"}]}'
    assert decode(body) == [Text("a\ufffd"), Done("stop")]


def test_the_end_mark_of_gateways_and_empty_data() -> None:
    assert decode(b"", STOP, b"[DONE]") == [Done("stop")]


def test_a_last_frame_without_its_blank_line() -> None:
    for end in (b"", b"\r", b"\r\n"):
        assert whole(GeminiDecoder(), sse(says("a")) + sse(STOP).rstrip(b"\n") + end) == [Text("a"), Done("stop")]
    with pytest.raises(ProviderTruncated):
        whole(GeminiDecoder(), sse(says("a", finish="STOP")) + b'data: {"usageMeta')


def test_a_whole_answer_as_json() -> None:
    """`generateContent` gives an object; `streamGenerateContent` without `alt=sse` an array of chunks."""
    for value in (says("a", finish="STOP"), [says("a"), STOP]):
        assert whole(GeminiDecoder(), json.dumps(value, indent=1).encode()) == [Text("a"), Done("stop")]
    for body in (b'[{"candidates"', b"[]", b'{"candidates": []}'):
        with pytest.raises(ProviderTruncated):
            whole(GeminiDecoder(), body)
    with pytest.raises(ProviderRejected):
        whole(GeminiDecoder(), json.dumps([error()]).encode())
