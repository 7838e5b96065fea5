"""Invariant: whatever the bytes and whatever they are called, the worker ends with a text whose passages have exact
offsets, or with one documented refusal; it raises nothing and tells nothing of a library's own words.
"""

from __future__ import annotations

from typing import get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.documents.extraction.records import ReadLimits
from headwater.documents.splitting import Cut, Splitting
from headwater.documents.worker import Advance, CutsPart, Finished, Message, Order, Refused, TextPart, work
from headwater.errors import RefusalReason
from tests.unit.documents.files import pdf, word

NAMES = ("a.txt", "a.md", "a.html", "a.pdf", "a.docx", "a.csv", "a.tsv", "a.json", "a.jsonl", "a.py", "a", "")
TYPES = ("", "text/plain", "application/pdf", "text/html", "application/json", "text/csv; charset=utf-16", ";;charset=")
REAL = (
    pdf(["Rivers are long.", "Lakes are deep.\n" * 20], {0: [(0, "Rivers")], 1: [(1, "Lakes")]}),
    word(),
    b"<!doctype html><title>t</title><h1>One</h1><ul><li>a<li>b</ul><table><tr><td>x<td>y</table><pre> z </pre>",
    b"---\na: b\n---\n# One\n\ntext *b*\n\n> q\n\n- a\n- b\n\nTwo\n---\n```\ncode\n```\n",
    b'name,city\nAnn,"Par""is"\nBob,Rome\n',
    b'{"a": [1, 2.50, null, "\\u00e9\\ud83d\\ude00\\n"], "b": {"c": true}}',
    "Ünïcode 漢字 😀\r\n\r\ntext".encode("utf-16"),
)
LIMITS = ReadLimits(max_characters=100_000, max_expanded_bytes=2_000_000, max_pages=50)

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])


def check(content: bytes, name: str, media_type: str) -> None:
    told: list[Message] = []
    work(Order(name, media_type, LIMITS, Splitting(40, 10), len(content)), content, told.append)
    *before, last = told
    if isinstance(last, Refused):
        assert last.reason in get_args(RefusalReason)
        assert all(isinstance(message, Advance) for message in before)
        assert "/" not in last.message
        return
    assert isinstance(last, Finished)
    text = "".join(message.text for message in before if isinstance(message, TextPart))
    cuts: list[Cut] = [cut for message in before if isinstance(message, CutsPart) for cut in message.cuts]
    text.encode()
    assert "\0" not in text
    assert cuts
    for cut in cuts:
        assert 0 <= cut.start < cut.end <= len(text)
        assert (cut.page is None) == (last.pages == 0)
        assert cut.page is None or 1 <= cut.page <= last.pages


@quick
@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode), st.sampled_from(NAMES), st.sampled_from(TYPES))
def test_random_bytes(content: bytes, name: str, media_type: str) -> None:
    check(content, name, media_type)


changes = st.lists(
    st.tuples(st.floats(0, 1), st.binary(max_size=6) | st.sampled_from([b"0", b"<", b'"', b"(", b"99999999", b"\xff"]),
              st.integers(0, 12)),
    min_size=1,
    max_size=6,
)  # fmt: skip


@settings(quick, max_examples=60)
@given(st.sampled_from(REAL), changes, st.sampled_from(NAMES), st.sampled_from(TYPES))
def test_real_files_with_changes(
    real: bytes, places: list[tuple[float, bytes, int]], name: str, media_type: str
) -> None:
    content = real
    for where, new, removed in places:
        place = int(where * len(content))
        content = content[:place] + new + content[place + removed :]
    check(content, name, media_type)


@settings(quick, max_examples=40)
@given(st.sampled_from(REAL), st.floats(0, 1), st.floats(0, 1), st.sampled_from(NAMES))
def test_real_files_that_were_cut(real: bytes, start: float, end: float, name: str) -> None:
    check(real[int(start * start * 50) : int(end * len(real))], name, "")
