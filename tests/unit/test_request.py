"""The stored form of a request, and what its prompt is estimated from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import LogCorrupt
from headwater.request import ChatRequest, decode_request, encode_request, prompt_characters

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)


@given(st.text(), st.lists(json_objects, max_size=4), json_objects)
def test_a_request_survives_its_storage(
    model: str, messages: list[dict[str, object]], params: dict[str, object]
) -> None:
    request = ChatRequest(model, messages, params)
    assert decode_request(encode_request(request)) == request


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"model":1,"messages":[]}', b"\xff", b'{"model":"m"', b"null"])
def test_damage_is_typed(data: bytes) -> None:
    with pytest.raises(LogCorrupt):
        decode_request(data)


def test_the_prompt_is_its_text() -> None:
    messages: list[dict[str, object]] = [
        {"role": "system", "content": "four"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "two"}, {"type": "image_url", "image_url": {"url": "x"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": 5}, "loose", 7]},
        {"role": "tool"},
    ]
    assert prompt_characters(ChatRequest("m", messages)) == len("four") + len("two")
