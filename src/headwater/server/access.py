"""Who may call: keys, tokens and tickets, or in single-user mode the Host and Origin of this machine's own pages.

The layer tells who it is in `scope["headwater.principal"]`, whose data in `scope["headwater.owner"]`, and in
`scope["headwater.admin"]` whether it may change what all callers share; where no layer has told, nobody may. An
application that mounts this API and signs its users in tells the owner, and whether it is an admin, itself.

A browser sends requests for any page to any address, loopback included. Without keys two attacks remain: a page that
posts to localhost (CSRF), told by `Origin` and `Sec-Fetch-Site`, and a name of the attacker's that is made to resolve
to 127.0.0.1 (DNS rebinding), told by `Host`. See https://fetch.spec.whatwg.org/#origin-header and
https://www.w3.org/TR/fetch-metadata/.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import AdminRequired, HeadwaterError, OriginRefused, ScopeMissing, TokenRefused
from ..identity import Identity, Principal
from . import api_docs
from .errors import exception_response
from .page import Pages

PROBES = frozenset({"/health", "/ready"})
OPEN_PATHS = PROBES | {"/", api_docs.PATH, "/openapi.json"}
"""Probes carry no keys, a browser that opens a page has none yet, and none of these tells anything private."""

TICKET = "ticket"
"""Query parameter of a ticket."""

_IN_QUERY = f"{TICKET}=".encode()
_PRINCIPAL, _OWNER, _ADMIN = "headwater.principal", "headwater.owner", "headwater.admin"
_READING = frozenset({"GET", "HEAD"})
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Access:
    """401 without a valid key, token or ticket where one is needed; 403 for what its scopes do not hold.

    Where none is needed and `single_user` is set, Host and Origin are checked (`OriginRules`), else nothing.
    `pages`: those that come with the server are open, like `OPEN_PATHS`. `probes`: further paths for everybody.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        identity: Identity,
        single_user: bool = False,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        pages: Pages | None = None,
        probes: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._identity = identity
        self._pages = pages
        self._probes = PROBES | set(probes)
        self._origins = OriginRules(hosts=hosts, origins=origins) if single_user else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._enter(scope)
            except HeadwaterError as error:
                headers = _CHALLENGE if error.http_status == 401 else None
                await exception_response(error, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _enter(self, scope: Scope) -> None:
        """Tell who it is. Raises `AccessError`, `StoreUnavailable`, `IdentityUnavailable`."""
        path = _path(scope)
        ticket = _take_ticket(scope) if _IN_QUERY in scope["query_string"] else None
        # Probes come by address or by any name, and tell nothing that a rebinding page could use.
        if path in self._probes:
            return
        identity = self._identity
        # An application that has signed its user in needs a key where the settings say so, and no other.
        if identity.configured or (_OWNER not in scope and await identity.needs_key()):
            if not self._is_open(path):
                _tell(scope, self._identity, await self._shown(scope, path, ticket))
        elif self._origins is None:
            _tell(scope, identity, identity.anonymous)
        elif (refusal := self._origins.refusal(scope)) is not None:
            raise OriginRefused(refusal)
        else:
            _tell(scope, identity, identity.single_user)

    def _is_open(self, path: str) -> bool:
        if path in OPEN_PATHS or path.startswith(f"{api_docs.ASSETS}/"):
            return True
        return self._pages is not None and self._pages.serves(path)

    async def _shown(self, scope: Scope, path: str, ticket: str | None) -> Principal:
        """By a header, else by a ticket in the address."""
        presented = _presented_key(scope)
        reads = scope["method"] in _READING
        if presented or ticket is None:
            principal = await self._identity.principal(presented)
        elif reads:
            principal = await self._identity.ticket_principal(ticket, path=path, resumes=_resumes(scope))
        else:
            raise TokenRefused("a ticket is for GET and HEAD only")
        if not principal.scopes or not (reads or principal.scopes - {"read"}):
            raise ScopeMissing(
                "this key or token may only read" if principal.scopes else "this token may do nothing here"
            )
        return principal


def _tell(scope: Scope, identity: Identity, principal: Principal) -> None:
    """Where the application has told something already, that stays."""
    told_admin = scope.get(_ADMIN)
    if _OWNER in scope:
        # Else all users of the application would be one tenant, that of the key.
        keyed = principal if identity.configured else None
        admin = keyed is not None and keyed.global_admin if told_admin is None else bool(told_admin)
        principal = identity.told(str(scope[_OWNER]), admin=admin, keyed=keyed)
    elif told_admin is not None:
        scopes = principal.scopes | {"admin"} if told_admin else principal.scopes - {"admin"}
        principal = msgspec.structs.replace(principal, scopes=scopes)
    scope[_PRINCIPAL] = principal
    scope.setdefault(_OWNER, principal.tenant)
    scope.setdefault(_ADMIN, principal.global_admin)


def check_admin(scope: Scope) -> None:
    """Raises `AdminRequired` where no layer has told that the caller may change what all callers share."""
    if not scope.get(_ADMIN, False):
        raise AdminRequired("this needs an admin key: one of the setting admin_keys")


def below_mount(scope: Scope, path: str) -> str:
    """A path of this server as this API sees it, wherever it is mounted."""
    return path.removeprefix(scope.get("root_path", ""))


def _path(scope: Scope) -> str:
    return below_mount(scope, str(scope["path"]))


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


def _take_ticket(scope: Scope) -> str | None:
    """The ticket, which goes out of the address: nothing behind this layer sees it, and nothing can log it."""
    parts = bytes(scope["query_string"]).split(b"&")
    tickets = [part for part in parts if part.startswith(_IN_QUERY)]
    if not tickets:
        return None
    scope["query_string"] = b"&".join(part for part in parts if part not in tickets)
    # Two of them have no meaning; neither is taken.
    return tickets[0].removeprefix(_IN_QUERY).decode("latin-1") if len(tickets) == 1 else ""


def _resumes(scope: Scope) -> bool:
    """Whether the request carries a cursor."""
    if any(name == b"last-event-id" and value for name, value in scope["headers"]):
        return True
    query = bytes(scope["query_string"])
    return any(part.startswith(b"after=") and part != b"after=" for part in query.split(b"&"))


class OriginRules:
    """Single-user mode: whether a request came by a name of this machine, and from no page of another origin."""

    def __init__(self, *, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._hosts = frozenset(host.strip("[]").lower() for host in hosts)
        self._origins = frozenset(origins)

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
