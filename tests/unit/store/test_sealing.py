"""Sealed columns: bound to their row, refused elsewhere, and never mistaken for what somebody wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from headwater.chat.conversations import Conversations
from headwater.encryption import Key, KeyRing, Sealer
from headwater.errors import ConfigError, StoreCorrupt
from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.store.sealing import MARK, SEALED, Seals
from headwater.store.tables import document_versions, messages, metadata, sealing

SEALER = Sealer(KeyRing([Key(bytes(32))]))


@pytest.fixture
async def sealed_store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(database_url(None, tmp_path), SEALER)
    yield store
    await store.close()


@pytest.mark.parametrize("seals", [Seals(), Seals(SEALER)])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("content", "a text"), ("content", ""), ("content", f"{MARK}AAAA"), ("content", "\x01hw0:x"), ("parts", []),
        ("parts", [{"type": "text", "text": MARK}]), ("error", None), ("metadata", {"é": [1, None, 2.5]}),
    ],
)  # fmt: skip
def test_whatever_was_written_is_read(seals: Seals, column: str, value: Any) -> None:
    stored = seals.seal(messages, ("m1",), column, value)
    assert seals.open(messages, ("m1",), column, stored) == value
    if seals.sealer and value not in ("", None):
        assert stored.startswith(MARK)


@pytest.mark.parametrize("seals", [Seals(), Seals(SEALER)])
@pytest.mark.parametrize("value", [b"", b"%PDF", b"\x01hw1:E\x01", b"\x01hw0:", b"\x01hw1:"])
def test_bytes_as_well(seals: Seals, value: bytes) -> None:
    stored = seals.seal(document_versions, ("d", 1), "content", value)
    assert seals.open(document_versions, ("d", 1), "content", memoryview(stored)) == value


def test_a_value_in_anothers_place_does_not_open() -> None:
    seals = Seals(SEALER)
    stored = seals.seal(messages, ("m1",), "content", "a text")
    for table, key, column in (
        (messages, ("m2",), "content"),
        (messages, ("m1",), "reasoning"),
        (document_versions, ("m1",), "text"),
    ):
        with pytest.raises(StoreCorrupt, match=f"{table.name}.{column} of {key[0]} cannot be decrypted"):
            seals.open(table, key, column, stored)
    with pytest.raises(StoreCorrupt, match="there is no key ring"):
        Seals().open(messages, ("m1",), "content", stored)
    for cut in (stored[:-3], MARK, stored[:30]):
        with pytest.raises(StoreCorrupt):
            seals.open(messages, ("m1",), "content", cut)


def test_what_is_sealed_is_what_says_something() -> None:
    """Whoever adds a column decides here whether it can hold a text of a user's or a model's."""
    plain = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if column.type.python_type in (str, object, bytes)
        and column.name not in SEALED.get(table.name, SEALED["messages"]._replace(columns=())).columns
    }
    told = {name.partition(".")[2] for name in plain if not name.startswith(("api_keys", "usage_entries"))}
    assert told == {
        "id", "tenant", "slug", "mode", "model", "workspace_id", "thread_id", "title_source", "leaf_id", "parent_id",
        "role", "status", "stream_id", "provider", "finish_reason", "media_type", "stage", "document_id", "kind",
        "digest", "key",
    }  # fmt: skip


async def test_swapped_rows_are_refused(sealed_store: Store) -> None:
    conversations = Conversations(sealed_store)
    workspace = await conversations.workspaces.create("t", name="A name")
    one = await conversations.threads.create("t", workspace.id, title="First")
    two = await conversations.threads.create("t", workspace.id, title="Second")
    assert one.slug == one.id
    async with sealed_store.write() as connection:
        await connection.execute(
            text("UPDATE threads SET title = (SELECT title FROM threads WHERE id = :one) WHERE id = :two"),
            {"one": one.id, "two": two.id},
        )
    assert (await conversations.threads.get("t", one.id)).title == "First"
    with pytest.raises(StoreCorrupt, match=f"threads.title of {two.id}"):
        await conversations.threads.get("t", two.id)


async def test_a_database_tells_which_keys_it_needs(sealed_store: Store, tmp_path: Path) -> None:
    async with sealed_store.read() as connection:
        assert list((await connection.execute(select(sealing.c.key))).scalars()) == SEALER.ring.names
        assert (await connection.execute(text("PRAGMA secure_delete"))).scalar() == 1
    for other in (None, Sealer(KeyRing([Key(b"x" * 32)]))):
        with pytest.raises(ConfigError, match=SEALER.ring.active.name):
            await open_store(database_url(None, tmp_path), other)
