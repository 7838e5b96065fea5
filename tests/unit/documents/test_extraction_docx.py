from __future__ import annotations

import io
import struct
import zipfile
from xml.parsers.expat import ExpatError

import pytest

from headwater.documents.extraction import ReadLimits
from headwater.documents.extraction.docx import read_part
from headwater.errors import DocumentRefused

from .files import MAIN_PART, changed_word, read, word


def refusal(content: bytes, limits: ReadLimits | None = None) -> DocumentRefused:
    with pytest.raises(DocumentRefused) as caught:
        read(content, "a.docx", limits=limits or ReadLimits())
    return caught.value


def test_headings_paragraphs_lists_and_tables() -> None:
    made = read(word())
    assert made.text == (
        "Rivers\n\nThe Nile is long.\n\n\nLakes\n\n- Baikal is deep.\n\nName | Depth\nBaikal | 1642 m\n\n\nSeas\n\n"
        "The Aral Sea is gone."
    )
    assert [path for _, path in made.sections] == ["Rivers", "Rivers > Lakes", "Seas"]
    assert made.pages == []


def test_a_bomb_is_told_by_its_directory() -> None:
    bomb = changed_word({"word/media/bomb.png": bytes(30_000_000)})
    assert refusal(bomb).reason == "expands_too_much"
    assert refusal(bomb, ReadLimits(max_ratio=1e9, max_expanded_bytes=20_000_000)).reason == "expands_too_much"
    assert "Nile" in read(bomb, limits=ReadLimits(max_ratio=1e9)).text


def test_many_entries_are_refused() -> None:
    assert refusal(changed_word({f"word/{n}.xml": b"" for n in range(10_001)})).reason == "expands_too_much"


def test_a_directory_that_lies_expands_no_more_than_it_says() -> None:
    """zipfile reads what the directory says and then finds that the sum is wrong."""
    content = bytearray(changed_word({"word/lie.xml": b"<x>" + bytes(2_000_000)}))
    place = content.rindex(b"word/lie.xml") - 46
    assert content[place : place + 4] == b"PK\x01\x02"
    content[place + 24 : place + 28] = struct.pack("<I", 100)
    with pytest.raises(zipfile.BadZipFile):
        read(bytes(content))


def test_parts_are_counted_while_they_are_read() -> None:
    with zipfile.ZipFile(io.BytesIO(word())) as archive:
        size = archive.getinfo(MAIN_PART).file_size
        assert len(read_part(archive, MAIN_PART, size)) == size
        with pytest.raises(DocumentRefused, match="expands"):
            read_part(archive, MAIN_PART, size - 1)


def test_the_sum_of_the_parts_is_limited() -> None:
    content = changed_word({f"word/{n}.xml": b"<x/>" + b" " * 100_000 for n in range(5)})
    size = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(content)).infolist())
    assert "Nile" in read(content, limits=ReadLimits(max_expanded_bytes=size)).text
    assert refusal(content, ReadLimits(max_expanded_bytes=size - 1)).reason == "expands_too_much"


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_any_encoding(encoding: str) -> None:
    evil = f"<?xml version='1.0' encoding='{encoding}'?>{LAUGHS}".encode(encoding)
    for part in (MAIN_PART, "word/styles.xml", "[Content_Types].xml"):
        assert refusal(changed_word({part: evil})).reason == "damaged"


def test_encrypted_entries() -> None:
    content = bytearray(word())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    assert refusal(bytes(content)).reason == "encrypted"


def test_damage() -> None:
    with pytest.raises(zipfile.BadZipFile):
        read(word()[:-100])
    with pytest.raises(ExpatError):
        read(changed_word({MAIN_PART: b"<w:document"}))


def test_images_outside_are_not_opened() -> None:
    evil = word()
    with zipfile.ZipFile(io.BytesIO(evil)) as source:
        relations = source.read("word/_rels/document.xml.rels")
        main = source.read(MAIN_PART)
    relation = b'<Relationship Id="rIdX" Type="x" Target="file:///etc/passwd" TargetMode="External"/></Relationships>'
    picture = (
        b'<w:p><w:r><w:drawing><wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing">'
        b'<a:graphic xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:graphicData>'
        b'<pic:pic xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:blipFill><a:blip '
        b'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" r:link="rIdX"/></pic:blipFill>'
        b"</pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p></w:body>"
    )
    content = changed_word(
        {
            "word/_rels/document.xml.rels": relations.replace(b"</Relationships>", relation),
            MAIN_PART: main.replace(b"</w:body>", picture),
        }
    )
    assert read(content).text == read(evil).text
