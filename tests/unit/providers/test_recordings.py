from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import ProviderProtocolError
from headwater.providers.recordings import VERSION, Header, Read, Recording, encode_recording, parse_recording

HEADER = b'{"version":1,"protocol":"openai_chat"}'


def test_text_and_bytes() -> None:
    lines = [HEADER, b'{"t_ms":5,"data":"h\xc3\xa9\\n"}', b"", b'{"t_ms":5.5,"b64":"AP8="}', b'{"t_ms":6,"data":""}']
    recording = parse_recording(b"\n".join(lines), name="r")
    assert recording.header.status == 200
    assert recording.reads == [Read(5, "hé\n".encode()), Read(5.5, b"\0\xff"), Read(6, b"")]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "line 1"),
        (b"not json", "line 1"),
        (b"\xff", "line 1"),
        (b'{"protocol":"openai_chat"}', "line 1"),
        (b'{"version":2,"protocol":"openai_chat"}', "version 2"),
        (HEADER + b"\n{}", "line 2"),
        (HEADER + b'\n{"t_ms":1}', "exactly one"),
        (HEADER + b'\n{"t_ms":1,"data":"a","b64":""}', "exactly one"),
        (HEADER + b'\n{"t_ms":1,"b64":"!"}', "line 2"),
        (HEADER + b'\n{"t_ms":1,"b64":"\xc3\xa9"}', "line 2"),
        (HEADER + b'\n{"t_ms":2,"data":"a"}\n{"t_ms":1,"data":"b"}', "line 3: t_ms falls"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(content: bytes, where: str) -> None:
    with pytest.raises(ProviderProtocolError) as caught:
        parse_recording(content, name="talk")
    assert where in caught.value.message
    assert "talk" in caught.value.message
    assert not caught.value.retryable


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HEADERS = st.builds(
    Header,
    version=st.just(VERSION),
    protocol=TEXTS,
    model=TEXTS,
    recorded_at=TEXTS,
    note=TEXTS,
    status=st.integers(200, 599),
    headers=st.dictionaries(TEXTS, TEXTS, max_size=3),
    content_type=TEXTS,
    cut=st.booleans(),
    request=st.none() | st.dictionaries(TEXTS, TEXTS | st.integers(-1000, 1000) | st.lists(TEXTS), max_size=3),
)
READS = st.lists(st.tuples(st.floats(0, 1e9), st.binary(max_size=40) | TEXTS.map(str.encode)), max_size=6).map(
    lambda reads: [Read(t_ms, data) for t_ms, data in sorted(reads)]
)


@given(recording=st.builds(Recording, header=HEADERS, reads=READS))
def test_what_was_written_is_read_back(recording: Recording) -> None:
    """Byte for byte: line ends, NUL, half characters, bytes that are no text."""
    assert parse_recording(encode_recording(recording), name="r") == recording


def test_fields_that_say_nothing_are_left_out() -> None:
    recording = Recording(Header(VERSION, "ollama"), [Read(1.5, b"\xff")])
    assert encode_recording(recording) == b'{"version":1,"protocol":"ollama"}\n{"t_ms":1.5,"b64":"/w=="}\n'
