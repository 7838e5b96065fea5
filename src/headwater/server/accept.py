"""From a request to an accepted stream: the same steps for every route that starts one."""

from __future__ import annotations

import hashlib
import math
import re

import msgspec
from starlette.requests import Request

from ..dialects import Decoded, dialect_named
from ..errors import InputError
from ..request import ChatRequest, encode_request, prompt_characters
from ..streams import Accepted, NewStream
from .ports import Services

MAX_LINGER_S = 86_400.0

# Visible ASCII; the length is that of the draft's other implementations (draft-ietf-httpapi-idempotency-key-header).
_SANE_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def owner_of(request: Request) -> str:
    """Whose streams the caller sees; "" where there is no login."""
    return str(request.scope.get("headwater.owner", ""))


def cursor_of(request: Request, after: str | None = None) -> str | None:
    """`Last-Event-ID` wins over `?after=`: a browser that reconnects repeats the old address with a newer header."""
    return request.headers.get("last-event-id") or after or None


async def accept(services: Services, request: Request, decoded: Decoded) -> Accepted:
    """Start the stream, or find the one that this `Idempotency-Key` started. Raises `HeadwaterError`."""
    settings = services.settings
    asked = decoded.request
    if len(asked.messages) > settings.max_messages:
        raise InputError(f"more than {settings.max_messages} messages", param="messages")
    new = NewStream(
        dialect=decoded.dialect,
        owner=owner_of(request),
        linger_s=_linger_s(request, services, decoded.dialect),
        prompt_characters=prompt_characters(asked),
        idempotency_key=_idempotency_key(request),
        retry=cursor_of(request) is None,
    )
    if new.idempotency_key:
        new = msgspec.structs.replace(new, fingerprint=_fingerprint(asked))
        # Before the model is looked up: what is in the log needs no provider any more.
        known = await services.hub.find(new)
        if known is not None:
            return Accepted(known, False)
    resolved = await services.models.resolve(asked.model or settings.default_model or None)
    chat = ChatRequest(resolved.model, asked.messages, asked.params)
    new = msgspec.structs.replace(
        new, model=resolved.model, provider=resolved.provider_name, request=encode_request(chat)
    )
    return await services.hub.create(new, resolved.producer_factory(chat))


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
    """Of what is asked, not of how the answer is to be sent: a retry may stream what the first call did not."""
    return hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()
