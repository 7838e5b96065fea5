"""A read that is one frame and differs from an earlier one only in its text: the common case at a third of the cost.

Servers send the same chunk object for every token, with another `content`. Once such a frame was decoded in full, the
bytes before and after its content string are known; a later read with just these around one JSON string can mean
nothing else, so only that string is decoded. Whatever does not fit exactly goes the whole way.
"""

from __future__ import annotations

import msgspec

from ...events import Text

# A server whose frames differ each time (OpenAI's `obfuscation` padding) is not worth more attempts.
_LESSONS = 4
# With and without the blank that Python's own encoder writes.
_NAMES = (b'"content":', b'"content": ')

_decode_string = msgspec.json.Decoder(str).decode


class RepeatedFrame:
    """`learn` from a frame that was decoded in full and meant exactly one plain `Text`; then `text_of` later reads."""

    __slots__ = ("_after", "_before", "_choice", "_end", "_lessons", "_start")

    def __init__(self) -> None:
        self._before = b"\0"  # begins no frame
        self._after = b""
        self._start = self._end = self._choice = 0
        self._lessons = _LESSONS

    @property
    def learning(self) -> bool:
        return self._lessons > 0

    def forget(self) -> None:
        """For good: what comes may need more than its own bytes to be understood."""
        self._before = b"\0"
        self._lessons = 0

    def learn(self, data: bytes, text: Text) -> None:
        """`data` is one read, one whole frame. A text that JSON writes with escapes teaches nothing."""
        self._lessons -= 1
        string = b'"%b"' % text.text.encode()
        name = next((name for name in _NAMES if data.count(name + string) == 1), None)
        if not text.text or name is None or data.count(b"\n") != 2:
            return
        self._start = data.index(name + string) + len(name)
        self._end = self._start + len(string) - len(data)
        self._before, self._after = data[: self._start], data[self._end :]
        self._choice = text.choice

    def text_of(self, data: bytes) -> Text | None:
        """The read's one event; None where it is not of this form."""
        if not (data.startswith(self._before) and data.endswith(self._after)):
            return None
        try:
            return Text(_decode_string(data[self._start : self._end]), self._choice)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None  # two frames, or half a surrogate pair: not one string
