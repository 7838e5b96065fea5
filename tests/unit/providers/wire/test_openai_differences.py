from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import UnsupportedField
from headwater.events import JsonObject
from headwater.providers.wire.openai_differences import Differences, format_of
from headwater.request import ChatRequest


def asked(*messages: JsonObject, **params: Any) -> ChatRequest:
    return ChatRequest("m", list(messages), params)


def test_without_differences_nothing_is_touched() -> None:
    request = asked({"role": "developer", "content": "x"}, n=2, seed=None)
    assert Differences().params(request, "X") == request.params
    assert Differences().messages(request, "X") is request.messages


def test_renames() -> None:
    differences = Differences(renamed={"max_completion_tokens": "max_tokens"})
    assert differences.params(asked(max_completion_tokens=5), "X") == {"max_tokens": 5}
    assert differences.params(asked(max_completion_tokens=5, max_tokens=9), "X") == {"max_tokens": 5}
    assert differences.params(asked(max_completion_tokens=None, max_tokens=9), "X") == {"max_tokens": 9}


def test_refusals_name_the_field() -> None:
    differences = Differences(refused=frozenset({"logprobs", "logit_bias"}))
    with pytest.raises(UnsupportedField, match="X cannot take logprobs") as caught:
        differences.params(asked(temperature=1, logprobs=True, logit_bias={"1": 2}), "X")
    assert caught.value.param == "logprobs"
    # A null and the value that asks for nothing are not sent either: some servers refuse the bare name.
    assert differences.params(asked(logprobs=False, logit_bias=None), "X") == {}


def test_bookkeeping_is_left_out() -> None:
    assert Differences(left_out=frozenset({"user"})).params(asked(user="u", stop="."), "X") == {"stop": "."}


@pytest.mark.parametrize(("n", "fits"), [(None, True), (1, True), (2, False)])
def test_one_choice(n: int | None, fits: bool) -> None:
    differences = Differences(one_choice=True)
    if fits:
        assert differences.params(asked(n=n), "X") == {}
    else:
        with pytest.raises(UnsupportedField, match="n must be 1"):
            differences.params(asked(n=n), "X")


def test_formats() -> None:
    differences = Differences(formats=frozenset({"text", "json_object"}))
    for kind in ("text", "json_object"):
        assert differences.params(asked(response_format={"type": kind}), "X")
    assert differences.params(asked(), "X") == {}
    with pytest.raises(UnsupportedField, match="of the type json_object or text only") as caught:
        differences.params(asked(response_format={"type": "json_schema"}), "X")
    assert caught.value.param == "response_format"


@pytest.mark.parametrize("value", [None, "json", {}, {"type": 3}])
def test_a_damaged_format_is_left_to_the_server(value: object) -> None:
    assert format_of(asked(response_format=value)) == "text"


def test_headwaters_own_field_is_sent_to_nobody() -> None:
    """Callers send an answer back as they got it; strict servers refuse what they do not know."""
    answer: JsonObject = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
    asking = asked({**answer, "reasoning_signature": "gemini:x"})
    assert Differences().messages(asking, "X") == [answer]
    strict = Differences(left_out_in_messages=frozenset({"reasoning_content"}))
    assert strict.messages(asking, "X") == [{"role": "assistant", "content": "a"}]


def test_messages() -> None:
    differences = Differences(roles={"developer": "system"}, refused_in_messages=frozenset({"name"}))
    asking = asked({"role": "developer", "content": "a"}, {"role": "user", "content": "b", "name": ""}, {"role": None})
    assert differences.messages(asking, "X") == [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": None},
    ]
    assert asking.messages[0]["role"] == "developer"
    with pytest.raises(UnsupportedField) as caught:
        differences.messages(asked({"role": "user"}, {"role": "user", "name": "bob"}), "X")
    assert caught.value.param == "messages[1].name"
