from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.errors import ConfigError, InputError, ProviderProtocolError, ProviderRejected, UnsupportedField
from headwater.providers.wire.anthropic import DEFAULT_MAX_TOKENS, Anthropic
from headwater.providers.wire.anthropic_models import Abilities, abilities
from headwater.request import ChatRequest

OLD = "claude-opus-4-5-20251101"  # thinks with a budget, can begin with a prefix
NEW = "claude-opus-5"  # thinks adaptively, has neither prefix nor sampling
HI = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}
TOOLS = {"tools": [TOOL]}
SCHEMA = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
FORM = {"type": "json_schema", "schema": {"type": "object"}}  # the same, natively


def body_of(model: str = OLD, /, **params: Any) -> dict[str, Any]:
    """What follows from the parameters."""
    request = Anthropic().chat(ChatRequest("public", [HI], params), model)
    body = dict(msgspec.json.decode(request.body))
    assert (body.pop("model"), body.pop("stream")) == (model, True)
    assert body.pop("messages") == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    if body["max_tokens"] == DEFAULT_MAX_TOKENS:
        del body["max_tokens"]
    return body


def messages_of(*messages: dict[str, Any], model: str = OLD, text: str = "", **params: Any) -> list[Any]:
    request = ChatRequest("public", list(messages), params)
    built = Anthropic().continued(request, model, text) if text else Anthropic().chat(request, model)
    return list(msgspec.json.decode(built.body)["messages"])


def refused(**given: Any) -> str | None:
    with pytest.raises(UnsupportedField) as caught:
        messages_of(HI, **given)
    return caught.value.param


class TestRequest:
    def test_where_it_goes_and_as_whom(self) -> None:
        for base in ("https://h", "https://h/", "https://h/v1", "https://h/v1/"):
            protocol = Anthropic(base, api_key="k", headers={"anthropic-beta": "b"})
            request = protocol.chat(ChatRequest("p", [HI]), "m")
            assert (request.method, request.url) == ("POST", "https://h/v1/messages")
            assert protocol.list_models().url == "https://h/v1/models?limit=1000"
            for headers in (request.headers, protocol.list_models().headers):
                assert headers["x-api-key"] == "k"
                assert headers["anthropic-version"] == "2023-06-01"
                assert headers["anthropic-beta"] == "b"
                assert "authorization" not in headers

    def test_without_a_key_and_with_another_version(self) -> None:
        headers = Anthropic(headers={"anthropic-version": "2026-10-21"}).list_models().headers
        assert headers["anthropic-version"] == "2026-10-21"
        assert "x-api-key" not in headers

    def test_a_base_url_that_is_none(self) -> None:
        with pytest.raises(ConfigError):
            Anthropic("https://user:pass@h")

    def test_the_system_prompt(self) -> None:
        request = Anthropic(max_tokens=7).chat(ChatRequest("p", [{"role": "system", "content": "Be brief."}, HI]), "m")
        body = msgspec.json.decode(request.body)
        assert (body["system"], body["max_tokens"]) == ("Be brief.", 7)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {}),
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9}, {"max_tokens": 9}),
        ({"stop": "x"}, {"stop_sequences": ["x"]}),
        ({"stop": []}, {}),
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"temperature": 1, "top_p": 0.5}, {"top_p": 0.5}),
        ({"temperature": 0, "top_p": 1.0, "top_k": 5}, {"temperature": 0, "top_k": 5}),
        ({"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral"}}),
        ({"safety_identifier": "hash"}, {"metadata": {"user_id": "hash"}}),
        ({"safety_identifier": "x" * 300}, {}),
        ({"user": "me@example.com", "metadata": {"a": "b"}, "store": True, "n": 1, "stream_options": {}}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": SCHEMA}, {"output_config": {"format": FORM}}),
        ({"output_config": {"effort": "low"}}, {"output_config": {"effort": "low"}}),
        ({"tool_choice": "auto", "parallel_tool_calls": False}, {}),
    ],
)  # fmt: skip
def test_parameters(params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body_of(**params) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2), ("seed", 1), ("logprobs", True), ("top_logprobs", 2), ("presence_penalty", 0.5),
        ("frequency_penalty", 0.5), ("logit_bias", {"1": 2}), ("modalities", ["text", "audio"]), ("audio", {}),
        ("functions", []), ("temperature", 1.5), ("temperature", -0.1), ("response_format", {"type": "json_object"}),
    ],
)  # fmt: skip
def test_what_it_cannot_take_is_named(name: str, value: object) -> None:
    assert refused(**{name: value}) == name


