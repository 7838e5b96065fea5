"""A provider plug-in: the template for an API of your own, here a made-up one that answers in lines.

    POST {base_url}/answers   {"model": "m", "turns": [["user", "hi"]], "temperature": 0.5}
    +Hel                      a piece of the text, JSON-escaped where it holds a line end
    +lo
    #12 34                    tokens of the prompt, tokens of the answer
    .stop                     the end and its reason; anything that ends before is cut
    !429 too many requests    instead of any line: an error
    GET {base_url}/models     one name a line

Everything in here is pure: bytes in, events out. Connections, retries, time-outs and cancellation are Headwater's.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headwater.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderTruncated
from headwater.events import Done, Event, FinishReason, Text, Usage
from headwater.providers.options import ProviderOptions
from headwater.providers.ports import UpstreamRequest
from headwater.providers.wire.conversation import Fields, TextPart, read_turns
from headwater.providers.wire.openai_chat import checked_base_url
from headwater.request import ChatRequest

_MAX_LINE_BYTES = 2**20
_REASONS: dict[str, FinishReason] = {"stop": "stop", "limit": "length"}


def make(options: ProviderOptions) -> LineProtocol:
    """The entry point. Whatever it raises is told as this plug-in's fault; raise `ConfigError` for wrong settings."""
    return LineProtocol(options.base_url or "http://127.0.0.1:7777", options.api_key, options.headers)


class LineProtocol:
    """See `headwater.providers.ports.WireProtocol`."""

    name = "line"

    def __init__(self, base_url: str, api_key: str = "", headers: Mapping[str, str] | None = None) -> None:
        self._base_url = checked_base_url(base_url)
        self._headers = {**(headers or {})}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        """Take what this API has, and let `finish` refuse the rest by name: nothing is dropped silently."""
        turns = []
        for turn in read_turns(request.messages):
            for part in turn.parts:
                if not isinstance(part, TextPart):
                    raise turn.refuse(part, "Line")
            turns.append([turn.role, turn.text])
        fields = Fields(request, "Line")
        body: dict[str, object] = {"model": model, "turns": turns}
        if (temperature := fields.number("temperature")) is not None:
            body["temperature"] = temperature
        fields.finish()
        headers = {**self._headers, "content-type": "application/json"}
        return UpstreamRequest("POST", f"{self._base_url}/answers", headers, msgspec.json.encode(body))

    def decoder(self) -> LineDecoder:
        return LineDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return ProviderRejected(body[:200].decode("utf-8", "replace").strip() or "refused", status=status)

    def list_models(self) -> UpstreamRequest:
        return UpstreamRequest("GET", f"{self._base_url}/models", self._headers)

    def parse_models(self, body: bytes) -> list[str]:
        return body.decode("utf-8", "replace").split()


class LineDecoder:
    """See `headwater.providers.ports.Decoder`: any chunking of the bytes gives the same events."""

    def __init__(self) -> None:
        self.pending: list[Event] = []
        self._rest = b""
        self._usage: Usage | None = None
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            raise ProviderProtocolError("a line is too long")
        for line in lines:
            if line and not self._ended:
                self._line(line[:1], line[1:])
        return self._take()

    def close(self) -> list[Event]:
        if not self._ended:
            raise ProviderTruncated("the provider's answer ended before it was finished")
        return self._take()

    def _line(self, kind: bytes, data: bytes) -> None:
        try:
            text = data.decode()
            if kind == b"+":
                self.pending.append(Text(msgspec.json.decode(f'"{text}"', type=str)))
            elif kind == b"#":
                prompt, answer = text.split()
                self._usage = Usage(int(prompt), int(answer))
            elif kind == b".":
                self._end(text)
            elif kind == b"!":
                status, _, message = text.partition(" ")
                raise ProviderRejected(message or "refused", status=int(status))
            else:
                raise ProviderProtocolError(f"the provider sent an unknown kind of line: {kind!r}")
        except ValueError as exc:  # not UTF-8, not a number, not a JSON text
            raise ProviderProtocolError("the provider sent a damaged line") from exc

    def _end(self, reason: str) -> None:
        """`Usage`, then `Done`, come last."""
        self._ended = True
        if self._usage is not None:
            self.pending.append(self._usage)
        self.pending.append(Done(_REASONS.get(reason, "stop")))

    def _take(self) -> list[Event]:
        events, self.pending = self.pending, []
        return events
