"""Who may call: API keys, or in single-user mode the Host and Origin of this machine's own pages.

Who may change what all callers share: whoever sends an admin key, and in single-user mode everybody. The layer that let
the request in tells so in `scope["headwater.admin"]`; where no layer has, nobody may.

A browser sends requests for any page to any address, loopback included. Without keys two attacks remain: a page that
posts to localhost (CSRF), told by `Origin` and `Sec-Fetch-Site`, and a name of the attacker's that is made to resolve
to 127.0.0.1 (DNS rebinding), told by `Host`. See https://fetch.spec.whatwg.org/#origin-header and
https://www.w3.org/TR/fetch-metadata/.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import AccessError, AdminRequired, ConfigError, OriginRefused
from . import api_docs
from .errors import exception_response

PROBES = frozenset({"/health", "/ready"})
OPEN_PATHS = PROBES | {"/", api_docs.PATH, "/openapi.json"}
"""Probes carry no keys, a browser that opens the API's pages has none yet, and none of these tells anything private."""

_ADMIN = "headwater.admin"
_DIGEST_PREFIX = "sha256:"
_OWNER_DIGITS = 32


class KeyRing:
    """The configured keys, as digests only."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def owner(self, presented: bytes) -> str | None:
        """The owner name behind a key, or `None`. Takes the same time whichever key it is, or none."""
        digest = hashlib.sha256(presented).digest()
        known = False
        for candidate in self._digests:
            known |= hmac.compare_digest(candidate, digest)
        return digest.hex()[:_OWNER_DIGITS] if known else None


def _digest(key: str) -> bytes:
    if not key.startswith(_DIGEST_PREFIX):
        return hashlib.sha256(key.encode()).digest()
    try:
        digest = bytes.fromhex(key.removeprefix(_DIGEST_PREFIX))
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ConfigError("an API key that starts with sha256: must be followed by 64 hex digits")
    return digest


class KeyCheck:
    """Sets `scope["headwater.owner"]` from `Authorization: Bearer` or `x-api-key`; 401 without a known key.

    `admins`: those of `keys` that may administer.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyRing, admins: KeyRing) -> None:
        self._app = app
        self._keys = keys
        self._admins = admins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(_path(scope)):
            presented = _presented_key(scope)
            owner = self._keys.owner(presented) if presented else None
            if owner is None:
                error = AccessError("no API key was given" if not presented else "the API key is not valid")
                headers = {"WWW-Authenticate": "Bearer"}
                await exception_response(error, headers)(scope, receive, send)
                return
            # An application that mounts this API and signs its users in has told whose request it is.
            scope.setdefault("headwater.owner", owner)
            scope.setdefault(_ADMIN, self._admins.owner(presented) is not None)
        await self._app(scope, receive, send)


def check_admin(scope: Scope) -> None:
    """Raises `AdminRequired` where no layer has told that the caller may change what all callers share."""
    if not scope.get(_ADMIN, False):
        raise AdminRequired("this needs an admin key: one of the setting admin_keys")


def _path(scope: Scope) -> str:
    """Below where the API is mounted."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(f"{api_docs.ASSETS}/")


def _presented_key(scope: Scope) -> bytes:
    other = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, key = value.partition(b" ")
            if kind.lower() == b"bearer" and key.strip():
                return bytes(key.strip())
        elif name == b"x-api-key":
            other = value
    return bytes(other)


class OriginCheck:
    """Single-user mode: 403 for a Host that is not this machine, or a page of another origin."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.strip("[]").lower() for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Probes come by address or by any name, and tell nothing that a rebinding page could use.
        if scope["type"] == "http" and _path(scope) not in PROBES:
            refusal = self.refusal(scope)
            if refusal is not None:
                await exception_response(OriginRefused(refusal))(scope, receive, send)
                return
            scope.setdefault(_ADMIN, True)
        await self._app(scope, receive, send)

    def refusal(self, scope: Scope) -> str | None:
        """Why the request is refused, or `None`."""
        host, origin, site, mode, destination = _headers(
            scope, b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"
        )
        if not self._is_here(host):
            return "this server answers to names of this machine only"
        if origin:
            if self._is_allowed(origin) or _same_origin(origin, host):
                return None
            return "pages of this origin may not call this server; cors_origins can allow it"
        if site == "cross-site":
            # A link that a person follows is cross-site too; it is safe, because GET changes nothing here and the
            # other page cannot read the answer.
            followed = mode == "navigate" and destination == "document" and scope["method"] in ("GET", "HEAD")
            return None if followed else "requests from other sites are refused"
        return None

    def _is_allowed(self, origin: str) -> bool:
        return origin in self._origins or "*" in self._origins

    def _is_here(self, host: str) -> bool:
        name = _host_name(host)
        if name in self._hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _headers(scope: Scope, *names: bytes) -> list[str]:
    values = dict.fromkeys(names, "")
    for name, value in scope["headers"]:
        if name in values:
            values[name] = value.decode("latin-1")
    return list(values.values())


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _same_origin(origin: str, host: str) -> bool:
    """By authority alone: behind a TLS proxy the scheme seen here is not the browser's."""
    return origin.partition("://")[2].lower() == host.lower()
