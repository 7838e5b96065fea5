"""The description of the identity routes, made from the structs that they decode and encode."""

from __future__ import annotations

from typing import Any

from ..identity.bodies import KeyOrder, Rotation, TicketOrder
from ..identity.cards import KeyCard, KeyList, Me, MeterCard, NewKeyCard, TicketCard
from .openapi import _ALWAYS, _REQUEST_ID, _answer, _header, _json, _operation

BODIES = (KeyOrder, Rotation, TicketOrder, MeterCard, Me, TicketCard, KeyCard, NewKeyCard, KeyList)
"""For the schemas of the description."""


def _optional_body(operation: dict[str, Any], name: str) -> dict[str, Any]:
    """A body whose every field may be left out may be left out itself."""
    operation["openapi_extra"]["requestBody"] = {"required": False, "content": _json(name)}
    return operation


_PLACE = _REQUEST_ID | {"Location": _header("Where the key is.")}

GET_ME = _operation({200: _answer("Who calls.", "Me")}, (*_ALWAYS, 503))
CREATE_TICKET = _optional_body(
    _operation({201: _answer("The ticket.", "TicketCard")}, (*_ALWAYS, 413, 503), status=201), "TicketOrder"
)
LIST_KEYS = _operation({200: _answer("The keys.", "KeyList")}, (*_ALWAYS, 503))
CREATE_KEY = _operation(
    {201: _answer("The key, with its secret.", "NewKeyCard", headers=_PLACE)},
    (*_ALWAYS, 413, 503),
    status=201,
    body="KeyOrder",
)
GET_KEY = _operation({200: _answer("The key.", "KeyCard")}, (*_ALWAYS, 404, 503))
REVOKE_KEY = _operation({204: _answer("It opens nothing any more.")}, (*_ALWAYS, 404, 503), status=204)
ROTATE_KEY = _optional_body(
    _operation({200: _answer("The key, with its new secret.", "NewKeyCard")}, (*_ALWAYS, 404, 413, 503)), "Rotation"
)
