"""What identity needs to know, as plain values."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..errors import ConfigError
from .principal import Period

MIN_SECRET_BYTES = 32
"""RFC 7518 section 3.2: a key of HS256 is at least as long as its hash."""


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, as the names say; amounts of 0 are no bound.

    `api_keys`, `admin_keys`: raw, or `sha256:<64 hex digits>`. `key_cache_s` (0 … 60): how long what was found of a key
    is believed, and so how long a revoked one may go on.

    `jwt_secret` (HS256, ≥ 32 bytes), `jwt_public_key` (PEM: RSA, P-256 or Ed25519) and `jwt_jwks_url` (https, or http
    of this machine): at most one of them; none: no tokens. `jwt_issuer` and `jwt_audience` are checked where they are
    set. `jwt_leeway_s` (0 … 300): how far clocks may differ. `jwt_tenant`: how far down the tenant goes.

    `ticket_secret` (≥ 32 bytes); "": a random one, kept in the data directory. `ticket_ttl_s` (1 … 3600): until a
    ticket's first use; `ticket_resume_s` (`ticket_ttl_s` … 86400): until it no longer resumes.

    `user_…` (≥ 0): for every tenant together, whatever its keys and tokens. `budget_cache_s` (0 … 300): how long sums
    of the database are believed, to which this process adds its own.
    """

    api_keys: tuple[str, ...] = ()
    admin_keys: tuple[str, ...] = ()
    key_cache_s: float = 5.0

    jwt_secret: str = ""
    jwt_public_key: str = ""
    jwt_jwks_url: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_leeway_s: float = 10.0
    jwt_tenant: Literal["user", "project", "organization"] = "user"

    ticket_secret: str = ""
    ticket_ttl_s: float = 60.0
    ticket_resume_s: float = 3600.0

    user_requests_per_minute: int = 0
    user_tokens_per_minute: int = 0
    user_budget_tokens: int = 0
    user_budget_cost: float = 0.0
    user_budget_period: Period = "month"
    budget_cache_s: float = 10.0

    @property
    def takes_tokens(self) -> bool:
        return bool(self.jwt_secret or self.jwt_public_key or self.jwt_jwks_url)

    def check(self) -> None:
        """Raises `ConfigError` for what contradicts itself or is too weak. Quotes no secret."""
        ways = ("jwt_secret", "jwt_public_key", "jwt_jwks_url")
        if sum(bool(getattr(self, name)) for name in ways) > 1:
            raise ConfigError(f"only one of {', '.join(ways)} can be set: a token must have one way to be checked")
        for name in ("jwt_secret", "ticket_secret"):
            secret = getattr(self, name)
            if secret and len(secret.encode()) < MIN_SECRET_BYTES:
                raise ConfigError(f"{name} must be at least {MIN_SECRET_BYTES} bytes long")
        if self.ticket_resume_s < self.ticket_ttl_s:
            raise ConfigError("ticket_resume_s must not be below ticket_ttl_s")

    def warnings(self) -> list[str]:
        """What is set but weak, or without effect, one sentence each."""
        if not self.takes_tokens:
            set_in_vain = [name for name in ("jwt_issuer", "jwt_audience") if getattr(self, name)]
            return [f"{name} has no effect without jwt_secret, jwt_public_key or jwt_jwks_url" for name in set_in_vain]
        if not self.jwt_audience:
            return ["jwt_audience is not set: tokens that were issued for another service are accepted, too"]
        return []
