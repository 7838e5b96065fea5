"""From a request to an accepted stream: the same steps for every route that starts one."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from starlette.requests import Request

from ..dialects import Decoded, dialect_named
from ..errors import InputError
from ..request import ChatRequest, Priority, encode_request, prompt_characters
from ..streams import Accepted, NewStream
from .ports import Services

MAX_LINGER_S = 86_400.0

# Visible ASCII; the length is that of the draft's other implementations (draft-ietf-httpapi-idempotency-key-header).
_SANE_KEY = re.compile(r"[\x20-\x7e]{1,255}")

PRIORITIES: dict[str, Priority] = {"low": "low", "normal": "normal", "high": "high"}
FALLBACKS = {"on": True, "off": False}

T = TypeVar("T")


def owner_of(request: Request) -> str:
    """Whose streams the caller sees; "" where there is no login."""
    return str(request.scope.get("headwater.owner", ""))


def cursor_of(request: Request, after: str | None = None) -> str | None:
    """`Last-Event-ID` wins over `?after=`: a browser that reconnects repeats the old address with a newer header."""
    return request.headers.get("last-event-id") or after or None


async def accept(services: Services, request: Request, decoded: Decoded) -> Accepted:
    """Start the stream, or find the one that this `Idempotency-Key` started. Raises `HeadwaterError`."""
    settings = services.settings
    asked = _as_headers_say(decoded.request, request)
    if len(asked.messages) > settings.max_messages:
        raise InputError(f"more than {settings.max_messages} messages", param="messages")
    new = NewStream(
        dialect=decoded.dialect,
        owner=owner_of(request),
        linger_s=_linger_s(request, services, decoded.dialect),
        prompt_characters=prompt_characters(asked),
        idempotency_key=_idempotency_key(request),
        retry=cursor_of(request) is None,
        priority=asked.priority,
    )
    if new.idempotency_key:
        new = msgspec.structs.replace(new, fingerprint=_fingerprint(asked))
        # Before the model is looked up: what is in the log needs no provider any more.
        known = await services.hub.find(new)
        if known is not None:
            return Accepted(known, False)
    resolved = await services.models.resolve(asked.model or settings.default_model or None)
    chat = msgspec.structs.replace(asked, model=resolved.model)
    new = msgspec.structs.replace(
        new, model=resolved.model, provider=resolved.provider_name, request=encode_request(chat)
    )
    return await services.hub.create(new, resolved.producer_factory(chat))


def _as_headers_say(asked: ChatRequest, request: Request) -> ChatRequest:
    """`X-Priority` and `X-Fallback` win over the body: a proxy can set them for callers it knows."""
    return msgspec.structs.replace(
        asked,
        fallback=_choice(request, "X-Fallback", FALLBACKS, asked.fallback),
        priority=_choice(request, "X-Priority", PRIORITIES, asked.priority),
    )


def _choice(request: Request, header: str, choices: Mapping[str, T], default: T) -> T:
    word = request.headers.get(header)
    if word is None:
        return default
    if word not in choices:
        raise InputError(f"{header} must be one of: {', '.join(choices)}", param=header)
    return choices[word]


def _linger_s(request: Request, services: Services, dialect: str) -> float:
    text = request.headers.get("x-linger-s")
    if text is None:
        configured = services.settings.linger_s
        return dialect_named(dialect).default_linger_s if configured is None else configured
    try:
        linger_s = float(text)
    except ValueError:
        linger_s = math.nan
    if not 0 <= linger_s <= MAX_LINGER_S:
        raise InputError(f"X-Linger-S must be a number of seconds from 0 to {MAX_LINGER_S:g}", param="X-Linger-S")
    return linger_s


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key")
    if key is None:
        return ""
    if not _SANE_KEY.fullmatch(key):
        raise InputError("Idempotency-Key must be 1 to 255 printable ASCII characters", param="Idempotency-Key")
    return key


def _fingerprint(request: ChatRequest) -> str:
    """Of what is asked, not of how it is answered: a retry may stream, or hurry, where the first call did not."""
    asked = ChatRequest(request.model, request.messages, request.params)
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()