@pytest.mark.parametrize(("name", "value"), [("thinking", "on"), ("output_config", [1]), ("tool_choice", "required")])
def test_what_is_wrong_for_everybody(name: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        body_of(**{name: value})
    assert (caught.value.param, isinstance(caught.value, UnsupportedField)) == (name, False)


class TestTools:
    TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {}}}}  # noqa: RUF012 - never changed

    def test_are_translated(self) -> None:
        full = {"name": "g", "description": "d", "parameters": {"type": "object"}, "strict": True}
        plain = {"name": "h", "strict": False}
        assert body_of(tools=[TOOL, {"function": full}, {"function": plain}])["tools"] == [
            self.TOOL,
            {"name": "g", "input_schema": {"type": "object"}, "description": "d", "strict": True},
            {"name": "h", "input_schema": {"type": "object"}},
        ]

    @pytest.mark.parametrize(
        ("params", "choice"),
        [
            ({}, None),
            ({"tool_choice": "auto"}, {"type": "auto"}),
            ({"tool_choice": "none"}, {"type": "none"}),
            ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
            ({"tool_choice": "required"}, {"type": "any"}),
            ({"tool_choice": {"function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
            ({"parallel_tool_calls": True}, None),
            ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
            (
                {"tool_choice": "required", "parallel_tool_calls": False},
                {"type": "any", "disable_parallel_tool_use": True},
            ),
        ],
    )
    def test_choice(self, params: dict[str, Any], choice: dict[str, Any] | None) -> None:
        assert body_of(**TOOLS, **params).get("tool_choice") == choice

    def test_models_that_cannot_be_made_to_call_one(self) -> None:
        for choice in ("required", {"function": {"name": "f"}}):
            assert refused(model="claude-opus-5-5", **TOOLS, tool_choice=choice) == "tool_choice"
        assert body_of("claude-opus-5-5", **TOOLS, tool_choice="auto")["tool_choice"] == {"type": "auto"}


class TestThinking:
    @pytest.mark.parametrize(
        ("effort", "max_tokens", "budget"),
        [
            ("minimal", None, 1024), ("low", None, 2048), ("medium", None, 8192), ("high", None, 16_000),
            ("xhigh", None, 16_000), ("xhigh", 64_000, 24_576), ("high", 1025, 1024), ("medium", 5000, 2500),
        ],
    )  # fmt: skip
    def test_with_a_budget(self, effort: str, max_tokens: int | None, budget: int) -> None:
        for model in (OLD, "claude-3-7-sonnet-latest", "kimi-k2"):
            body = body_of(model, reasoning_effort=effort, max_tokens=max_tokens)
            assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}

    @pytest.mark.parametrize(
        ("model", "effort", "told"),
        [
            (NEW, "minimal", "low"), (NEW, "low", "low"), (NEW, "medium", "medium"), (NEW, "high", "high"),
            (NEW, "xhigh", "xhigh"), ("claude-opus-4-6", "xhigh", "high"),
            (NEW, "max", "max"), ("claude-opus-4-6", "max", "high"), ("claude-mythos-5", "high", "high"),
        ],
    )  # fmt: skip
    def test_adaptive(self, model: str, effort: str, told: str) -> None:
        assert body_of(model, reasoning_effort=effort) == {
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": told},
        }

    def test_off(self) -> None:
        assert body_of(OLD, reasoning_effort="none") == {}
        assert body_of(NEW, reasoning_effort="none") == {"thinking": {"type": "disabled"}}
        assert body_of("claude-sonnet-5-5", reasoning_effort="none") == {"thinking": {"type": "between_tools"}}
        for model in ("claude-fable-5", "claude-opus-5-5"):
            assert refused(model=model, reasoning_effort="none") == "reasoning_effort"

    def test_what_is_said_between_tool_calls_is_not_lost(self) -> None:
        """Opus 5.5 says it in thinking, which is left out unless it is asked for."""
        summarized = {"type": "adaptive", "display": "summarized"}
        for model in ("claude-opus-5-5", "claude-sonnet-5-5"):
            assert body_of(model, **TOOLS)["thinking"] == summarized
            assert body_of(model) == {}
        assert "thinking" not in body_of(NEW, **TOOLS)
        assert body_of("claude-sonnet-5-5", **TOOLS, thinking={"type": "between_tools"})["thinking"] == {
            "type": "between_tools"
        }

    def test_not_in_every_model_and_not_in_every_request(self) -> None:
        assert refused(model="claude-3-5-haiku-latest", reasoning_effort="low") == "reasoning_effort"
        assert refused(reasoning_effort="low", max_tokens=1024) == "reasoning_effort"
        for choice in ("required", {"function": {"name": "f"}}):
            assert refused(**TOOLS, reasoning_effort="low", tool_choice=choice) == "reasoning_effort"
        assert body_of(NEW, **TOOLS, reasoning_effort="low", tool_choice="required")["tool_choice"] == {"type": "any"}
        assert "thinking" in body_of(OLD, **TOOLS, reasoning_effort="low", tool_choice="auto")

    def test_natively(self) -> None:
        native = {"type": "enabled", "budget_tokens": 5000}
        assert body_of(OLD, thinking=native, reasoning_effort="low") == {"thinking": native}
        adaptive = {"type": "adaptive"}
        assert body_of(NEW, thinking=adaptive, reasoning_effort="low") == {
            "thinking": adaptive,
            "output_config": {"effort": "low"},
        }
        assert body_of(NEW, thinking=adaptive, reasoning_effort="none") == {"thinking": adaptive}
        assert body_of(NEW, thinking=adaptive) == {"thinking": adaptive}

    def test_all_of_the_output_config(self) -> None:
        body = body_of(NEW, reasoning_effort="low", response_format=SCHEMA, output_config={"effort": "max"})
        assert body["output_config"] == {"effort": "max", "format": FORM}

    def test_after_tool_calls_it_must_have_been_signed(self) -> None:
        call = {"id": "c", "function": {"name": "f"}}
        asked = {"role": "assistant", "tool_calls": [call]}
        signed = {**asked, "reasoning_content": "hm", "reasoning_signature": "sig"}
        told = {"role": "tool", "tool_call_id": "c", "content": "1"}
        for params, name in (
            ({"reasoning_effort": "low"}, "reasoning_effort"),
            ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking"),
        ):
            with pytest.raises(UnsupportedField) as caught:
                messages_of(HI, asked, told, **params)
            assert caught.value.param == name
            assert len(messages_of(HI, signed, told, **params)) == 3
            assert len(messages_of(HI, asked, told, HI, **params)) == 3
        assert len(messages_of(HI, asked, told, model=NEW, reasoning_effort="low")) == 3
        with pytest.raises(UnsupportedField):
            messages_of(asked, told, reasoning_effort="low")
        with pytest.raises(UnsupportedField):
            messages_of({"role": "assistant", "tool_calls": [call]}, reasoning_effort="low")

    def test_nothing_to_think_about(self) -> None:
        assert messages_of(reasoning_effort="low") == []


class TestSampling:
    @pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
    def test_newer_models_have_none(self, name: str) -> None:
        value = 5 if name == "top_k" else 0.5
        for model in (NEW, "claude-opus-4-7", "claude-mythos-preview"):
            assert refused(model=model, **{name: value}) == name
        assert body_of("claude-sonnet-4-6", **{name: value}) == {name: value}

    def test_what_is_the_default_anyway_is_left_out(self) -> None:
        assert body_of(NEW, temperature=1.0, top_p=1) == {}

    def test_one_or_the_other(self) -> None:
        assert refused(temperature=0.5, top_p=0.5) == "top_p"
        assert body_of("claude-3-haiku", temperature=0.5, top_p=0.5) == {"temperature": 0.5, "top_p": 0.5}

    def test_hardly_any_while_thinking(self) -> None:
        assert refused(reasoning_effort="low", temperature=0.5) == "temperature"
        assert refused(reasoning_effort="low", top_k=5) == "top_k"
        assert refused(reasoning_effort="low", top_p=0.9) == "top_p"
        assert body_of(reasoning_effort="low", top_p=0.96, temperature=1)["top_p"] == 0.96
        assert body_of(reasoning_effort="none", temperature=0.5) == {"temperature": 0.5}


class TestPrefix:
    def test_is_the_trailing_assistant_turn(self) -> None:
        assert messages_of(HI, text="It is") == [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "It is"}]},
        ]
        assert not Anthropic.echoes_prefix

    def test_goes_on_where_the_caller_had_begun(self) -> None:
        begun = {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b "}]}
        assert messages_of(HI, begun, text="c")[1]["content"] == [
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b c"},
        ]

    def test_the_white_space_that_was_not_sent_comes_with_the_text(self) -> None:
        begun = {"role": "assistant", "content": "Sure, "}
        assert messages_of(HI, begun, text=" yes")[1]["content"] == [{"type": "text", "text": "Sure, yes"}]

    def test_the_limit_holds_for_both_parts(self) -> None:
        built = Anthropic().continued(ChatRequest("p", [HI], {"max_tokens": 10}), OLD, "twelve chars")
        assert msgspec.json.decode(built.body)["max_tokens"] == 7

    def test_after_turns_that_it_does_not_continue(self) -> None:
        call = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
        empty = {"role": "assistant", "content": ""}
        for last in (call, empty):
            assert messages_of(HI, last, text="c")[-1]["content"][-1] == {"type": "text", "text": "c"}
        assert messages_of(text="c") == [{"role": "assistant", "content": [{"type": "text", "text": "c"}]}]
        image = {"role": "assistant", "content": [{"type": "image_url", "image_url": "https://x/y"}]}
        with pytest.raises(UnsupportedField):
            messages_of(HI, image, text="c")

    @pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-sonnet-4-6", NEW, "claude-mythos-preview"])
    def test_is_refused_by_newer_models(self, model: str) -> None:
        assert refused(model=model, text="It is") == "messages"
        with pytest.raises(UnsupportedField) as caught:
            messages_of(HI, {"role": "assistant", "content": "It is"}, model=model)
        assert caught.value.param == "messages[1]"
        assert len(messages_of(HI, {"role": "assistant", "content": " "}, model=model)) == 1

    def test_is_refused_while_thinking_and_in_a_form(self) -> None:
        assert refused(text="x", reasoning_effort="low") == "reasoning_effort"
        assert refused(text="x", thinking={"type": "enabled", "budget_tokens": 2000}) == "thinking"
        assert refused(text="x", response_format=SCHEMA) == "response_format"
        assert len(messages_of(HI, text="x", output_config={"effort": "low"})) == 2


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("claude-3-opus-20240229", (3, 0)), ("claude-3-7-sonnet-20250219", (3, 7)), ("claude-instant-1.2", (1, 2)),
        ("claude-opus-4-20250514", (4, 0)), ("claude-opus-4-1@20250805", (4, 1)), ("claude-sonnet-4-5", (4, 5)),
        ("us.anthropic.claude-opus-4-6-v1:0", (4, 6)), ("anthropic/claude-opus-4.7", (4, 7)),
        ("Claude-Sonnet-5", (5, 0)),
        ("claude-haiku-5-5", (5, 5)), ("claude-mythos-preview", (4, 7)), ("claude-4-opus-20250514", (4, 0)),
    ],
)  # fmt: skip
def test_generations(model: str, version: tuple[int, int]) -> None:
    able = abilities(model)
    assert able == Abilities(
        prefill=version < (4, 6),
        sampling=version < (4, 7),
        temperature_and_top_p=version < (4, 1),
        thinking="none" if version < (3, 7) else "budget" if version < (4, 6) else "adaptive",
        thinking_off="" if "mythos" in model else "disabled",
        efforts=version >= (4, 7),
    )


