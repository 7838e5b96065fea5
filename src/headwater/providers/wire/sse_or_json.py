"""A body that is SSE or, from a server that ignored `stream`, one JSON object: told apart by its first character.

A JSON object cannot begin an SSE stream: such a line would be a field without meaning. It must know no provider.
"""

from __future__ import annotations

from ...errors import FrameTooLarge, ProviderProtocolError
from ...sse import DataParser

# A security limit for answers that come as one JSON object; the SSE parser has its own per event.
_MAX_WHOLE_BYTES = 32 * 2**20
_BOM = b"\xef\xbb\xbf"
_WHITESPACE = b" \t\r\n"


class SseOrJson:
    """`payloads` of SSE as bytes arrive, or `whole`: the JSON text so far, None for SSE. `sse` reads the former.

    Raises `ProviderProtocolError` for a web page and for more than the limits.
    """

    __slots__ = ("_head", "sse", "whole")

    def __init__(self) -> None:
        self.whole: bytearray | None = None
        self._head: bytes | None = b""  # None once the body is known to be SSE
        self.sse = DataParser()

    def payloads(self, data: bytes) -> list[bytes]:
        if self._head is not None:
            data = self._sniff(data)
        try:
            return self.sse.feed(data)
        except FrameTooLarge as exc:
            raise ProviderProtocolError(f"the provider sent too much at once: {exc.message}") from exc

    def _sniff(self, data: bytes) -> bytes:
        """What of `data` the SSE parser shall see."""
        if self.whole is not None:
            return self._collect(self.whole, data)
        head = (self._head or b"") + data
        start = head.removeprefix(_BOM).lstrip(_WHITESPACE)
        if not start or _BOM.startswith(head):
            self._head = head if _BOM.startswith(head) else b""
            return b""
        if start.startswith((b"{", b"[")):
            self.whole = bytearray()
            return self._collect(self.whole, start)
        if start.startswith(b"<"):
            raise ProviderProtocolError("the provider answered with a web page instead of a stream")
        self._head = None
        return start

    @staticmethod
    def _collect(whole: bytearray, data: bytes) -> bytes:
        whole += data
        if len(whole) > _MAX_WHOLE_BYTES:
            raise ProviderProtocolError("the provider's answer is too large to be taken as one object")
        return b""
