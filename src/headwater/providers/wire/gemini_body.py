"""The payloads of a Gemini body: SSE frames, the items of a JSON array, or a JSON object.

A server that does not know `alt=sse` sends the array. Invariant: any chunking of the bytes gives the same payloads.
"""

from __future__ import annotations

import re

import msgspec

from ...errors import ProviderTruncated
from .lenient import decode_lenient, is_json
from .sse_or_json import SseOrJson

# As much of the body's end as is kept for `stray`; Google's errors have up to 2 KiB.
_TAIL_BYTES = 4096
_STRAY = re.compile(rb"[\r\n]([\[{].*)\Z", re.DOTALL)


class Body:
    """`feed` every read, `close` at the end; then `stray` may explain why the answer is not whole."""

    __slots__ = ("_body", "_tail")

    def __init__(self) -> None:
        self._body = SseOrJson()
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Payloads that these bytes complete. Raises `ProviderProtocolError`."""
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        return self._body.payloads(data)

    def close(self) -> list[bytes]:
        """Payloads that the end completes: those of a JSON value, or a last frame without its blank line.

        Raises `ProviderTruncated` for one that is cut.
        """
        if self._body.whole is None:
            payloads = self._body.payloads(b"\n\n")
            if not all(map(is_json, payloads)):
                raise ProviderTruncated("the provider's answer was cut inside a frame")
            return payloads
        whole = bytes(self._body.whole)
        if not is_json(whole):
            raise ProviderTruncated("the provider's answer ended before it was finished")
        value = decode_lenient(whole)
        return [msgspec.json.encode(item) for item in (value if isinstance(value, list) else [value])]

    def stray(self) -> object:
        """A JSON value behind the last frame that no `data:` begins; None where there is none.

        Google's servers send the error that ends a stream so, on lines of its own (google-genai's reader of streams
        has a branch for it).
        """
        match = _STRAY.search(self._tail) if self._body.whole is None else None
        return decode_lenient(match[1]) if match is not None and is_json(match[1]) else None
