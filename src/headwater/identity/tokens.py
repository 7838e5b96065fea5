"""Bearer tokens that another service signs (JWT, RFC 7519): checked here, never made.

How a token is checked follows from the configured key alone. What the token says about itself (`alg`, `jku`, `jwk`,
`x5u`) chooses nothing: that is how `alg: none`, and HS256 signed with a public key, get through elsewhere
(RFC 8725 sections 2.1 and 3.1). Whatever is wrong with a token, its sender is told one of a few fixed sentences, and
whether it has expired only where the signature holds.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ..errors import ConfigError, TokenRefused
from .clock import Clock, SystemClock
from .principal import DEFAULT_SCOPES, SCOPES, Principal, tenant_path
from .settings import IdentitySettings

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

MAX_TOKEN_BYTES = 8192
MIN_RSA_BITS = 2048
MAX_ORGANIZATIONS = 1000
_MAX_NAME_CHARACTERS = 200

NOT_VALID = "the token is not valid"
EXPIRED = "the token has expired"
NOT_YET = "the token is not valid yet"
NOT_FOR_US = "the token was not issued for this server"
NO_NAME = "the token does not say whose it is"

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# OpenID Connect Core section 5.4 and 11: they say what is told of a user, not what the user may do.
_OPENID = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})

# What PyJWT and the JSON under it raise for bytes that are no token: `exp` of 1e999, 8 KiB of brackets, and the like.
_BROKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class VerifyingKey(NamedTuple):
    """`algorithm`: the only one that this key checks."""

    key: PublicKey | bytes
    algorithm: str


class KeySource(Protocol):
    async def key(self, token: str) -> VerifyingKey:
        """The key for this token, which is not checked yet. Raises `TokenRefused`, `IdentityUnavailable`."""
        ...

    async def close(self) -> None: ...


class Verified(NamedTuple):
    """`expires_ms`: until when the token holds, with the leeway."""

    principal: Principal
    expires_ms: int


class FixedKey:
    """The one of the settings. A `kid` in the token is of no interest."""

    def __init__(self, key: VerifyingKey) -> None:
        self._key = key

    async def key(self, token: str) -> VerifyingKey:
        return self._key

    async def close(self) -> None:
        return


class TokenVerifier:
    """Raises `ConfigError` for a key that cannot be used."""

    def __init__(self, settings: IdentitySettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._source = _source(settings, clock or SystemClock())
        # PyJWT's own checks, by the system's clock: `exp`, `nbf`, `iat`, `iss`, `aud`, and that `sub` is a text.
        self._options: dict[str, Any] = {
            "require": ["exp"],
            "verify_signature": True,
            "verify_aud": bool(settings.jwt_audience),
            "verify_iss": bool(settings.jwt_issuer),
        }

    async def verify(self, token: str) -> Verified:
        """Who sent it. Raises `TokenRefused`, and `IdentityUnavailable` where the keys cannot be had."""
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRefused(NOT_VALID)
        claims = self._claims(token, await self._source.key(token))
        # A far future is a number that no float holds.
        expires_s = min(int(claims["exp"]), 10**11) + self._settings.jwt_leeway_s
        return Verified(self._principal(claims), int(expires_s * 1000))

    async def close(self) -> None:
        await self._source.close()

    def _claims(self, token: str, key: VerifyingKey) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._settings.jwt_audience or None,
                issuer=self._settings.jwt_issuer or None,
                leeway=self._settings.jwt_leeway_s,
                options=self._options,  # type: ignore[arg-type]
            )
        except jwt.ExpiredSignatureError as exc:
            raise TokenRefused(EXPIRED) from exc
        except jwt.ImmatureSignatureError as exc:
            raise TokenRefused(NOT_YET) from exc
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as exc:
            raise TokenRefused(NOT_FOR_US) from exc
        except jwt.MissingRequiredClaimError as exc:
            raise TokenRefused(NOT_FOR_US if exc.claim in ("aud", "iss") else NOT_VALID) from exc
        except _BROKEN as exc:
            raise TokenRefused(NOT_VALID) from exc

    def _principal(self, claims: dict[str, Any]) -> Principal:
        user = _name(claims, "sub")
        organization = _name(claims, "org", "organization", "org_id")
        project = _name(claims, "project")
        level = self._settings.jwt_tenant
        # Without it, all who lack it would be one tenant.
        if not {"user": user, "project": project, "organization": organization}[level]:
            raise TokenRefused(NO_NAME)
        tenant = tenant_path(organization, project if level != "organization" else "", user if level == "user" else "")
        return Principal(
            tenant=tenant,
            scopes=_scopes(claims),
            organization=organization,
            project=project,
            user=user,
            organizations=_organizations(claims),
        )


def unverified_kid(token: str) -> str | None:
    """The `kid` of a token's head, with which a key may be looked up and nothing else. Raises `TokenRefused`."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except _BROKEN as exc:
        raise TokenRefused(NOT_VALID) from exc
    if kid is not None and not isinstance(kid, str):
        raise TokenRefused(NOT_VALID)
    return kid


def verifying_key(key: object) -> VerifyingKey | None:
    """With the one algorithm of its type; None for types and sizes that are not taken."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return VerifyingKey(key, "RS256")
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return VerifyingKey(key, "ES256")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return VerifyingKey(key, "EdDSA")
    return None


def _source(settings: IdentitySettings, clock: Clock) -> KeySource:
    if settings.jwt_secret:
        return FixedKey(VerifyingKey(settings.jwt_secret.encode(), "HS256"))
    if settings.jwt_jwks_url:
        from .jwks import Jwks

        return Jwks(settings.jwt_jwks_url, clock)
    return FixedKey(read_public_key(settings.jwt_public_key))


def read_public_key(pem: str) -> VerifyingKey:
    """Raises `ConfigError`. In a variable, a line break may be written as a backslash and an n."""
    try:
        loaded = load_pem_public_key(pem.replace("\\n", "\n").encode())
    except Exception as exc:
        raise ConfigError("jwt_public_key is not a public key in PEM form") from exc
    key = verifying_key(loaded)
    if key is None:
        raise ConfigError(f"jwt_public_key must be RSA of at least {MIN_RSA_BITS} bits, P-256 or Ed25519")
    return key


def _name(claims: dict[str, Any], *names: str) -> str:
    """The first claim of these that is given; "" without any. Raises `TokenRefused` for what is no name."""
    for name in names:
        value = claims.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str) or len(value) > _MAX_NAME_CHARACTERS or _UNPRINTABLE.search(value):
            raise TokenRefused(NO_NAME)
        return value
    return ""


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """`scope` or `scopes`, as words or as a list: `headwater:chat`, or plain `chat`. Without any, `DEFAULT_SCOPES`.

    Words of OpenID Connect count as none. `admin` needs the prefix: other services use the plain word, too.
    """
    told = claims.get("scope", claims.get("scopes"))
    words = told.split() if isinstance(told, str) else [] if told is None else told
    if not isinstance(words, list):
        raise TokenRefused(NOT_VALID)
    ours = {word for word in words if isinstance(word, str)} - _OPENID
    if not ours:
        return DEFAULT_SCOPES
    plain = {word for word in ours if word != "admin"}
    return frozenset({word.removeprefix("headwater:") for word in plain} & SCOPES)


def _organizations(claims: dict[str, Any]) -> frozenset[str]:
    told = claims.get("orgs", claims.get("organizations"))
    if told is None:
        return frozenset()
    if not isinstance(told, list) or len(told) > MAX_ORGANIZATIONS:
        raise TokenRefused(NO_NAME)
    return frozenset(_name({"organization": one}, "organization") for one in told) - {""}
