"""The description of the identity routes, made from the structs that they decode and encode."""

from __future__ import annotations

from typing import Any

from ..identity.bodies import KeyOrder, Rotation, TicketOrder
from ..identity.cards import KeyCard, KeyList, Me, MeterCard, NewKeyCard, TicketCard
from .openapi_parts import ALWAYS, REQUEST_ID, describe_answer, describe_header, describe_operation, json_content

BODIES = (KeyOrder, Rotation, TicketOrder, MeterCard, Me, TicketCard, KeyCard, NewKeyCard, KeyList)
"""For the schemas of the description."""


def _optional_body(operation: dict[str, Any], name: str) -> dict[str, Any]:
    """A body whose every field may be left out may be left out itself."""
    operation["openapi_extra"]["requestBody"] = {"required": False, "content": json_content(name)}
    return operation


_PLACE = REQUEST_ID | {"Location": describe_header("Where the key is.")}

GET_ME = describe_operation({200: describe_answer("Who calls.", "Me")}, (*ALWAYS, 503))
CREATE_TICKET = _optional_body(
    describe_operation({201: describe_answer("The ticket.", "TicketCard")}, (*ALWAYS, 413, 503), status=201),
    "TicketOrder",
)
LIST_KEYS = describe_operation({200: describe_answer("The keys.", "KeyList")}, (*ALWAYS, 503))
CREATE_KEY = describe_operation(
    {201: describe_answer("The key, with its secret.", "NewKeyCard", headers=_PLACE)},
    (*ALWAYS, 413, 503),
    status=201,
    body="KeyOrder",
)
GET_KEY = describe_operation({200: describe_answer("The key.", "KeyCard")}, (*ALWAYS, 404, 503))
REVOKE_KEY = describe_operation({204: describe_answer("It opens nothing any more.")}, (*ALWAYS, 404, 503), status=204)
ROTATE_KEY = _optional_body(
    describe_operation({200: describe_answer("The key, with its new secret.", "NewKeyCard")}, (*ALWAYS, 404, 413, 503)),
    "Rotation",
)
