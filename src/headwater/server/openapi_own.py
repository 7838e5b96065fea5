"""What descriptions of routes with error forms of their own share."""

from __future__ import annotations

from typing import Any

from ..events import JsonObject
from .openapi_parts import REF, json_content

_OURS = REF.format(name="ErrorBody")


def in_form(operation: dict[str, Any], name: str) -> dict[str, Any]:
    """The operation with errors in the form of the struct `name`, whoever refuses (see `chat_routes.PLACES`)."""
    return operation | {
        "responses": {status: _answer_in_form(answer, name) for status, answer in operation["responses"].items()}
    }


def _answer_in_form(answer: dict[str, Any], name: str) -> dict[str, Any]:
    content = answer.get("content", {}).get("application/json", {})
    if content.get("schema", {}).get("$ref") != _OURS:
        return answer
    return answer | {"content": json_content(name)}


def query(name: str, description: str, schema: JsonObject, *, required: bool = False) -> JsonObject:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}
