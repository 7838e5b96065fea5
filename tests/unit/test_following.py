"""The sink of one coroutine; how a hub fills it is shown with the library."""

from __future__ import annotations

import asyncio

from headwater.following import INBOX_BYTES, Inbox


async def test_what_is_taken_makes_room() -> None:
    inbox = Inbox()
    asked: list[int] = []
    inbox.bind(lambda: asked.append(1))
    inbox.write(b"x" * INBOX_BYTES)
    assert not inbox.writable
    assert await inbox.take() == b"x" * INBOX_BYTES
    assert (inbox.writable, asked) == (True, [])
    taking = asyncio.ensure_future(inbox.take())
    await asyncio.sleep(0)
    assert asked == [1]
    inbox.write(b"a")
    inbox.write(b"b")
    assert await taking == b"ab"


async def test_it_may_be_taken_from_before_anybody_writes_to_it() -> None:
    """The viewer binds itself when it starts; whoever is faster waits for what it will write."""
    inbox = Inbox()
    taking = asyncio.ensure_future(inbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    inbox.write(b"a")
    inbox.finish()
    assert await taking == b"a"
    assert await inbox.take() is None
    assert (inbox.writable, inbox.aborted) == (False, False)
