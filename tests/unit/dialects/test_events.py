"""The native dialect's decoder, and what of its encoder the golden files do not say."""

from __future__ import annotations

import pytest

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.errors import InputError
from headwater.events import Text
from headwater.streams.fold import fold
from tests.conformance.dialects.cells import View

DIALECT = DIALECTS["events"]


def test_decode_takes_a_chat_body_and_the_dialect_to_answer_in() -> None:
    decoded = DIALECT.decode(b'{"messages":[{"role":"user","content":"x"}],"dialect":"openai_chat","stream":true}')
    assert decoded.dialect == "openai_chat"
    assert decoded.stream
    assert decoded.request.params == {}
    assert DIALECT.decode(b'{"messages":[{"role":"user","content":"x"}]}').dialect == "events"


def test_decode_takes_priority_and_fallback() -> None:
    decoded = DIALECT.decode(
        b'{"messages":[{"role":"user","content":"x"}],"priority":"low","fallback":"off","temperature":1}'
    )
    assert (decoded.request.priority, decoded.request.fallback) == ("low", False)
    assert decoded.request.params == {"temperature": 1}


def test_decode_refuses_a_wrong_type() -> None:
    with pytest.raises(InputError) as caught:
        DIALECT.decode(b'{"messages":[{"role":"user","content":"x"}],"dialect":3}')
    assert caught.value.param == "dialect"


def test_the_cursor_carries_the_epoch() -> None:
    encoder = DIALECT.encoder(EncodeOptions())(View(fold([]), epoch=7))
    assert encoder.encode(12, Text("x")) == b'event: text\nid: 7.12\ndata: {"type":"text","text":"x"}\n\n'


def test_a_lone_surrogate_does_not_end_the_viewer() -> None:
    encoder = DIALECT.encoder(EncodeOptions())(View(fold([])))
    assert "�" in encoder.encode(1, Text("a\ud800")).decode()


def test_options_make_no_difference_so_all_viewers_share_one_copy() -> None:
    assert DIALECT.encoder(EncodeOptions(True, 4)) == DIALECT.encoder(EncodeOptions())
