"""Which workspace and thread an address of reference 000 means, and the bounds on how many there may be."""

from __future__ import annotations

import hashlib
import re

from ..chat.backend import Backend
from ..chat.conversations.checks import MAX_PAGE
from ..chat.conversations.slugs import slug_of
from ..chat.records import Thread, Workspace
from ..errors import NameTaken, UnknownItem
from ..events import JsonObject

# Made when it is first used: a client that was never set up can ask there.
DEFAULT_WORKSPACE = "default"
# What is asked in a workspace, and in no thread of it.
DEFAULT_THREAD = "default"
MAX_SESSION_CHARACTERS = 1000

_SESSION = "session."
_SLUG = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class Places:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._workspaces = backend.conversations.workspaces
        self._threads = backend.conversations.threads

    async def workspace(self, tenant: str, slug: str) -> Workspace:
        """Raises `UnknownItem`, in AnythingLLM's words."""
        if slug == DEFAULT_WORKSPACE:
            return await self._workspaces.find_or_create(tenant, slug)
        try:
            return await self._workspaces.get(tenant, slug)
        except UnknownItem as exc:
            message = f"Workspace {slug} is not a valid workspace."
            raise UnknownItem("workspace", param="slug", message=message) from exc

    async def all_workspaces(self, tenant: str) -> list[Workspace]:
        """Oldest first."""
        found: list[Workspace] = []
        while page := await self._workspaces.list(tenant, after=found[-1].number if found else 0):
            found += page
            if len(page) < MAX_PAGE:
                break
        return found

    async def create(self, tenant: str, name: str, fields: JsonObject) -> Workspace:
        """Raises `LimitReached` where there are as many as there may be."""
        async with self._backend.room(tenant, "workspaces"):
            return await self._workspaces.create(tenant, name=name, **fields)  # type: ignore[arg-type]

    async def thread(self, tenant: str, workspace: Workspace, slug: str) -> Thread:
        """Raises `UnknownItem`, in AnythingLLM's words."""
        try:
            return await self._threads.get(tenant, slug, workspace_id=workspace.id)
        except UnknownItem as exc:
            raise UnknownItem("thread", param="thread_slug", message=f"Thread {slug} not found.") from exc

    async def known_thread(self, tenant: str, workspace: Workspace, session: str | None) -> Thread | None:
        """The default thread, or that of a session; None: nothing was asked there yet."""
        try:
            return await self._threads.get(tenant, _slug_of_session(session), workspace_id=workspace.id)
        except UnknownItem:
            return None

    async def conversation(self, tenant: str, workspace: Workspace, session: str | None) -> Thread:
        """As `known_thread`, made where it is not there. Raises `LimitReached`."""
        known = await self.known_thread(tenant, workspace, session)
        if known is not None:
            return known
        async with self._backend.room(tenant, "threads"):
            thread = await self._threads.find_or_create(tenant, workspace.id, _slug_of_session(session))
        if session is None:
            return thread
        return await self._threads.update(tenant, thread.id, metadata={**thread.metadata, "session_id": session})

    async def create_thread(
        self, tenant: str, workspace: Workspace, *, name: str, slug: str | None, user_id: int | None
    ) -> Thread:
        """Raises `InputError`, `NameTaken`, `LimitReached`."""
        if slug and not _SLUG.fullmatch(slug):
            slug = slug_of(slug, otherwise="")
        if slug and (slug == DEFAULT_THREAD or slug.startswith(_SESSION)):
            raise NameTaken(f"the slug {slug} is the server's own", param="slug")
        metadata: JsonObject = {} if user_id is None else {"user_id": user_id}
        async with self._backend.room(tenant, "threads"):
            return await self._threads.create(tenant, workspace.id, title=name, slug=slug or None, metadata=metadata)

    async def named_threads(self, tenant: str, workspace: Workspace) -> list[Thread]:
        """The last active first, at most as many as a page has; neither the default one nor those of sessions."""
        threads = await self._threads.list(tenant, workspace_id=workspace.id, limit=MAX_PAGE)
        return [thread for thread in threads if is_named(thread)]

    async def clear(self, thread: Thread) -> None:
        """Begin the conversation anew; what is still being answered in it is cancelled."""
        streams = await self._backend.conversations.messages.clear(thread.tenant, thread.id)
        await self._backend.stop(thread.tenant, streams)


def is_named(thread: Thread) -> bool:
    """Whether it was made as a thread, and not for what is asked without one."""
    return thread.slug != DEFAULT_THREAD and not thread.slug.startswith(_SESSION)


def _slug_of_session(session: str | None) -> str:
    if session is None:
        return DEFAULT_THREAD
    return _SESSION + hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()[:32]
