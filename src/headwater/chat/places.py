"""Workspaces and threads that are there as soon as somebody names them, within the bounds on how many there may be.

For references whose clients never create one: whatever they call a workspace or a session is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from ..errors import InputError, UnknownItem
from ..events import JsonObject
from .asking import DEFAULT_WORKSPACE
from .backend import Backend
from .conversations.slugs import check_slug, slug_of
from .records import Thread, Workspace

MAX_LABEL_CHARACTERS = 200
# Numbers of new threads count on from the largest: one near the end of all numbers would use them up.
MAX_NEW_NUMBER = 2**31 - 1
# Of a slug: the readable part, and as much of a digest that no two names meet.
_READABLE, _DIGITS = 60, 32


class Places:
    """All methods raise `StoreUnavailable`, and `LimitReached` where there is no room for one more."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        # What a label says must not stand in a slug, where names are encrypted.
        self._readable = not backend.store.encrypted
        self._workspaces = backend.conversations.workspaces
        self._threads = backend.conversations.threads

    async def workspace(self, tenant: str, label: str = "") -> Workspace:
        """By id or slug, else one that is called so; "": the default one."""
        label = label.strip()
        if not label:
            return await self._workspaces.find_or_create(tenant, DEFAULT_WORKSPACE)
        slugs = [label] if _is_slug(label) else self._slugs([label], otherwise="workspace")
        for slug in slugs:
            try:
                return await self._workspaces.get(tenant, slug)
            except UnknownItem:
                continue
        async with self._backend.room(tenant, "workspaces"):
            return await self._workspaces.find_or_create(tenant, slugs[0], label)

    def _slugs(self, labels: Sequence[str], *, otherwise: str) -> list[str]:
        """The one that a new place gets, and behind it that of one which was made while nothing was encrypted."""
        slugs = [slug_for(labels, otherwise=otherwise, readable=readable) for readable in (self._readable, True)]
        return list(dict.fromkeys(slugs))

    async def thread(self, workspace: Workspace, labels: Sequence[str], metadata: JsonObject) -> Thread:
        """The thread of these labels together; `metadata` is kept with a new one."""
        slugs = self._slugs(labels, otherwise="session")
        for slug in slugs:
            try:
                return await self._threads.get(workspace.tenant, slug, workspace_id=workspace.id)
            except UnknownItem:
                continue
        async with self._backend.room(workspace.tenant, "threads"):
            thread = await self._threads.find_or_create(workspace.tenant, workspace.id, slugs[0])
            return await self._threads.update(workspace.tenant, thread.id, metadata=metadata)

    async def numbered(self, tenant: str, number: int) -> tuple[Workspace, Thread]:
        """The tenant's thread with this number, wherever it is; a new one is made in the default workspace.

        Raises `UnknownItem` for a number that no new thread may have.
        """
        try:
            return await self.known(tenant, number)
        except UnknownItem:
            if not 1 <= number <= MAX_NEW_NUMBER:
                raise
        workspace = await self.workspace(tenant)
        async with self._backend.room(tenant, "threads"):
            thread = await self._threads.find_or_create_number(tenant, workspace.id, number)
        return await self.known(tenant, thread.number)

    async def known(self, tenant: str, number: int) -> tuple[Workspace, Thread]:
        """The tenant's thread with this number. Raises `UnknownItem`."""
        thread = await self._threads.get(tenant, number)
        return await self._workspaces.get(tenant, thread.workspace_id), thread

    async def create(self, tenant: str, *, title: str = "", model: str = "") -> Thread:
        """A new thread of the default workspace."""
        workspace = await self.workspace(tenant)
        async with self._backend.room(tenant, "threads"):
            return await self._threads.create(tenant, workspace.id, title=title, model=model)


def check_label(label: str | None, *, param: str) -> str:
    """A client's own name for something, without space around it; "" for none. Raises `InputError`."""
    if label is not None and len(label) > MAX_LABEL_CHARACTERS:
        raise InputError(f"{param} has more than {MAX_LABEL_CHARACTERS} characters", param=param)
    return (label or "").strip()


def slug_for(labels: Sequence[str], *, otherwise: str, readable: bool = True) -> str:
    """Always the same for the same labels, never for others: what the first one reads like, and a digest of all.

    Not `readable`: `otherwise` and the digest.
    """
    digest = hashlib.sha256(json.dumps(labels).encode()).hexdigest()[:_DIGITS]
    if not readable:
        return f"{otherwise}-{digest}"
    readable_part = slug_of(labels[0], otherwise=otherwise)[:_READABLE].strip("-")
    return f"{readable_part}-{digest}"


def _is_slug(text: str) -> bool:
    try:
        check_slug(text)
    except InputError:
        return False
    return True
