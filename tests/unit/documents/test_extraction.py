"""Which format it is, its bytes as text, and the draft; the formats that are text as they are."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from headwater.documents.extraction import ReadLimits
from headwater.documents.extraction.decoding import decode
from headwater.documents.extraction.draft import Draft, clean
from headwater.errors import DocumentRefused

from .files import WORD, pdf, read, read_with_progress, word


def refusal(
    content: bytes | str, name: str = "", media_type: str = "", limits: ReadLimits | None = None
) -> DocumentRefused:
    with pytest.raises(DocumentRefused) as caught:
        read(content, name, media_type, limits or ReadLimits())
    return caught.value


@pytest.mark.parametrize(
    ("name", "declared", "content", "found"),
    [
        ("a.md", "", "# x", "text/markdown"),
        ("a.md", "text/plain", "# x", "text/markdown"),
        ("notes", "text/markdown; charset=utf-8", "# x", "text/markdown"),
        ("a.csv", "", "a,b", "text/csv"),
        ("a.csv", "text/html", "a,b", "text/csv"),
        ("a.tsv", "", "a\tb", "text/tab-separated-values"),
        ("a.json", "", "{}", "application/json"),
        ("", "application/vnd.api+json", "{}", "application/json"),
        ("", "", '\ufeff {"a": 1}', "application/json"),
        ("a.ndjson", "", "{}\n{}", "application/x-ndjson"),
        ("a.json", "", "{ // settings\n}", "text/plain"),
        ("", "", "[not json", "text/plain"),
        ("a.html", "", "<p>x", "text/html"),
        ("", "", "\ufeff<?xml version='1.0'?> <!-- a --> <!-- b -->\n<!DOCTYPE HTML><p>x", "text/html"),
        ("", "", "<!-- -->" * 400 + "<p>x", "text/plain"),
        ("page.csv", "text/csv", "<html><p>log in first", "text/html"),
        ("page.md", "", "<html><p>an example", "text/markdown"),
        ("a.PY", "", "print()", "text/x-python"),
        ("a.xml", "", "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", "text/xml"),
        ("a.unknown", "application/octet-stream", "x", "text/plain"),
        ("a.pdf", "application/pdf", "not a pdf", "text/plain"),
        ("a.docx", WORD, "not Word", "text/plain"),
        ("a.txt", "text/plain", "about %PDF-1.4 headers", "text/plain"),
        ("", "text/x-log", "x", "text/plain"),
    ],
)
def test_the_content_then_the_name_then_the_declared_type(name: str, declared: str, content: str, found: str) -> None:
    assert read(content, name, declared).media_type == found


@pytest.mark.parametrize("name", ["a.pdf", "a.txt", "a.docx", "a", ""])
def test_pdf_and_word_are_known_whatever_they_are_called(name: str) -> None:
    assert read(pdf(["words"]), name, "text/plain").media_type == "application/pdf"
    assert read(b"\r\n" + pdf(["words"]), name, "text/plain").media_type == "application/pdf"
    assert read(word(), name, "text/plain").media_type == WORD


def test_a_pdf_header_may_follow_rubbish_where_pdf_is_declared() -> None:
    assert read(b"rubbish\n" + pdf(["words"]), "a.pdf").text == "words"


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name in names:
            target.writestr(name, "x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "unsupported_type", "an image"),
        (gzip.compress(b"words", mtime=0), "unsupported_type", "packed"),
        (b"{\\rtf1 words}", "unsupported_type", "RTF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "unsupported_type", "old Office"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted", "password"),
        (archive("xl/workbook.xml"), "unsupported_type", "not of Word"),
        (archive(), "unsupported_type", "not of Word"),
        (b"words \0 and more", "unsupported_type", "binary"),
        (b"\x01\x02\x03\x04" * 20, "unsupported_type", "binary"),
        ("words".encode("utf-16-le"), "unsupported_type", "binary"),
        (b"", "no_text", "no text"),
        (b" \r\n\t\n", "no_text", "no text"),
    ],
)
def test_what_is_refused(content: bytes, reason: str, words: str) -> None:
    exc = refusal(content, "a.txt")
    assert exc.reason == reason
    assert words in exc.message
    assert exc.http_status == {"unsupported_type": 415}.get(reason, 422)


def test_text_that_is_too_long_is_refused() -> None:
    exc = refusal("x" * 101, "a.txt", limits=ReadLimits(max_characters=100))
    assert (exc.reason, exc.http_status) == ("too_large", 413)
    assert read("x" * 100, "a.txt", limits=ReadLimits(max_characters=100)).text == "x" * 100


def test_a_document_without_pages_tells_one_progress() -> None:
    _, told = read_with_progress("words", "a.txt")
    assert [(p.stage, p.done, p.total, p.unit) for p in told] == [("extraction", 1, 1, "document")]


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("é".encode("utf-8-sig"), "", "é"),
        ("é".encode("utf-16"), "", "é"),
        (b"\xfe\xff" + "é".encode("utf-16-be"), "", "é"),
        ("é".encode("utf-32"), "", "é"),
        ("é".encode("utf-16-le"), "utf-16le", "é"),
        ("é".encode(), "iso-8859-1", "é"),  # well-formed UTF-8 is no accident
        ("ř".encode("iso-8859-2"), "ISO-8859-2", "ř"),
        ("漢字".encode("shift_jis"), "Shift_JIS", "漢字"),
        (b"caf\xe9", "", "café"),
        (b"caf\xe9", "utf-8", "café"),
        (b"caf\xe9", "punycode", "café"),
        (b"\x93caf\xe9\x94 \x81", "", "“café” \ufffd"),
        ("ééééééé é".encode() + b"\xff", "", "ééééééé é\ufffd"),
    ],
)
def test_decoding(content: bytes, charset: str, text: str) -> None:
    assert decode(content, charset) == text


def test_the_declared_charset_is_used() -> None:
    assert read("ř".encode("iso-8859-2"), "a.txt", 'text/plain; charset="ISO-8859-2"').text == "ř"


def test_cleaning() -> None:
    assert clean("\n\na \t\r\nb\rc\x0cd\u2028e\xa0f\x00\x1b\ufeff\u200b\ud800") == "a\nb\nc\nd\ne f\ufffd"
    assert clean("a" + "\n" * 9 + "b") == "a\n\n\nb"
    assert clean("  indented\n    more") == "  indented\n    more"
    assert clean(" " * 300_000 + "x").endswith("x")


def test_the_draft_knows_where_pages_and_sections_begin() -> None:
    draft = Draft(1_000)
    draft.begin_page()
    draft.add_heading(1, "One")
    assert draft.add("first") == 5
    draft.begin_page()
    assert draft.add("") == draft.length
    draft.begin_page()
    draft.add_heading(3, "Two \n words")
    draft.add_heading(2, "Three")
    draft.add_heading(1, " ")
    draft.add_heading(1, "F" * 300)
    draft.begin_page()
    made = draft.finish()
    assert made.text == "One\n\nfirst\n\n\nTwo\n words\n\n\nThree\n\n\n" + "F" * 300
    assert made.pages == [0, 13, 13, len(made.text)]
    assert made.sections == [(0, "One"), (13, "One > Two words"), (26, "One > Three"), (34, "F" * 200)]


def test_markdown() -> None:
    front = "---\ntitle: x\n---\n"
    source = "# One *two* `three`\r\ntext\n\n> ## Quoted\n\n```\n# no heading\n```\n\nSub\n---\n\n# Next\n#"
    made = read(front + source, "a.md")
    assert made.markup == "markdown"
    sections = [(made.text[start:].split("\n", 1)[0], path) for start, path in made.sections]
    assert sections == [
        ("# One *two* `three`", "One two three"),
        ("> ## Quoted", "One two three > Quoted"),
        ("Sub", "One two three > Sub"),
        ("# Next", "Next"),
        ("#", ""),
    ]


def test_markdown_that_begins_with_a_rule_has_no_front_matter() -> None:
    assert [path for _, path in read("---\n# One\n---\n# Two", "a.md").sections] == ["Two"]
    assert [path for _, path in read("---\n# One", "a.md").sections] == ["One"]


@pytest.mark.parametrize("source", [">" * 50_000, "[" * 50_000, "- " * 20_000, "`" * 50_000, "# " + "*a_" * 5_000])
def test_markdown_that_is_made_to_hurt(source: str) -> None:
    assert read(source, "a.md").text
