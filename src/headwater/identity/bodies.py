"""What is asked for when a key or a ticket is made: the bodies of the API, and what the command line fills in.

No field holds a default of the settings: those are filled in by whoever reads the body.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import msgspec

from ..errors import InputError
from .principal import SCOPES, Period, Scope

MAX_GRACE_S = 604_800.0
MAX_LIFE_S = 315_360_000
MAX_PATH_CHARACTERS = 2048

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_Name = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
_PerMinute = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
_Tokens = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000_000)]
_Cost = Annotated[float, msgspec.Meta(gt=0, le=1_000_000_000)]

T = TypeVar("T", bound=msgspec.Struct)


class KeyOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key shall be. `organization`, `project` and `user` name whose data it works on; without any, its own.

    `expires_in_s`: seconds from now; null: never. Limits of null are no bound. `budget_cost`: in the prices' currency.
    """

    name: _Name = ""
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=8)] = msgspec.field(
        default_factory=lambda: ["chat", "documents"]
    )
    organization: _Name = ""
    project: _Name = ""
    user: _Name = ""
    expires_in_s: Annotated[float, msgspec.Meta(gt=0, le=MAX_LIFE_S)] | None = None
    requests_per_minute: _PerMinute | None = None
    tokens_per_minute: _PerMinute | None = None
    budget_tokens: _Tokens | None = None
    budget_cost: _Cost | None = None
    budget_period: Period = "month"

    def __post_init__(self) -> None:
        for name in ("name", "organization", "project", "user"):
            # A pattern's `$` lets a last line break pass, and JSON can hold half a surrogate pair.
            if _UNPRINTABLE.search(getattr(self, name)):
                raise ValueError(f"{name} must not hold control characters")


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`grace_s`: how long the secret that is replaced goes on to hold."""

    grace_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_GRACE_S)] = 3600.0


class TicketOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path`: the only address that the ticket opens, as it stands in a URL, without a query; null: any.

    `ttl_s`: seconds until its first use, at most and by default the setting `ticket_ttl_s`.
    """

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH_CHARACTERS, pattern="^/[^?#]*$")] | None = None
    ttl_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


def read_body(value: object, kind: type[T]) -> T:
    """Raises `InputError` that names the field."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$.")
        param = path.rstrip("`").partition("[")[0]
        choices = f"; there are {', '.join(sorted(SCOPES))}" if param == "scopes" and "enum" in text else ""
        raise InputError(text[:1].lower() + text[1:] + choices, param=param or None) from exc
