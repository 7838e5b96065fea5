"""From a request to an accepted stream: the same steps for every route that starts one."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
from starlette.requests import Request

from ..dialects import Decoded, dialect_named
from ..errors import InputError
from ..identity import Principal
from ..request import ChatRequest, Priority, encode_request, prompt_characters
from ..streams import Accepted, NewStream, Producer
from ..streams.fold import CHARACTERS_PER_TOKEN
from .ports import Services
from .viewer_facts import facts_of_viewer

MAX_LINGER_S = 86_400.0

# Visible ASCII; the length is that of the draft's other implementations (draft-ietf-httpapi-idempotency-key-header).
_SANE_KEY = re.compile(r"[\x20-\x7e]{1,255}")

PRIORITIES: dict[str, Priority] = {"low": "low", "normal": "normal", "high": "high"}
FALLBACKS = {"on": True, "off": False}

T = TypeVar("T")


def owner_of(request: Request) -> str:
    """Whose streams the caller sees; "" where there is no login."""
    return str(request.scope.get("headwater.owner", ""))


def principal_of(request: Request) -> Principal | None:
    """Who calls; None where nobody asked."""
    principal = request.scope.get("headwater.principal")
    return principal if isinstance(principal, Principal) else None


def cursor_of(request: Request, after: str | None = None) -> str | None:
    """`Last-Event-ID` wins over `?after=`: a browser that reconnects repeats the old address with a newer header."""
    return request.headers.get("last-event-id") or after or None


def check_room(services: Services, request: Request) -> None:
    """Before a model is asked for an answer that nobody could watch. Raises `TooManyConnections`."""
    services.hub.check_room(facts_of_viewer(request.scope).caller)


def wants_stream(request: Request, decoded: Decoded) -> bool:
    return decoded.stream or "text/event-stream" in request.headers.get("accept", "")


async def accept(services: Services, request: Request, decoded: Decoded) -> Accepted:
    """Start the stream, or find the one that this `Idempotency-Key` started. Raises `HeadwaterError`."""
    settings = services.settings
    fallback, priority = as_headers_say(request, decoded.request.fallback, decoded.request.priority)
    asked = msgspec.structs.replace(decoded.request, fallback=fallback, priority=priority)
    if len(asked.messages) > settings.max_messages:
        raise InputError(f"more than {settings.max_messages} messages", param="messages")
    characters = prompt_characters(asked)
    new = msgspec.structs.replace(
        new_stream(services, request, decoded.dialect), prompt_characters=characters, priority=asked.priority
    )
    if new.idempotency_key:
        new = msgspec.structs.replace(new, fingerprint=_fingerprint(asked))
        # Before the model is looked up: what is in the log needs no provider any more.
        known = await services.hub.find(new)
        if known is not None:
            return Accepted(known, False)
    if wants_stream(request, decoded) and cursor_of(request, request.query_params.get("after")) is None:
        check_room(services, request)
    async with metered(services, request, characters) as count:
        chat, provider, producer = await resolved(
            services, msgspec.structs.replace(asked, meters=count.names), new.owner
        )
        new = msgspec.structs.replace(new, model=chat.model, provider=provider, request=encode_request(chat))
        accepted = await services.hub.create(new, producer)
        count.spent = accepted.created
    return accepted


async def resolved(services: Services, asked: ChatRequest, tenant: str) -> tuple[ChatRequest, str, Producer]:
    """The request as its model gets it, the provider's name, and what answers it. Raises as `Models.resolve`."""
    found = await services.models.resolve(asked.model or services.settings.default_model or None)
    chat = msgspec.structs.replace(asked, model=found.model)
    if not found.grounded or services.backend is None:
        return chat, found.provider_name, found.producer_factory(chat)
    chat, producer = await services.backend.ground(chat, tenant, local=found.local)
    return chat, found.provider_name, producer


def new_stream(services: Services, request: Request, dialect: str) -> NewStream:
    """What the headers say of how a stream is made. Raises `InputError`."""
    return NewStream(
        dialect=dialect,
        owner=owner_of(request),
        linger_s=_linger_s(request, services, dialect),
        idempotency_key=_idempotency_key(request),
        retry=cursor_of(request) is None,
    )


class Count:
    """Whose budgets a request counts against; `spent`: whether a stream came of it, whose end settles them."""

    __slots__ = ("names", "spent")

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.spent = False


@asynccontextmanager
async def metered(services: Services, request: Request, characters: int) -> AsyncIterator[Count]:
    """Admit a prompt of so many characters; what was set aside for it comes back where no stream came of it.

    Raises `RateLimited`, `BudgetExhausted`.
    """
    principal, meters = principal_of(request), services.meters
    if meters is None or principal is None or not principal.meters:
        yield Count([])
        return
    count = Count(await meters.admit(principal, -(-characters // CHARACTERS_PER_TOKEN)))
    try:
        yield count
    finally:
        if not count.spent:
            meters.give_back(count.names)


def as_headers_say(request: Request, fallback: bool, priority: Priority) -> tuple[bool, Priority]:
    """`X-Fallback` and `X-Priority` win over the body: a proxy can set them for callers it knows."""
    return (
        _choice(request, "X-Fallback", FALLBACKS, fallback),
        _choice(request, "X-Priority", PRIORITIES, priority),
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
