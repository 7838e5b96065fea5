from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.documents.records import Document
from headwater.ids import new_stream_id
from headwater.server.workspace_files import facts_of, id_in, kept_metadata, location_of, origin_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def document(name: str = "a.txt", **metadata: object) -> Document:
    return Document(
        id=new_stream_id(1_700_000_000_000), number=1, tenant="", workspace_id="w", thread_id=None, name=name,
        media_type="text/plain", version=1, newest=1, status="ready", stage="", error="", stream_id="", pinned=False,
        confidential=False, metadata=metadata, created_ms=1_705_417_620_000, updated_ms=0, bytes=1, pages=0, passages=1,
    )  # fmt: skip


@given(NAMES, NAMES)
def test_a_location_leads_back_to_the_document(name: str, folder: str) -> None:
    kept = document(name, **kept_metadata({}, folder))
    location = location_of(kept)
    assert location.count("/") == 1
    assert id_in(location) == id_in(location.partition("/")[2]) == kept.id


def test_a_copy_has_its_origins_location() -> None:
    first = document()
    assert location_of(document(origin=first.id)) == location_of(first)


@pytest.mark.parametrize(
    "location", ["", "a.txt", "custom-documents/a.txt", "a/b/c-x.json", "../../etc/passwd", "-.json"]
)
def test_what_is_no_location_has_no_id(location: str) -> None:
    assert id_in(location) == ""


@pytest.mark.parametrize("origin", ["Paris", 7, None, ""])
def test_metadata_of_other_clients_is_no_origin(origin: object) -> None:
    other = document(origin=origin)
    assert origin_of(other) == other.id


def test_a_caller_cannot_keep_what_is_the_servers_own() -> None:
    given_ = {"title": "T", "origin": "x", "folder": "y", "wordCount": 9, "token_count_estimate": 9}
    assert kept_metadata(given_) == {"title": "T"}
    assert kept_metadata({"title": "T"}, "a/b") == {"title": "T", "folder": "a-b"}


def test_facts_are_the_callers_or_else_the_documents() -> None:
    facts = facts_of(document())
    assert (facts["url"], facts["title"], facts["docAuthor"]) == ("file://a.txt", "a.txt", "Unknown")
    assert facts["published"] == "1/16/2024, 3:07:00 PM"
    facts = facts_of(document(title="T", published=0, docAuthor="", url=5))
    assert (facts["title"], facts["published"]) == ("T", "1/1/1970, 12:00:00 AM")
    assert (facts["docAuthor"], facts["url"]) == ("Unknown", "file://a.txt")
    assert facts_of(document(published="yesterday"))["published"] == "yesterday"
    assert facts_of(document(published=10**18))["published"] == "1/16/2024, 3:07:00 PM"
