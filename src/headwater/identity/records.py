"""API keys in the database: made, listed, rotated, revoked. What a key says is fixed when it is made.

A revoked key stays listed, so that what it did can be told; `forget` removes one for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, delete, exists, insert, or_, select, update

from ..errors import InputError, UnknownItem
from ..ids import new_stream_id
from ..store import Store
from ..store.tables import api_keys
from .api_key import EVERYBODY, ApiKey, Issued, Reach
from .bodies import KeyOrder
from .clock import Clock, SystemClock
from .keys import new_key
from .principal import key_tenant, tenant_path

MAX_LISTED = 1000


class ApiKeys:
    """The table of keys."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()

    async def create(self, order: KeyOrder, *, tenant: str | None = None) -> Issued:
        """`tenant`: instead of what the order's names make. Raises `StoreUnavailable`."""
        now_ms = self._clock.wall_ms()
        made, key_id = new_key(), new_stream_id(now_ms)
        if tenant is None:
            tenant = tenant_path(order.organization, order.project, order.user) or key_tenant(key_id)
        expires_ms = None if order.expires_in_s is None else now_ms + int(order.expires_in_s * 1000)
        row = {name: getattr(order, name) for name in KeyOrder.__struct_fields__ if name != "expires_in_s"} | {
            "id": key_id,
            "tenant": tenant,
            "prefix": made.prefix,
            "digest": made.digest,
            "scopes": sorted(set(order.scopes)),
            "created_ms": now_ms,
            "expires_ms": expires_ms,
        }
        async with self._store.write() as connection:
            result = await connection.execute(insert(api_keys).values(row).returning(api_keys))
            return Issued(_key(result.mappings().one()), made.text)

    async def get(self, ref: str, within: Reach = EVERYBODY) -> ApiKey:
        """By id or by the public prefix. Raises `UnknownItem`, also for a prefix of several keys."""
        named = or_(api_keys.c.id == ref, api_keys.c.prefix == ref)
        async with self._store.read() as connection:
            rows = (await connection.execute(select(api_keys).where(named, *_within(within)))).mappings().all()
        if len(rows) != 1:
            raise UnknownItem("key")
        return _key(rows[0])

    async def list(
        self, within: Reach = EVERYBODY, *, prefix: str = "", limit: int = MAX_LISTED, before: str | None = None
    ) -> Sequence[ApiKey]:
        """The newest first. `prefix`: only keys that begin so. `before`: only those older than this id."""
        wanted = _within(within)
        if prefix:
            wanted.append(api_keys.c.prefix.startswith(prefix, autoescape=True))
        if before is not None:
            wanted.append(api_keys.c.id < before)
        query = select(api_keys).where(*wanted).order_by(api_keys.c.id.desc()).limit(limit)
        async with self._store.read() as connection:
            return [_key(row) for row in (await connection.execute(query)).mappings()]

    async def revoke(self, key_id: str, within: Reach = EVERYBODY) -> ApiKey:
        """From now on; a second time changes nothing. Raises `UnknownItem`."""
        ours = api_keys.c.id == key_id
        async with self._store.write() as connection:
            still = update(api_keys).where(ours, api_keys.c.revoked_ms.is_(None), *_within(within))
            await connection.execute(still.values(revoked_ms=self._clock.wall_ms()))
            row = (await connection.execute(select(api_keys).where(ours, *_within(within)))).mappings().first()
        if row is None:
            raise UnknownItem("key")
        return _key(row)

    async def forget(self, key_id: str) -> None:
        """Remove it from the list, too. Raises `UnknownItem`."""
        async with self._store.write() as connection:
            gone = await connection.execute(delete(api_keys).where(api_keys.c.id == key_id))
        if not gone.rowcount:
            raise UnknownItem("key")

    async def rotate(self, key_id: str, *, grace_s: float, within: Reach = EVERYBODY) -> Issued:
        """A new secret for the same key; the one before holds `grace_s` seconds more, any older one no longer.

        Raises `UnknownItem`, and `InputError` for a key that is revoked or has expired.
        """
        made, now_ms = new_key(), self._clock.wall_ms()
        async with self._store.write() as connection:
            mine = select(api_keys).where(api_keys.c.id == key_id, *_within(within)).with_for_update()
            row = (await connection.execute(mine)).mappings().first()
            if row is None:
                raise UnknownItem("key")
            if _key(row).life_ms(now_ms) == 0:
                raise InputError("a key that is revoked or has expired cannot be rotated", param="key_id")
            changed = {
                "prefix": made.prefix,
                "digest": made.digest,
                "old_digest": row["digest"],
                "old_until_ms": now_ms + int(grace_s * 1000),
            }
            result = await connection.execute(
                update(api_keys).where(api_keys.c.id == key_id).values(changed).returning(api_keys)
            )
            return Issued(_key(result.mappings().one()), made.text)

    async def find(self, digest: str) -> ApiKey | None:
        """The key with this secret's SHA-256 (hex), also by its old one, whether it still holds or not."""
        either = or_(api_keys.c.digest == digest, api_keys.c.old_digest == digest)
        async with self._store.read() as connection:
            row = (await connection.execute(select(api_keys).where(either).limit(1))).mappings().first()
        return None if row is None else _key(row)

    async def any(self) -> bool:
        """Whether there is a key at all, a revoked one, too: a server must not open when its last key is revoked."""
        async with self._store.read() as connection:
            return bool((await connection.execute(select(exists().select_from(api_keys)))).scalar())

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Key id → Unix milliseconds of its last use."""
        async with self._store.write() as connection:
            for key_id, at_ms in uses.items():
                older = or_(api_keys.c.last_used_ms.is_(None), api_keys.c.last_used_ms < at_ms)
                await connection.execute(
                    update(api_keys).where(api_keys.c.id == key_id, older).values(last_used_ms=at_ms)
                )


def _within(reach: Reach) -> list[ColumnElement[bool]]:
    if reach == EVERYBODY:
        return []
    # An empty name is one, too: a project without an organisation is not the project of that name of all of them.
    mine = [api_keys.c.organization == reach.organization]
    return [*mine, api_keys.c.project == reach.project] if reach.project else mine


def _key(row: RowMapping) -> ApiKey:
    fields: dict[str, Any] = dict(row)
    return ApiKey(**fields)