@pytest.mark.parametrize(
    ("model", "thinking_off", "forced_tools"),
    [
        ("claude-opus-5", "disabled", True), ("claude-opus-5-5", "", False), ("anthropic/claude-opus-5.5", "", False),
        ("claude-sonnet-5", "disabled", True), ("claude-sonnet-5-5", "between_tools", False),
        ("claude-haiku-5-5", "disabled", True),
        ("claude-fable-5", "", True), ("claude-fable-5-1", "", False), ("claude-mythos-5", "", True),
    ],
)  # fmt: skip
def test_families(model: str, thinking_off: str, forced_tools: bool) -> None:
    able = abilities(model)
    assert (able.thinking_off, able.forced_tools) == (thinking_off, forced_tools)


def test_a_name_that_tells_nothing_can_do_everything() -> None:
    for model in ("kimi-k2", "glm-4.6", "claude-latest", "claude-opus-20250514"):
        assert abilities(model) == Abilities()


class TestAnswers:
    def test_http_errors(self) -> None:
        raw = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}'
        error = Anthropic().error(529, {"retry-after": "3"}, raw)
        assert (error.http_status, error.retryable, error.retry_after_s) == (529, True, 3.0)
        assert (error.message, getattr(error, "upstream_code", None)) == ("Overloaded", "overloaded_error")

    def test_errors_do_not_repeat_the_key(self) -> None:
        error = Anthropic(api_key="hush-hush").error(
            400, {}, b'{"type":"error","error":{"message":"What is hush-hush ?"}}'
        )
        assert error.message == "What is *** ?"
        with pytest.raises(ProviderRejected, match=r"\*\*\*"):
            Anthropic(api_key="hush-hush").decoder().feed(b'data: {"type":"error","error":{"message":"hush-hush"}}\n\n')

    def test_advice_against_a_retry(self) -> None:
        assert not Anthropic().error(529, {"x-should-retry": "false"}, b"").retryable

    def test_model_lists(self) -> None:
        page = b'{"data":[{"type":"model","id":"claude-opus-5","display_name":"x"}],"has_more":false}'
        assert Anthropic().parse_models(page) == ["claude-opus-5"]
        for wrong in (b'{"models":[]}', b"\xff", b"["):
            with pytest.raises(ProviderProtocolError):
                Anthropic().parse_models(wrong)
