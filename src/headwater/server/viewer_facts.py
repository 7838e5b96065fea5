"""What is known of a viewer's client besides its stream: kept with the viewer, told to who administers the server."""

from __future__ import annotations

import msgspec
from starlette.types import Scope

from .connection_facts import MAX_AGENT_CHARACTERS


class ViewerFacts(msgspec.Struct, frozen=True):
    """Texts are "" where nothing was told."""

    dialect: str = ""
    user_agent: str = ""
    ip: str = ""
    resumed: bool = False


def facts_of_viewer(scope: Scope, dialect: str, *, resumed: bool) -> ViewerFacts:
    """From the request that the viewer came with. `resumed`: whether with a cursor."""
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    client = scope.get("client")
    return ViewerFacts(
        dialect=dialect,
        user_agent=agent.decode("latin-1")[:MAX_AGENT_CHARACTERS],
        ip=str(client[0]) if client else "",
        resumed=resumed,
    )
