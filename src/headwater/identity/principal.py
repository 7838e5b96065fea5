"""Who a caller is: one tenant, and what may be done in it.

A tenant is a text. Everything that is stored belongs to one, so two different callers must never get the same text by
the way their names are written: see `tenant_path`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal, TypeAlias

import msgspec

Scope: TypeAlias = Literal["chat", "documents", "read", "admin"]
Period: TypeAlias = Literal["day", "month", "total"]

SCOPES: frozenset[str] = frozenset({"chat", "documents", "read", "admin"})
"""`chat`: ask and converse. `documents`: upload and search. `read`: GET of all that. `admin`: routes and keys."""

USER_SCOPES = SCOPES - {"admin"}
DEFAULT_SCOPES: frozenset[str] = frozenset({"chat", "documents"})

MAX_TENANT_CHARACTERS = 200
"""Of the column `tenant`."""

# `%` begins an escape and `~` a digest; `/` and `:` are the path's own. PostgreSQL takes no NUL, UTF-8 no half of a
# surrogate pair.
_SPECIAL = re.compile(r"[%/:~\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Meter(msgspec.Struct, frozen=True):
    """Whose requests and tokens are counted together, and how many there may be. 0: no bound.

    `name`: `key:<id>` or `user:<tenant>`. The budgets are for a day or a month of UTC, or for ever (`total`).
    """

    name: str
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    budget_tokens: int = 0
    budget_cost: float = 0.0
    budget_period: Period = "month"

    @property
    def budgeted(self) -> bool:
        return bool(self.budget_tokens or self.budget_cost)

    @property
    def limited(self) -> bool:
        return bool(self.requests_per_minute or self.tokens_per_minute) or self.budgeted

    @property
    def settles(self) -> bool:
        """Whether it wants to know what a stream has used. A key always does: its usage is told to who manages it."""
        return self.budgeted or bool(self.tokens_per_minute) or self.name.startswith("key:")


class Principal(msgspec.Struct, frozen=True):
    """A caller. `organizations`: further ones that a token says the user belongs to. `key_id`: of a database key.

    `tenant` is "" in single-user mode.
    """

    tenant: str
    scopes: frozenset[str]
    organization: str = ""
    project: str = ""
    user: str = ""
    key_id: str = ""
    meters: tuple[Meter, ...] = ()
    organizations: frozenset[str] = frozenset()

    @property
    def global_admin(self) -> bool:
        """May change what all organisations share. Who belongs to one administers that one only."""
        return "admin" in self.scopes and not self.organization and not self.project

    def may(self, scope: str, *, reads: bool = False) -> bool:
        """`reads`: the scope `read` is enough for it, whatever else is asked for (never for `admin`)."""
        return scope in self.scopes or (reads and scope != "admin" and "read" in self.scopes)


SINGLE_USER = Principal(tenant="", scopes=SCOPES)
ANONYMOUS = Principal(tenant="", scopes=USER_SCOPES)


def tenant_path(organization: str = "", project: str = "", user: str = "") -> str:
    """`org:acme/project:web/user:ann`, of the names that are given; "" without any.

    At most `MAX_TENANT_CHARACTERS`. Different names give different paths, always the same: what is special in a name
    is escaped, and a longer path ends in `~` and its SHA-256, which no short one can hold.
    """
    named = (("org", organization), ("project", project), ("user", user))
    path = "/".join(f"{kind}:{_SPECIAL.sub(_escaped, name)}" for kind, name in named if name)
    if len(path) <= MAX_TENANT_CHARACTERS:
        return path
    digest = hashlib.sha256(path.encode()).hexdigest()
    return f"{path[: MAX_TENANT_CHARACTERS - len(digest) - 1]}~{digest}"


def key_tenant(key_id: str) -> str:
    """Of a key that names nobody: what it makes is its own."""
    return f"key:{key_id}"


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))
