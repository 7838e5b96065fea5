"""What is known of a client besides its stream: read here, and only here, from the request that it came with."""

from __future__ import annotations

import msgspec
from starlette.types import Scope

from ..identity import Principal
from ..streams import Caller

# They are kept with the viewer, and told again with each look at it.
MAX_AGENT_CHARACTERS = 512
MAX_CLIENT_ID_CHARACTERS = 256


class ViewerFacts(msgspec.Struct, frozen=True):
    """Texts are "" where nothing was told. `resumed`: whether it came with a cursor.

    `key`: what limits count its connections by; `user`: who the key or token belongs to. `carries`: whether it is the
    connection of reference 002 that its stream was made as, and not one more client that looks at it. `compressed`:
    whether its frames are.
    """

    dialect: str = ""
    user_agent: str = ""
    ip: str = ""
    resumed: bool = False
    client_id: str = ""
    request_id: str = ""
    user: str = ""
    key: str = ""
    carries: bool = False
    compressed: bool = False

    @property
    def caller(self) -> Caller:
        return Caller(self.key, self.ip)


def facts_of_viewer(
    scope: Scope, dialect: str = "", *, resumed: bool = False, carries: bool = False, compressed: bool = False
) -> ViewerFacts:
    agent, client_id = "", ""
    for name, value in scope["headers"]:
        if name == b"user-agent" and not agent:
            agent = value.decode("latin-1")[:MAX_AGENT_CHARACTERS]
        elif name == b"x-client-id" and not client_id:
            client_id = value.decode("latin-1")[:MAX_CLIENT_ID_CHARACTERS]
    client = scope.get("client")
    who = scope.get("headwater.principal")
    principal = who if isinstance(who, Principal) else None
    return ViewerFacts(
        dialect=dialect,
        user_agent=agent,
        ip=str(client[0]) if client else "",
        resumed=resumed,
        client_id=client_id,
        request_id=str(scope.get("headwater.request_id", "")),
        user=principal.user if principal is not None else "",
        # A key of the settings has a tenant of its own, and so has a user; alone on the server there is neither.
        key=(principal.key_id or principal.tenant) if principal is not None else "",
        carries=carries,
        compressed=compressed,
    )
