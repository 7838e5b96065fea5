"""Documents made by real programs' libraries, and hostile ones written by hand."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import cache

import docx
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

from headwater.documents.extraction import Extracted, Progress, ReadLimits, extract

LIMITS = ReadLimits()
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MAIN_PART = "word/document.xml"


def read(content: bytes | str, name: str = "", media_type: str = "", limits: ReadLimits = LIMITS) -> Extracted:
    return read_with_progress(content, name, media_type, limits)[0]


def read_with_progress(
    content: bytes | str, name: str = "", media_type: str = "", limits: ReadLimits = LIMITS
) -> tuple[Extracted, list[Progress]]:
    told: list[Progress] = []
    data = content.encode() if isinstance(content, str) else content
    return extract(data, name=name, media_type=media_type, limits=limits, report=told.append), told


def pdf(pages: Sequence[str], outline: Mapping[int, Sequence[tuple[int, str]]] | None = None) -> bytes:
    """`outline`: index of the page → its (level from 0, title), which do not show on the page."""
    made = FPDF()
    made.set_font("helvetica", size=11)
    for index, text in enumerate(pages):
        made.add_page()
        for level, title in (outline or {}).get(index, ()):
            made.start_section(title, level)
        if text:
            made.multi_cell(0, 6, text)
    return bytes(made.output())


def long_pdf(pages: int) -> bytes:
    """Written by hand, as fpdf2 takes seconds for it. Each page says its number."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for number in range(1, pages + 1):
        lines = b"T* (The quick brown fox jumps over the lazy dog.) Tj " * 12
        stream = b"BT /F 9 Tf 12 TL 9 700 Td (Page %d begins here.) Tj %s ET" % (number, lines)
        kids.append(b"%d 0 R" % (len(objects) + 1))
        fonts = b"/Resources << /Font << /F 3 0 R >> >>"
        objects += (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] %s /Contents %d 0 R >>" % (fonts, len(objects) + 2),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        )
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), pages)
    return raw_pdf(*objects)


def encrypted_pdf(user_password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(["secret words"]))))
    writer.encrypt(user_password, owner_password="owner", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def raw_pdf(*objects: bytes) -> bytes:
    """Object 1 is the catalog."""
    out = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, table) + end


def pdf_page(stream: bytes, filters: bytes = b"") -> bytes:
    """One page that shows `stream` with the font /F."""
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>",
        b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(stream), filters, stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )


def pdf_with_stream(data: bytes) -> bytes:
    return pdf_page(zlib.compress(data, 9), b"/Filter /FlateDecode")


@cache
def word() -> bytes:
    made = docx.Document()
    made.add_heading("Rivers", 1)
    made.add_paragraph("The Nile is long.")
    made.add_heading("Lakes", 2)
    made.add_paragraph("Baikal is deep.", style="List Bullet")
    table = made.add_table(2, 2)
    for index, text in enumerate(("Name", "Depth", "Baikal", "1642 m")):
        table.cell(index // 2, index % 2).text = text
    made.add_heading("Seas", 1)
    made.add_paragraph("The Aral Sea is gone.")
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def changed_word(parts: Mapping[str, bytes]) -> bytes:
    """A real Word file with parts replaced or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word())) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        kept = {name: source.read(name) for name in source.namelist()}
        for name, data in {**kept, **parts}.items():
            target.writestr(name, data)
    return out.getvalue()
