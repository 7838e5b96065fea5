"""The public keys of whoever signs the tokens, fetched from the address in the settings and from nowhere else.

A token that names an unknown key makes us look for new keys, at most once in `REFETCH_S`: else made-up tokens would
make this server flood the other one. While that one is away, its keys go on for `MAX_STALE_S`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import msgspec

from ..errors import ConfigError, IdentityUnavailable, TokenRefused
from .clock import Clock
from .tokens import NOT_VALID, VerifyingKey, unverified_kid, verifying_key

_logger = logging.getLogger(__name__)

CACHE_S = 300.0
REFETCH_S = 30.0
RETRY_S = 5.0
MAX_STALE_S = 3600.0
FETCH_TIMEOUT_S = 10.0
MAX_BYTES = 512 * 1024
MAX_KEYS = 100

_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


class Jwks:
    """A key set by its address: `https`, or `http` of this machine. Raises `ConfigError` for any other."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._local = _check(url)
        self._url = url
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        # None: never fetched. The key of None is the only one, for tokens that name none.
        self._keys: dict[str | None, VerifyingKey] | None = None
        self._fetched_s = 0.0
        self._tried_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, token: str) -> VerifyingKey:
        """The key that the token names. Raises `TokenRefused`, `IdentityUnavailable`."""
        kid = unverified_kid(token)
        keys = self._known()
        if keys is None:
            await self._fetch(RETRY_S)
            keys = self._known()
        elif self._age_s() >= CACHE_S:
            self._begin(RETRY_S)
        if keys is None:
            raise IdentityUnavailable("the keys that tokens are checked with cannot be had now")
        if kid not in keys:
            await self._fetch(REFETCH_S)
            keys = self._known() or {}
        if kid not in keys:
            raise TokenRefused(NOT_VALID)
        return keys[kid]

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _known(self) -> dict[str | None, VerifyingKey] | None:
        return None if self._keys is None or self._age_s() >= MAX_STALE_S else self._keys

    def _age_s(self) -> float:
        return self._clock.steady_s() - self._fetched_s

    async def _fetch(self, pause_s: float) -> None:
        """Wait for new keys, unless they were asked for less than `pause_s` ago."""
        if task := self._begin(pause_s):
            # One caller's leaving is not the others' failure.
            await asyncio.shield(task)

    def _begin(self, pause_s: float) -> asyncio.Task[None] | None:
        now_s = self._clock.steady_s()
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._tried_s is not None and now_s - self._tried_s < pause_s:
            return None
        self._tried_s = now_s
        self._fetching = asyncio.create_task(self._refresh(), name="headwater-jwks")
        return self._fetching

    async def _refresh(self) -> None:
        """A failure is logged, and the keys stay as they are."""
        began_s = self._clock.steady_s()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                keys = _read(await self._download())
        except (httpx.HTTPError, OSError, TimeoutError, ValueError) as exc:
            _logger.warning("the key set for tokens could not be fetched: %s", str(exc) or type(exc).__name__)
            return
        self._keys, self._fetched_s = keys, began_s

    async def _download(self) -> bytes:
        if self._client is None:
            # A proxy of the environment is for other machines.
            self._client = httpx.AsyncClient(follow_redirects=False, trust_env=not self._local)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        body = b""
        async with self._client.stream("GET", self._url, headers=headers, timeout=FETCH_TIMEOUT_S) as response:
            if response.status_code != 200:
                raise ValueError(f"HTTP status {response.status_code}")
            # As it is on the wire: what was not asked to be packed is not unpacked, however small it looks.
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ValueError(f"more than {MAX_BYTES} bytes")
        return body


def _check(url: str) -> bool:
    """Whether it is of this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise ConfigError("jwt_jwks_url is not an address") from None
    local = host == "localhost" or _is_loopback(host)
    if not host or parts.username or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ConfigError("jwt_jwks_url must be https://…, or http://… of this machine, without a password")
    return local


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(body: bytes) -> dict[str | None, VerifyingKey]:
    """The usable keys by their ids. Raises `ValueError` where there is none."""
    found = [
        (jwk.get("kid"), key) for jwk in msgspec.json.decode(body, type=_Set).keys[:MAX_KEYS] if (key := _usable(jwk))
    ]
    if not found:
        raise ValueError("no key in it can be used")
    # The first of a name stands: another one must not take its place.
    keys: dict[str | None, VerifyingKey] = {kid: key for kid, key in reversed(found) if isinstance(kid, str)}
    if len(found) == 1:
        keys[None] = found[0][1]
    return keys


def _usable(jwk: dict[str, Any]) -> VerifyingKey | None:
    """A key for signatures of a type that is taken. Shared secrets (`oct`) are not: who reads them can sign."""
    kind = jwk.get("kty")
    algorithm = _ALGORITHMS.get(kind) if isinstance(kind, str) else None
    operations = jwk.get("key_ops")
    if (
        algorithm is None
        or jwk.get("use", "sig") != "sig"
        or jwk.get("alg", algorithm) != algorithm
        or (isinstance(operations, list) and "verify" not in operations)
    ):
        return None
    try:
        return verifying_key(jwt.PyJWK.from_dict(jwk, algorithm).key)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
        return None
