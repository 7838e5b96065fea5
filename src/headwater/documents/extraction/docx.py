"""Word files: the zip is checked and copied, without what is no text; mammoth reads the copy; HTML is the way on.

Attacks prevented here: zip bombs (by the directory's sums, and by counting, as a directory may lie), entities in XML
(Word never writes a DOCTYPE), and files outside of the zip (mammoth does not open them unless told to).
"""

from __future__ import annotations

import io
import zipfile
from xml.parsers import expat

import mammoth  # type: ignore[import-untyped]  # it has none

from ...errors import DocumentRefused
from .draft import Draft
from .html import extract_text
from .records import Given, ReadLimits, Report

_MAX_ENTRIES = 10_000
_CHUNK_BYTES = 1 << 20
_ENCRYPTED_FLAG = 0x1
# A zip smaller than this cannot expand far, whatever its ratio.
_HARMLESS_BYTES = 1 << 20


def extract(given: Given, draft: Draft, _report: Report) -> None:
    """Raises `DocumentRefused`, and what zipfile, expat and mammoth raise for damaged files."""
    with zipfile.ZipFile(io.BytesIO(given.content)) as archive:
        _check_directory(archive.infolist(), given.limits)
        copy = _copy_text_parts(archive, given.limits)
    result = mammoth.convert_to_html(
        copy, convert_image=lambda _image: [], include_embedded_style_map=False, external_file_access=False
    )
    extract_text(result.value, draft)


def _check_directory(entries: list[zipfile.ZipInfo], limits: ReadLimits) -> None:
    if not any(entry.filename.startswith("word/") for entry in entries):
        raise DocumentRefused("it is a zip archive, and not of Word", reason="unsupported_type")
    if any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries):
        raise DocumentRefused("it is encrypted; save it without a password", reason="encrypted")
    expanded, packed = sum(e.file_size for e in entries), sum(e.compress_size for e in entries)
    is_steep = expanded > _HARMLESS_BYTES and expanded > packed * limits.max_ratio
    if len(entries) > _MAX_ENTRIES or expanded > limits.max_expanded_bytes or is_steep:
        raise _expands()


def _copy_text_parts(archive: zipfile.ZipFile, limits: ReadLimits) -> io.BytesIO:
    """Only XML and relations, uncompressed. Media are most of a file, and are not read."""
    copy = io.BytesIO()
    room = limits.max_expanded_bytes
    with zipfile.ZipFile(copy, "w") as target:
        # By name: of two entries with one name the last is it, for all that read zips by name.
        for name in dict.fromkeys(archive.namelist()):
            if not name.lower().endswith((".xml", ".rels")):
                continue
            data = read_part(archive, name, room)
            room -= len(data)
            _check_xml(data)
            target.writestr(name, data)
    copy.seek(0)
    return copy


def read_part(archive: zipfile.ZipFile, name: str, room_bytes: int) -> bytes:
    """Counts what comes, whatever the directory said. Raises `DocumentRefused`."""
    data = bytearray()
    with archive.open(name) as part:
        while chunk := part.read(_CHUNK_BYTES):
            data += chunk
            if len(data) > room_bytes:
                raise _expands()
    return bytes(data)


def _check_xml(data: bytes) -> None:
    """By the parser that will read it, as a DOCTYPE in an encoding that a search for bytes misses counts, too."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.Parse(data, True)


def _refuse_doctype(*_declared: object) -> None:
    raise DocumentRefused("it declares entities, which Word files never do", reason="damaged")


def _expands() -> DocumentRefused:
    return DocumentRefused("it expands to more than is allowed", reason="expands_too_much")
