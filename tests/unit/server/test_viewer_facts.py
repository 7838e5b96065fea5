"""What a request tells of its client, in bounds, and whom it counts against."""

from __future__ import annotations

import pytest

from headwater.identity import Principal
from headwater.server.viewer_facts import (
    MAX_AGENT_CHARACTERS,
    MAX_CLIENT_ID_CHARACTERS,
    ViewerFacts,
    facts_of_viewer,
)
from headwater.streams import NOBODY, Caller

from .asgi import http_scope


def test_all_that_is_told_is_kept_in_bounds() -> None:
    scope = http_scope(headers={"User-Agent": "x" * 10_000, "X-Client-Id": "y" * 10_000})
    scope["client"] = ("10.0.0.1", 5)
    scope["headwater.request_id"] = "r1"
    scope["headwater.principal"] = Principal("org:a", frozenset(), user="ann", key_id="k1")
    told = facts_of_viewer(scope, "events", resumed=True, carries=True)
    assert told == ViewerFacts(
        dialect="events",
        user_agent="x" * MAX_AGENT_CHARACTERS,
        ip="10.0.0.1",
        resumed=True,
        client_id="y" * MAX_CLIENT_ID_CHARACTERS,
        request_id="r1",
        user="ann",
        key="k1",
        carries=True,
    )
    assert told.caller == Caller("k1", "10.0.0.1")


def test_of_nobody_nothing_is_told() -> None:
    bare = facts_of_viewer(http_scope())
    assert bare == ViewerFacts()
    assert bare.caller == NOBODY


@pytest.mark.parametrize(
    ("principal", "key"),
    [
        (Principal("org:a/user:ann", frozenset(), user="ann"), "org:a/user:ann"),  # of a token
        (Principal("a digest", frozenset()), "a digest"),  # a key of the settings
        (Principal("", frozenset()), ""),  # alone on the server
    ],
)
def test_who_has_no_key_of_the_database_is_counted_by_the_tenant(principal: Principal, key: str) -> None:
    scope = http_scope()
    scope["headwater.principal"] = principal
    assert facts_of_viewer(scope).key == key
