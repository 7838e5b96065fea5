from __future__ import annotations

import pytest

from headwater.errors import ProviderProtocolError
from headwater.providers.wire import sse_or_json
from headwater.providers.wire.sse_or_json import SseOrJson

FRAME = b"data: 1\n\n"


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n \t", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_sse(before: bytes, size: int) -> None:
    body, data = SseOrJson(), before + FRAME * 2
    assert [p for at in range(0, len(data), size) for p in body.payloads(data[at : at + size])] == [b"1", b"1"]
    assert body.whole is None


@pytest.mark.parametrize("start", [b"{", b"\n[", b"\xef\xbb\xbf {"])
def test_json(start: bytes) -> None:
    body = SseOrJson()
    for byte in start + b"1, \n2":
        assert body.payloads(bytes([byte])) == []
    assert body.whole == start[-1:] + b"1, \n2"


def test_a_web_page() -> None:
    with pytest.raises(ProviderProtocolError, match="web page"):
        SseOrJson().payloads(b" <html>")


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProviderProtocolError, match="too much"):
        SseOrJson().payloads(b"data: " + b"x" * (8 * 2**20 + 1))
    monkeypatch.setattr(sse_or_json, "_MAX_WHOLE_BYTES", 8)
    with pytest.raises(ProviderProtocolError, match="too large"):
        SseOrJson().payloads(b"{" * 9)
