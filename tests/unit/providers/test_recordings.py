from __future__ import annotations

import pytest

from headwater.errors import ProviderProtocolError
from headwater.providers.recordings import Read, parse_recording

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
