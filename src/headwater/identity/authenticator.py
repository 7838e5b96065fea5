"""From what a caller presents to who it is: keys of the settings, keys of the database, tokens, tickets.

A request costs a SHA-256 and a look into a dict: what was found of a key or a token is believed for `key_cache_s`, and
so a revoked key dies within that time, in every process. Knows no HTTP: the server's layer hands over texts.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..errors import AccessError, StoreUnavailable, TokenRefused
from .cache import Cache, Kept
from .clock import Clock, SystemClock
from .keys import KeyRing, looks_like_key
from .meters import Meters
from .principal import ANONYMOUS, SCOPES, SINGLE_USER, USER_SCOPES, Meter, Principal
from .settings import IdentitySettings
from .stores import NoStore, StoreSource

if TYPE_CHECKING:
    from .api_key import ApiKey
    from .records import ApiKeys
    from .tickets import Claims, Ticket, Tickets
    from .tokens import TokenVerifier

_logger = logging.getLogger(__name__)

MAX_CREDENTIAL_BYTES = 8192
NO_KEY = "no API key was given"
UNKNOWN_KEY = "the API key is not valid"
EXPIRED_KEY = "the API key has expired"
REVOKED_KEY = "the API key was revoked"
DEAD_TICKET = "the ticket is not valid any more"

# How often a key's last use is written, at most.
USE_INTERVAL_MS = 60_000

_Answer = Principal | str
"""Who it is, or why it is nobody."""


class Identity:
    """One for an application and its event loop. `data_dir`: for the key of the tickets; None: it is not kept.

    Raises `ConfigError` for settings that cannot work. `close` it before the store.
    """

    def __init__(
        self,
        settings: IdentitySettings,
        stores: StoreSource | None = None,
        *,
        data_dir: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        settings.check()
        self.settings = settings
        self.stores = stores or NoStore()
        self._clock = clock or SystemClock()
        self._data_dir = data_dir
        self._admins = KeyRing(settings.admin_keys)
        self._ring = KeyRing((*settings.api_keys, *settings.admin_keys))
        self._verifier = self._make_verifier()
        self._tickets: Tickets | None = None
        self._keys: Cache[bytes, _Answer] = Cache(self._clock)
        self._tokens: Cache[bytes, Principal] = Cache(self._clock)
        self._by_id: Cache[str, ApiKey | None] = Cache(self._clock)
        self._any: Cache[str, bool] = Cache(self._clock)
        self._noted: dict[str, int] = {}
        self._uses: dict[str, int] = {}
        self._writing: asyncio.Task[None] | None = None
        self.meters = Meters(self.stores, settings, self._clock)
        self.single_user = self._metered(SINGLE_USER)
        self.anonymous = self._metered(ANONYMOUS)
        self._statics = {owner: self._static(owner) for owner in self._ring.owners}

    @property
    def configured(self) -> bool:
        """Whether the settings alone ask for a key or a token."""
        return bool(self._ring) or self._verifier is not None

    async def needs_key(self) -> bool:
        """Whether callers must show one: the settings say so, or a key was made. Raises `StoreUnavailable`."""
        return self.configured or await self._any.get("", self._load_any)

    def now_ms(self) -> int:
        return self._clock.wall_ms()

    async def close(self) -> None:
        """Write what is to be written yet."""
        while self._writing is not None:
            await asyncio.wait((self._writing,))
        await self.meters.close()
        if self._verifier is not None:
            await self._verifier.close()

    # ------------------------------------------------------------------ who

    async def principal(self, presented: bytes) -> Principal:
        """Who a key or a token belongs to. Raises `AccessError`, `TokenRefused`; `StoreUnavailable`,
        `IdentityUnavailable` where it cannot be told now.
        """
        if not presented:
            raise AccessError(NO_KEY)
        if len(presented) > MAX_CREDENTIAL_BYTES:
            raise AccessError(UNKNOWN_KEY)
        digest = hashlib.sha256(presented).digest()
        if self._ring and (owner := self._ring.owner_of_digest(digest)) is not None:
            return self._statics[owner]
        if looks_like_key(presented):
            return await self._key_principal(digest)
        if self._verifier is not None and presented.count(b".") == 2:
            return await self._tokens.get(digest, lambda: self._load_token(presented))
        raise AccessError(UNKNOWN_KEY)

    def told(self, owner: str, *, admin: bool, keyed: Principal | None = None) -> Principal:
        """Who an application that mounts this API says it is. `keyed`: whose key the application itself has shown."""
        scopes = USER_SCOPES if keyed is None else keyed.scopes - {"admin"}
        meters = () if keyed is None else (meter for meter in keyed.meters if not meter.name.startswith("user:"))
        principal = Principal(
            tenant=owner,
            scopes=scopes | {"admin"} if admin else scopes,
            key_id="" if keyed is None else keyed.key_id,
        )
        return self._metered(principal, meters)

    async def ticket_principal(self, text: str, *, path: str, resumes: bool) -> Principal:
        """Whose ticket it is, for a GET or HEAD of `path` (below the mount). `resumes`: the request carries a cursor.

        Raises `TokenRefused`, also where the key behind it was revoked since; `StoreUnavailable`.
        """
        claims = self._ticket_maker().read(text, path=path, resumes=resumes)
        scopes = frozenset(claims.scopes)
        if claims.key_id:
            key = await self._by_id.get(claims.key_id, lambda: self._load_by_id(claims.key_id))
            if key is None or key.life_ms(self._clock.wall_ms()) == 0:
                raise TokenRefused(DEAD_TICKET)
            self._note_use(key.id)
            found = self._metered(key.principal, (key.meter,))
            return msgspec.structs.replace(found, scopes=found.scopes & scopes)
        if claims.static and claims.tenant not in self._statics:
            raise TokenRefused(DEAD_TICKET)
        return self._metered(_principal_of(claims, scopes))

    def issue_ticket(self, principal: Principal, *, path: str = "", ttl_s: float | None = None) -> Ticket:
        """See `Tickets.issue`. Raises `InputError`, and `StoreUnavailable` where the tickets' key cannot be kept."""
        static = not principal.key_id and principal.tenant in self._statics
        return self._ticket_maker().issue(principal, path=path, ttl_s=ttl_s, static=static)

    # ------------------------------------------------------------------ keys of the database

    async def keys(self) -> ApiKeys | None:
        """The table to read from; None as long as there is no database."""
        from .records import ApiKeys

        store = await self.stores.existing()
        return None if store is None else ApiKeys(store, self._clock)

    async def keys_to_change(self) -> ApiKeys:
        """The table to write to; call `forget` afterwards. Raises `StoreUnavailable`."""
        from .records import ApiKeys

        return ApiKeys(await self.stores.opened(), self._clock)

    def forget(self) -> None:
        """A key was made or changed in this process: what is known of keys is looked up anew."""
        for cache in (self._keys, self._by_id, self._any):
            cache.clear()

    async def _key_principal(self, digest: bytes) -> Principal:
        answer = await self._keys.get(digest, lambda: self._load_key(digest))
        if isinstance(answer, str):
            raise AccessError(answer)
        self._note_use(answer.key_id)
        return answer

    async def _load_key(self, digest: bytes) -> Kept[_Answer]:
        keys = await self.keys()
        hexadecimal = digest.hex()
        key = None if keys is None else await keys.find(hexadecimal)
        if key is None or not _holds(key, hexadecimal):
            return Kept(UNKNOWN_KEY, self.settings.key_cache_s, found=False)
        if key.revoked_ms is not None:
            return Kept(REVOKED_KEY, self.settings.key_cache_s, found=False)
        left_ms = key.life_ms(self._clock.wall_ms(), hexadecimal)
        if left_ms == 0:
            return Kept(EXPIRED_KEY, self.settings.key_cache_s, found=False)
        return Kept(self._metered(key.principal, (key.meter,)), self._believed_s(left_ms))

    async def _load_by_id(self, key_id: str) -> Kept[ApiKey | None]:
        from ..errors import UnknownItem

        keys = await self.keys()
        try:
            key = None if keys is None else await keys.get(key_id)
        except UnknownItem:
            key = None
        return Kept(key, self.settings.key_cache_s, found=key is not None)

    async def _load_any(self) -> Kept[bool]:
        keys = await self.keys()
        return Kept(keys is not None and await keys.any(), self.settings.key_cache_s)

    async def _load_token(self, presented: bytes) -> Kept[Principal]:
        assert self._verifier is not None  # noqa: S101 -- asked for by `principal` only then
        verified = await self._verifier.verify(presented.decode("latin-1"))
        left_ms = max(verified.expires_ms - self._clock.wall_ms(), 0)
        return Kept(self._metered(verified.principal), self._believed_s(left_ms))

    def _believed_s(self, left_ms: int | None) -> float:
        return min(self.settings.key_cache_s, math.inf if left_ms is None else left_ms / 1000)

    # ------------------------------------------------------------------ last uses

    def _note_use(self, key_id: str) -> None:
        """Written once a minute at most, and never while a request waits."""
        now_ms = self._clock.wall_ms()
        if now_ms - self._noted.get(key_id, 0) < USE_INTERVAL_MS:
            return
        self._noted[key_id] = self._uses[key_id] = now_ms
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_uses(), name="headwater-key-uses")

    async def _write_uses(self) -> None:
        try:
            while self._uses:
                uses, self._uses = self._uses, {}
                await (await self.keys_to_change()).note_uses(uses)
        except StoreUnavailable as exc:
            _logger.warning("the last uses of keys could not be written: %s", exc.message)
        except Exception:
            # A task of its own: nobody else would hear of it.
            _logger.exception("writing the last uses of keys failed")
        finally:
            self._writing = None

    # ------------------------------------------------------------------ making

    def _metered(self, principal: Principal, meters: Iterable[Meter] = ()) -> Principal:
        """With the limits that the settings have for every user."""
        own = tuple(meters)
        settings = self.settings
        user = Meter(
            name=f"user:{principal.tenant}",
            requests_per_minute=settings.user_requests_per_minute,
            tokens_per_minute=settings.user_tokens_per_minute,
            budget_tokens=settings.user_budget_tokens,
            budget_cost=settings.user_budget_cost,
            budget_period=settings.user_budget_period,
        )
        return msgspec.structs.replace(principal, meters=(*own, user) if user.limited else own)

    def _static(self, owner: str) -> Principal:
        admin = owner in self._admins.owners
        return self._metered(Principal(tenant=owner, scopes=SCOPES if admin else USER_SCOPES))

    def _make_verifier(self) -> TokenVerifier | None:
        if not self.settings.takes_tokens:
            return None
        from .tokens import TokenVerifier

        return TokenVerifier(self.settings, self._clock)

    def _ticket_maker(self) -> Tickets:
        if self._tickets is None:
            from .tickets import Tickets

            self._tickets = Tickets(self.settings, self._data_dir, self._clock)
        return self._tickets


def _holds(key: ApiKey, digest: str) -> bool:
    """The database has compared already, in whatever time it takes. That tells nothing: nobody can choose a digest."""
    return hmac.compare_digest(key.digest, digest) or hmac.compare_digest(key.old_digest or "", digest)


def _principal_of(claims: Claims, scopes: frozenset[str]) -> Principal:
    return Principal(
        tenant=claims.tenant,
        scopes=scopes,
        organization=claims.organization,
        project=claims.project,
        user=claims.user,
        organizations=frozenset(claims.organizations),
    )
