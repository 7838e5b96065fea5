"""A data directory with something of everything in it, made by the parts themselves, and all that can be read of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from headwater.chat.conversations import Conversations
from headwater.chat.records import Settled
from headwater.documents.reading import Piece, Reading
from headwater.documents.records import Scope
from headwater.documents.shelf import Shelf
from headwater.errors import HeadwaterError
from headwater.events import StreamId
from headwater.integrity import file_sum
from headwater.logs import SqliteLog
from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.store.tables import metadata
from headwater.telemetry.history import History
from headwater.telemetry.windows import Row
from tests.conformance.logs.stories import Story, committed, read_all

TENANT = "user:ann"
SENTENCE = "The heron's weir opens at seventeen minutes past four."


async def fill_log(log: SqliteLog, *, texts: int = 12) -> list[Story]:
    """Streams that are folded, that wait for it, and that have no end yet."""
    stories = [Story(f"s{number}", request=b'{"messages":["%d"]}' % number, key=f"k{number}") for number in range(6)]
    for story in stories:
        await committed(log, story.create())
    for number in range(texts):
        await committed(log, *(story.text(f"{number} of {story.id}. ", SENTENCE) for story in stories))
    await committed(log, *(story.end() for story in stories[:2]))
    await log.compact()
    await committed(log, *(story.end() for story in stories[2:4]))
    return stories


async def fill_store(store: Store) -> None:
    """A conversation with one answered question, and a document with two passages."""
    conversations, shelf = Conversations(store), Shelf(store)
    workspace = await conversations.workspaces.create(TENANT, name="Ann's river", system_prompt=SENTENCE)
    thread = await conversations.threads.create(TENANT, workspace.id, title="When the weir opens")
    turn = await conversations.messages.add_turn(
        TENANT, thread.id, parent_id=None, content="When does the weir open?", stream_id="s0"
    )
    assert turn.question is not None
    await conversations.messages.settle("s0", Settled(content=SENTENCE, status="done", finished_ms=5_000))
    scope = Scope(TENANT, workspace.id)
    document = await shelf.add(scope, name="weir.txt", media_type="text/plain", content=SENTENCE.encode() * 40)
    pieces = [Piece(SENTENCE, 0, len(SENTENCE), None, "Opening"), Piece("Closed at night.", 60, 76, None, "")]
    assert await shelf.finish(document.id, 1, Reading(SENTENCE, "text/plain", 0, pieces))


async def fill(data_dir: Path, *, crashed: bool) -> list[Story]:
    """`crashed`: the write-ahead logs are left as a killed process leaves them (in a copy of the directory)."""
    import shutil

    made = data_dir.with_name(f"{data_dir.name}-live") if crashed else data_dir
    log = await SqliteLog.open(made)
    stories = await fill_log(log)
    store = await open_store(database_url(None, made))
    await fill_store(store)
    history = History(made / "metrics.sqlite3")
    for minute in range(4):
        await history.save(Row(minute * 60_000, b"figures of the minute %d" % minute), prune_before_ms=0)
    routes = {"best": {"targets": [{"provider": "replay", "model": "m"}]}}
    kept = {"version": 1, "routes": routes, "sum": file_sum(msgspec.json.encode(routes))}
    (made / "routes.json").write_bytes(msgspec.json.encode(kept))
    if crashed:
        shutil.copytree(made, data_dir)
    await history.close()
    await store.close()
    await log.close()
    if crashed:
        shutil.rmtree(made)
    return stories


async def read_log(data_dir: Path, stories: Sequence[Story]) -> dict[str, Any]:
    """What each stream gives: its record and events, or the type of the error. "": of the log as a whole."""
    try:
        log = await SqliteLog.open(data_dir)
    except HeadwaterError as exc:
        return {"": type(exc).__name__}
    found: dict[str, Any] = {}
    for story in stories:
        try:
            record = await log.get(StreamId(story.id))
            found[story.id] = (record, await read_all(log, story.id) if record else None)
        except HeadwaterError as exc:
            found[story.id] = type(exc).__name__
    await log.close()
    return found


def read_rows(data_dir: Path) -> dict[str, Any]:
    """All rows of the chat backend and the figures, as the driver gives them."""
    found: dict[str, Any] = {}
    for name, tables in (("chat.sqlite3", [*metadata.tables]), ("metrics.sqlite3", ["minutes"])):
        try:
            with closing(sqlite3.connect(data_dir / name)) as db:
                for table in tables:
                    found[table] = sorted(map(repr, db.execute(f"SELECT * FROM {table}")))  # noqa: S608
        except sqlite3.DatabaseError as exc:
            found[name] = repr(exc)
    return found
