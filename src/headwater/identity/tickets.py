"""Tickets: short-lived tokens for an address, where a client can set no header (EventSource, an image, a link).

An address gets into histories and logs, so a ticket does little: GET and HEAD, a short time, one path where that was
asked for. It has two ends. Until the first it may begin something; until the second it may go on with what it began,
which a cursor shows: EventSource repeats its address, ticket included, each time it reconnects, and takes a 401 as
final.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from pathlib import Path
from typing import Any

import jwt
import msgspec

from ..errors import InputError, StoreUnavailable, TokenRefused
from .clock import Clock, SystemClock
from .principal import Principal
from .settings import IdentitySettings

_logger = logging.getLogger(__name__)

FILE_NAME = "ticket.key"
MAX_TICKET_BYTES = 8192
NOT_VALID = "the ticket is not valid"
EXPIRED = "the ticket has expired"
OTHER_PATH = "the ticket is for another path"

_ALGORITHM = "HS256"
_AUDIENCE = "headwater-ticket"
_KEY_BYTES = 32


class Ticket(msgspec.Struct, frozen=True):
    """`until_ms`: of a first request; `resume_ms`: of one with a cursor."""

    text: str
    until_ms: int
    resume_ms: int


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a ticket says; short names, for it stands in an address. `static`: the tenant is a key's of the settings."""

    tenant: str = msgspec.field(name="t")
    scopes: list[str] = msgspec.field(name="s")
    until_ms: int = msgspec.field(name="b")
    resume_ms: int = msgspec.field(name="e")
    organization: str = msgspec.field(name="o", default="")
    project: str = msgspec.field(name="p", default="")
    user: str = msgspec.field(name="u", default="")
    key_id: str = msgspec.field(name="k", default="")
    organizations: list[str] = msgspec.field(name="g", default_factory=list)
    path: str = msgspec.field(name="w", default="")
    static: bool = msgspec.field(name="x", default=False)


class Tickets:
    """`directory`: where the key is kept; None: it ends with the process, and all its tickets with it."""

    def __init__(self, settings: IdentitySettings, directory: Path | None, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        secret = settings.ticket_secret.encode() or _kept_secret(directory)
        # So that a secret that is used elsewhere, too, signs tickets here and nothing else.
        self._key = hmac.digest(secret, _AUDIENCE.encode(), hashlib.sha256)

    def issue(
        self, principal: Principal, *, path: str = "", ttl_s: float | None = None, static: bool = False
    ) -> Ticket:
        """For all that the principal may do by GET, never `admin`. `ttl_s`: at most, and by default, the setting's.

        `path`: the only one, as the application sees it (decoded, without a query). Raises `InputError`.
        """
        longest_s = self._settings.ticket_ttl_s
        if ttl_s is not None and not 0 < ttl_s <= longest_s:
            raise InputError(f"ttl_s must be above 0 and at most {longest_s:g}", param="ttl_s")
        now_ms = self._clock.wall_ms()
        claims = Claims(
            tenant=principal.tenant,
            scopes=sorted(principal.scopes - {"admin"}),
            until_ms=now_ms + int((ttl_s or longest_s) * 1000),
            resume_ms=now_ms + int(self._settings.ticket_resume_s * 1000),
            organization=principal.organization,
            project=principal.project,
            user=principal.user,
            key_id=principal.key_id,
            organizations=sorted(principal.organizations),
            path=path,
            static=static,
        )
        payload = msgspec.to_builtins(claims) | {"aud": _AUDIENCE}
        text = jwt.encode(payload, self._key, algorithm=_ALGORITHM)
        if len(text) > MAX_TICKET_BYTES:
            raise InputError("a ticket for so many organizations or so long a path is too long for an address")
        return Ticket(text, claims.until_ms, claims.resume_ms)

    def read(self, text: str, *, path: str, resumes: bool) -> Claims:
        """What a ticket allows a GET or HEAD of `path`. `resumes`: it carries a cursor. Raises `TokenRefused`."""
        claims = self._claims(text)
        if self._clock.wall_ms() >= (claims.resume_ms if resumes else claims.until_ms):
            raise TokenRefused(EXPIRED)
        if claims.path and claims.path != path:
            raise TokenRefused(OTHER_PATH)
        return claims

    def _claims(self, text: str) -> Claims:
        if len(text) > MAX_TICKET_BYTES:
            raise TokenRefused(NOT_VALID)
        try:
            payload: dict[str, Any] = jwt.decode(text, self._key, algorithms=[_ALGORITHM], audience=_AUDIENCE)
            return msgspec.convert(payload, Claims)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as exc:
            raise TokenRefused(NOT_VALID) from exc


def _kept_secret(directory: Path | None) -> bytes:
    """The same after a restart, for which streams go on as well. Raises `StoreUnavailable`."""
    if directory is None:
        return secrets.token_bytes(_KEY_BYTES)
    path = directory / FILE_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True)
        kept = _existing(path)
        return kept if kept is not None else _made(path)
    except OSError as exc:
        raise StoreUnavailable("the key of the tickets cannot be kept now") from exc


def _existing(path: Path) -> bytes | None:
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        return None
    if path.stat().st_mode & 0o077:
        _logger.warning("%s could be read by others; now it cannot", path.name)
        path.chmod(0o600)
    # Shorter: not ours, or cut. A weak key would let others make tickets.
    return secret if len(secret) >= _KEY_BYTES else None


def _made(path: Path) -> bytes:
    """Written beside and put in place whole, by the one process that owns the data directory."""
    secret = secrets.token_bytes(_KEY_BYTES)
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    return secret
