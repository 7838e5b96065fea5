"""What a dialect is: a wire format towards clients, as a pure request decoder and a pure event encoder.

Adding one is one file beside this, one entry in `DIALECTS` and one run of `tests/conformance/dialects`.
Dialects must not know of sockets, requests in flight, logs or providers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from ..errors import InputError
from ..events import Event, JsonObject
from ..request import ChatRequest
from ..streams.ports import EncoderFactory, StreamView

HEARTBEAT = b": hb\n\n"

Shape = TypeVar("Shape", bound=msgspec.Struct)


class EncodeOptions(msgspec.Struct, frozen=True):
    """What a caller may choose about the bytes.

    `choices` is the request's `n`, known before any event is; so is `session_id`, the number of the chat it came from.
    """

    include_usage: bool = False
    choices: int = 1
    session_id: int | None = None


class Decoded(msgspec.Struct, frozen=True):
    """A caller's body, understood. `request.model` is "" where the body names none."""

    request: ChatRequest
    stream: bool
    options: EncodeOptions
    dialect: str


class Decode(Protocol):
    def __call__(self, body: bytes) -> Decoded:
        """Raises `InputError` that names the field at fault."""
        ...


class Assemble(Protocol):
    def __call__(self, view: StreamView, events: list[Event], choices: int) -> JsonObject:
        """The answer as one JSON object, from all events of a stream that ended in `done`."""
        ...


class Dialect(msgspec.Struct, frozen=True):
    """`holds_head`: the status line waits for the provider's, as SDKs of this format decide retries by it.

    `default_linger_s` (seconds) applies where neither the setting nor the request says otherwise.
    `assemble` is set where the format has an answer in one piece.
    """

    name: str
    default_linger_s: float
    holds_head: bool
    decode: Decode
    encoder: Callable[[EncodeOptions], EncoderFactory]
    assemble: Assemble | None = None


def json_line(value: object) -> bytes:
    """JSON on one line: CR, LF and NUL come out escaped, so no payload can break an SSE frame (CWE-93).

    Halves of a surrogate pair, which UTF-8 cannot carry, become U+FFFD.
    """
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_without_surrogates(msgspec.to_builtins(value)))


def decode_object(body: bytes) -> JsonObject:
    """The body as a JSON object. Raises `InputError`, also for nesting that would exhaust the stack."""
    try:
        return _decode_object(body)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise InputError(f"the body is not a JSON object: {exc}") from exc
    except RecursionError as exc:
        raise InputError("the body is nested too deeply") from exc


def decode_parameter(text: str, name: str) -> object:
    """JSON that came as the query parameter `name`. Raises `InputError`."""
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise InputError(f"{name} is not JSON: {exc}", param=name) from exc
    except RecursionError as exc:
        raise InputError(f"{name} is nested too deeply", param=name) from exc
    return value


def check(body: JsonObject, shape: type[Shape], *, strict: bool = True) -> Shape:
    """The known fields in their types; without `strict`, text such as a query's may stand for a number.

    Raises `InputError` where one has the wrong type; `param` is its path (`messages[0].role`).
    """
    try:
        return msgspec.convert(body, shape, strict=strict)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$")
        raise InputError(str(exc), param=path.rstrip("`").lstrip(".") or _named_in(text)) from exc


_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, object]).decode


def _named_in(text: str) -> str | None:
    """The field of "Object missing required field `x`"."""
    parts = text.split("`")
    return parts[1] if "missing required field" in text and len(parts) > 1 else None


def _without_surrogates(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_without_surrogates(item) for item in value]
        case dict():
            return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
        case _:
            return value
