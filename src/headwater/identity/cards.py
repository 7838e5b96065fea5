"""Callers, keys and tickets as they are told to people and programs: by the API and by the command line."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..instants import rfc3339
from .api_key import ApiKey
from .meters import MeterStanding
from .principal import Period, Scope


class MeterCard(msgspec.Struct, frozen=True):
    """Limits (null: none) of a key (`key`) or of the user (`user`), and what was used of them.

    `used_tokens` and `used_cost` are of the current period, which ends at `resets_at` (RFC 3339; null: never).
    """

    kind: Literal["key", "user"]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    budget_tokens: int | None
    budget_cost: float | None
    budget_period: Period
    used_tokens: int
    used_cost: float
    resets_at: str | None


class Me(msgspec.Struct, frozen=True, tag_field="object", tag="principal"):
    """Who calls. `key_id`: of a key that can be managed; null for keys of the settings, tokens and single-user mode."""

    organization: str
    project: str
    user: str
    organizations: list[str]
    key_id: str | None
    scopes: list[str]
    meters: list[MeterCard]


class TicketCard(msgspec.Struct, frozen=True, tag_field="object", tag="ticket"):
    """`expires_at`: of a first request; `resume_until`: of one with `Last-Event-ID` or `after` (RFC 3339)."""

    ticket: str
    expires_at: str
    resume_until: str


class KeyCard(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="api_key"):
    """A key without its secret. Times are RFC 3339. `rotated_until`: how long the secret before this one holds.

    `active`: whether it opens anything now.
    """

    id: str
    name: str
    prefix: str
    scopes: list[Scope]
    organization: str
    project: str
    user: str
    active: bool
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    rotated_until: str | None
    last_used_at: str | None
    limits: MeterCard


class NewKeyCard(KeyCard, frozen=True, kw_only=True, tag_field="object", tag="api_key"):
    """With the key itself, which is told here and never again."""

    key: str


class KeyList(msgspec.Struct, frozen=True):
    """`has_more`: ask again with `before` set to the last id."""

    object: str
    data: list[KeyCard]
    has_more: bool


def key_card(key: ApiKey, standing: MeterStanding, now_ms: int) -> KeyCard:
    """A key as the API and the command line tell it."""
    rotating = key.old_until_ms is not None and key.old_until_ms > now_ms
    return KeyCard(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        organization=key.organization,
        project=key.project,
        user=key.user,
        active=key.life_ms(now_ms) != 0,
        created_at=rfc3339(key.created_ms),
        expires_at=_time_or_none(key.expires_ms),
        revoked_at=_time_or_none(key.revoked_ms),
        rotated_until=_time_or_none(key.old_until_ms if rotating else None),
        last_used_at=_time_or_none(key.last_used_ms),
        limits=meter_card(standing),
    )


def with_secret(card: KeyCard, text: str) -> NewKeyCard:
    return NewKeyCard(key=text, **{name: getattr(card, name) for name in KeyCard.__struct_fields__})


def meter_card(standing: MeterStanding) -> MeterCard:
    meter = standing.meter
    return MeterCard(
        kind="key" if meter.name.startswith("key:") else "user",
        requests_per_minute=meter.requests_per_minute or None,
        tokens_per_minute=meter.tokens_per_minute or None,
        budget_tokens=meter.budget_tokens or None,
        budget_cost=meter.budget_cost or None,
        budget_period=meter.budget_period,
        used_tokens=standing.used_tokens,
        used_cost=standing.used_cost,
        resets_at=_time_or_none(standing.resets_ms),
    )


def _time_or_none(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)
