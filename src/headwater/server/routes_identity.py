"""Who calls, tickets for addresses, and the keys: made, listed, rotated and revoked by who administers them.

An administrator of an organisation, or of a project, sees and makes keys of that one only; for the others the rest of
the keys do not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar
from urllib.parse import unquote

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from ..dialects.base import decode_object
from ..errors import AccessError, AdminRequired, UnknownItem
from ..identity import Identity, Principal
from ..identity.api_key import EVERYBODY, ApiKey, Issued, Reach
from ..identity.bodies import KeyOrder, Rotation, TicketOrder, read_body
from ..identity.cards import KeyCard, KeyList, Me, TicketCard, key_card, meter_card, with_secret
from ..instants import rfc3339
from . import openapi_identity
from .accept import principal_of
from .access import below_mount
from .routes_openai import json_response
from .routes_streams import STREAM_ID

T = TypeVar("T", bound=msgspec.Struct)

KeyId = Annotated[str, Path(description="Id of the key, or its public prefix.", max_length=64)]


def routes(identity: Identity) -> APIRouter:
    """`/v1/me`, `/v1/tickets`, `/v1/keys` and below."""
    router = APIRouter(tags=["identity"])
    _add_caller(router, identity)
    _add_keys(router, identity)
    _add_key_changes(router, identity)
    return router


def _add_caller(router: APIRouter, identity: Identity) -> None:
    @router.get("/v1/me", **openapi_identity.GET_ME)
    async def get_me(request: Request) -> Response:
        """Who you are to this server, what you may do, and where your limits stand."""
        principal = _caller(request)
        standing = await identity.meters.standing(principal)
        me = Me(
            organization=principal.organization,
            project=principal.project,
            user=principal.user,
            organizations=sorted(principal.organizations),
            key_id=principal.key_id or None,
            scopes=sorted(principal.scopes),
            meters=[meter_card(one) for one in standing.meters],
        )
        return json_response(me)

    @router.post("/v1/tickets", **openapi_identity.CREATE_TICKET)
    async def create_ticket(request: Request) -> Response:
        """A short-lived token for the query parameter `ticket` of a GET, where no header can be set (EventSource)."""
        principal = _caller(request)
        order = await _body(request, TicketOrder)
        # As the path will be seen when the ticket comes: decoded, and below where this API is mounted.
        path = below_mount(request.scope, unquote(order.path or ""))
        ticket = identity.issue_ticket(principal, path=path, ttl_s=order.ttl_s)
        card = TicketCard(ticket.text, rfc3339(ticket.until_ms), rfc3339(ticket.resume_ms))
        return json_response(card, status=201, headers={"Cache-Control": "no-store"})


def _add_keys(router: APIRouter, identity: Identity) -> None:
    @router.get("/v1/keys", **openapi_identity.LIST_KEYS)
    async def list_keys(
        request: Request,
        prefix: Annotated[str, Query(max_length=32, description="Only keys that begin so.")] = "",
        limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
        before: Annotated[
            str | None, Query(description="Only keys older than this id, for paging.", pattern=STREAM_ID)
        ] = None,
    ) -> Response:
        """The keys that you administer, newest first, revoked ones too."""
        within = _reach(request)
        keys = await identity.keys()
        # One more than asked for tells whether there are more, without a second query.
        found = [] if keys is None else await keys.list(within, prefix=prefix, limit=limit + 1, before=before)
        shown = found[:limit]
        standings = await identity.meters.standings(key.meter for key in shown)
        now_ms = identity.now_ms()
        cards = [key_card(key, standing, now_ms) for key, standing in zip(shown, standings, strict=True)]
        return json_response(KeyList("list", cards, len(found) > limit))

    @router.get("/v1/keys/{key_id}", **openapi_identity.GET_KEY)
    async def get_key(request: Request, key_id: KeyId) -> Response:
        """One key."""
        within = _reach(request)
        keys = await identity.keys()
        if keys is None:
            raise UnknownItem("key")
        return json_response(await _card(identity, await keys.get(key_id, within)))


def _add_key_changes(router: APIRouter, identity: Identity) -> None:
    @router.post("/v1/keys", **openapi_identity.CREATE_KEY)
    async def create_key(request: Request) -> Response:
        """Make a key. It is told in this answer and never again."""
        within = _reach(request)
        order = _own(read_body(decode_object(await request.body()), KeyOrder), within)
        issued = await (await identity.keys_to_change()).create(order)
        identity.forget()
        place = f"{request.scope.get('root_path', '')}/v1/keys/{issued.key.id}"
        return await _issued(identity, issued, status=201, headers={"Location": place})

    @router.delete("/v1/keys/{key_id}", **openapi_identity.REVOKE_KEY)
    async def revoke_key(request: Request, key_id: KeyId) -> Response:
        """Revoke a key: at once in this process, within `key_cache_s` in others. It stays listed."""
        within = _reach(request)
        keys = await identity.keys_to_change()
        await keys.revoke((await keys.get(key_id, within)).id, within)
        identity.forget()
        return Response(status_code=204)

    @router.post("/v1/keys/{key_id}/rotate", **openapi_identity.ROTATE_KEY)
    async def rotate_key(request: Request, key_id: KeyId) -> Response:
        """A new secret for a key, told in this answer only. The one before goes on for `grace_s`."""
        within = _reach(request)
        rotation = await _body(request, Rotation)
        keys = await identity.keys_to_change()
        found = await keys.get(key_id, within)
        issued = await keys.rotate(found.id, grace_s=rotation.grace_s, within=within)
        identity.forget()
        return await _issued(identity, issued)


def _caller(request: Request) -> Principal:
    principal = principal_of(request)
    if principal is None:
        raise AccessError("nobody has told who calls")
    return principal


def _reach(request: Request) -> Reach:
    """Whose keys the caller administers. Raises `AdminRequired`."""
    principal = _caller(request)
    if "admin" not in principal.scopes:
        raise AdminRequired("this needs the scope admin")
    return Reach(principal.organization, principal.project)


def _own(order: KeyOrder, within: Reach) -> KeyOrder:
    """The order, for the organisation and project that the caller administers. Raises `AdminRequired`."""
    given = {"organization": within.organization, "project": within.project}
    own = {name: value for name, value in given.items() if value or (within != EVERYBODY and name == "organization")}
    if any(getattr(order, name) not in ("", value) for name, value in own.items()):
        raise AdminRequired("this key administers another organisation or project")
    return msgspec.structs.replace(order, **own)


async def _body(request: Request, kind: type[T]) -> T:
    """A body of which everything may be left out. Raises `InputError`."""
    content = await request.body()
    return read_body(decode_object(content), kind) if content else kind()


async def _issued(
    identity: Identity, issued: Issued, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    card = await _card(identity, issued.key)
    # No cache on the way may keep a secret.
    return json_response(
        with_secret(card, issued.text), status=status, headers={**(headers or {}), "Cache-Control": "no-store"}
    )


async def _card(identity: Identity, key: ApiKey) -> KeyCard:
    [standing] = await identity.meters.standings((key.meter,))
    return key_card(key, standing, identity.now_ms())
