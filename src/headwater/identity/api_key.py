"""One key as it is kept, and who manages which. What the database does with them is in `records`."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from .principal import Meter, Period, Principal, Scope


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key, without its secret. `digest` and `old_digest`: hex; the old one holds until `old_until_ms`."""

    id: str
    tenant: str
    name: str
    prefix: str
    digest: str
    old_digest: str | None
    old_until_ms: int | None
    scopes: list[Scope]
    organization: str
    project: str
    user: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    budget_tokens: int | None
    budget_cost: float | None
    budget_period: Period
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_used_ms: int | None

    @property
    def meter(self) -> Meter:
        return Meter(
            name=f"key:{self.id}",
            requests_per_minute=self.requests_per_minute or 0,
            tokens_per_minute=self.tokens_per_minute or 0,
            budget_tokens=self.budget_tokens or 0,
            budget_cost=self.budget_cost or 0.0,
            budget_period=self.budget_period,
        )

    @property
    def principal(self) -> Principal:
        return Principal(
            tenant=self.tenant,
            scopes=frozenset(self.scopes),
            organization=self.organization,
            project=self.project,
            user=self.user,
            key_id=self.id,
            meters=(self.meter,),
        )

    def life_ms(self, now_ms: int, digest: str = "") -> int | None:
        """How long it still holds: 0 where it does not, None without an end. `digest`: of the secret that was shown."""
        if self.revoked_ms is not None:
            return 0
        ends = [self.expires_ms]
        if digest and digest != self.digest:
            ends.append(self.old_until_ms or 0)
        known = [end for end in ends if end is not None]
        return max(min(known) - now_ms, 0) if known else None


class Issued(NamedTuple):
    """`text`: the key itself, which is known here and now only."""

    key: ApiKey
    text: str


class Reach(NamedTuple):
    """Whose keys somebody may manage: those of an organisation, or of one project; without names everybody's."""

    organization: str = ""
    project: str = ""


EVERYBODY = Reach()
