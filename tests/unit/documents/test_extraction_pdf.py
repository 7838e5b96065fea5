from __future__ import annotations

import pytest
from pypdf.errors import PyPdfError

from headwater.documents.extraction import ReadLimits
from headwater.documents.extraction.pdf import tidy
from headwater.errors import DocumentRefused

from .files import encrypted_pdf, pdf, pdf_page, pdf_with_stream, raw_pdf, read, read_with_progress

WORDS = b"BT /F 9 Tf 1 1 Td (words) Tj ET"
CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"


def refusal(content: bytes, limits: ReadLimits | None = None) -> DocumentRefused:
    with pytest.raises(DocumentRefused) as caught:
        read(content, "a.pdf", limits=limits or ReadLimits())
    return caught.value


def test_pages_are_joined_with_a_blank_line_and_each_is_told() -> None:
    made, told = read_with_progress(pdf(["first words", "", "third words"]))
    assert made.text == "first words\n\nthird words"
    assert made.pages == [0, 13, 13]
    assert [(p.stage, p.done, p.total, p.unit) for p in told] == [("extraction", n, 3, "page") for n in range(4)]


def test_the_outline_gives_the_sections() -> None:
    outline = {0: [(0, "Rivers")], 1: [(1, "Lakes"), (1, "Not on the page")], 2: [(0, "Seas")]}
    made = read(pdf(["Rivers\nNile", "still Rivers\nLakes\nBaikal", "Seas\nAral"], outline))
    assert [(made.text[start:].split("\n")[0], path) for start, path in made.sections] == [
        ("Rivers", "Rivers"),
        ("Lakes", "Rivers > Lakes"),
        ("Lakes", "Rivers > Not on the page"),
        ("Seas", "Seas"),
    ]


@pytest.mark.parametrize(
    "outline",
    [
        b"<< /First 7 0 R >>\nendobj\n7 0 obj\n<< /Title (x) /Dest [99 0 R /Fit] /Next 7 0 R >>",
        b"<< /First 7 0 R >>\nendobj\n7 0 obj\n<< /Title (x) /Dest [99 0 R /Fit] /First 7 0 R >>",
        b"<< /First 7 0 R >>\nendobj\n7 0 obj\n<< /Dest 12 >>",
        b"<< /First 7 0 R >>\nendobj\n7 0 obj\n<< /Title (x) /A 7 >>",
        b"<< /First 7 0 R >>\nendobj\n7 0 obj\n<< /Title (x) /Count (b) /Dest [3 0 R /Fit] >>",
        b"<< /First 7 0 R >>"
        + b"".join(b"\nendobj\n%d 0 obj\n<< /Title (x) /First %d 0 R >>" % (n, n + 1) for n in range(7, 400)),
        b"[1 2 3]",
    ],
)
def test_an_outline_that_is_damaged_is_none(outline: bytes) -> None:
    content = raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /Outlines 6 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(WORDS), WORDS),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        outline,
    )
    made = read(content)
    assert made.text == "words"
    assert made.sections == []


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("e\ufb03cient \ufb02ow", "efficient flow"),
        ("cafe\u0301", "café"),
        ("exam-\nple of hyphen-\nation", "example of hyphenation"),
        ("soft\xad\n  ware and hy\xadphen", "software and hyphen"),
        ("a well-known case is well-\nknown", "a well-known case is well-known"),
        ("Jean-\nPaul in 1990-\n1995 x-\nray", "Jean-\nPaul in 1990-\n1995 x-\nray"),
        ("a" * 500_000, "a" * 500_000),
    ],
)
def test_what_typesetting_did_is_undone(raw: str, text: str) -> None:
    assert tidy(raw) == text


def test_without_text_it_seems_to_be_scanned() -> None:
    exc = refusal(pdf(["", "", ""]))
    assert exc.reason == "no_text"
    assert "3 pages" in exc.message
    assert "scanned" in exc.message


def test_encrypted() -> None:
    assert refusal(encrypted_pdf("user")).reason == "encrypted"
    assert read(encrypted_pdf("")).text == "secret words"


def test_too_many_pages() -> None:
    exc = refusal(pdf(["a", "b", "c"]), ReadLimits(max_pages=2))
    assert (exc.reason, exc.http_status) == ("too_many_pages", 422)


def test_a_stream_that_expands_too_much() -> None:
    assert refusal(pdf_with_stream(bytes(100_000_000))).reason == "expands_too_much"


def test_a_page_that_is_damaged_is_named() -> None:
    exc = refusal(pdf_page(WORDS, b"/Filter /Unknown"))
    assert (exc.reason, exc.message) == ("damaged", "its page 1 is damaged")


@pytest.mark.parametrize(
    "pages",
    [
        b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Pages /Kids [2 0 R] /Count 1 >>",
        b"<< /Type /Pages /Kids 7 /Count 1000000000 >>",
    ],
)
def test_page_trees_that_never_end(pages: bytes) -> None:
    with pytest.raises((PyPdfError, DocumentRefused)):
        read(raw_pdf(CATALOG, pages))


def test_what_is_no_more_than_a_header() -> None:
    with pytest.raises(PyPdfError):
        read(b"%PDF-1.7\n")
