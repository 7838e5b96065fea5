"""Which format a document has: by its content first, then its name, then the declared media type.

The content wins: a PDF that is declared text is a PDF, text that is declared PDF is text. Among the formats that are
all text (Markdown, CSV, JSON, code …) the content often says nothing, and the name's extension is believed, then the
media type. To add a format: a module with `extract(given, draft, report)`, and a line in `FORMATS`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import DocumentRefused


class Format(NamedTuple):
    """`module`: its extractor, in this package, imported when it is needed. `aliases`: other media types of it."""

    media_type: str
    module: str
    extensions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


PDF = Format("application/pdf", "pdf", ("pdf",), ("application/x-pdf",))
DOCX = Format("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx", ("docx", "docm"))
HTML = Format("text/html", "html", ("html", "htm", "xhtml"), ("application/xhtml+xml",))
MARKDOWN = Format("text/markdown", "markdown", ("md", "markdown", "mdown", "mkd"), ("text/x-markdown",))
CSV = Format("text/csv", "delimited", ("csv",), ("application/csv",))
TSV = Format("text/tab-separated-values", "delimited", ("tsv", "tab"))
JSON = Format("application/json", "json_text", ("json", "geojson"), ("text/json", "application/ld+json"))
JSON_LINES = Format(
    "application/x-ndjson", "json_text", ("jsonl", "ndjson"), ("application/jsonl", "application/x-jsonlines")
)
PLAIN = Format("text/plain", "plain", ("txt", "text", "log", "rst", "adoc", "tex"))
FORMATS = (PDF, DOCX, HTML, MARKDOWN, CSV, TSV, JSON, JSON_LINES, PLAIN)

# Extensions of source code and configuration. Others are read as well where the content is text.
_CODE = {
    "bash": "x-sh", "c": "x-c", "cc": "x-c++", "cpp": "x-c++", "cs": "x-csharp", "css": "css", "dart": "x-dart",
    "ex": "x-elixir", "go": "x-go", "h": "x-c", "hpp": "x-c++", "hs": "x-haskell", "ini": "x-ini", "java": "x-java",
    "jl": "x-julia", "js": "javascript", "jsx": "javascript", "kt": "x-kotlin", "lua": "x-lua", "m": "x-objectivec",
    "mjs": "javascript", "php": "x-php", "pl": "x-perl", "ps1": "x-powershell", "py": "x-python", "r": "x-r",
    "rb": "x-ruby", "rs": "x-rust", "scala": "x-scala", "sh": "x-sh", "sql": "x-sql", "svelte": "x-svelte",
    "swift": "x-swift", "toml": "x-toml", "ts": "x-typescript", "tsx": "x-typescript", "vue": "x-vue", "xml": "xml",
    "yaml": "x-yaml", "yml": "x-yaml",
}  # fmt: skip

_BY_EXTENSION = {
    **{name: PLAIN._replace(media_type=f"text/{kind}") for name, kind in _CODE.items()},
    **{name: form for form in FORMATS for name in form.extensions},
}
_BY_MEDIA_TYPE = {name: form for form in FORMATS for name in (form.media_type, *form.aliases)}

# What is no text and begins like this; and one that is text but unreadable as such.
_OTHERS = (
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"\x1f\x8b", "a packed file"),
    (b"7z\xbc\xaf", "a packed file"),
    (b"\xfd7zXZ", "a packed file"),
    (b"Rar!", "a packed file"),
    (b"{\\rtf", "an RTF file"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\0", "a database"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML_START = re.compile(
    rb"\s*(<\?xml[^>]{0,200}\?>\s*)?(<!--((?!-->).)*-->\s*)*(<!doctype\s+html|<html)[\s>]", re.IGNORECASE | re.DOTALL
)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]{1,40})", re.IGNORECASE)


class Identified(NamedTuple):
    format: Format
    charset: str


def identify(content: bytes, *, name: str, media_type: str = "") -> Identified:
    """`name` may be a path or an address; only its extension counts. Raises `DocumentRefused` for what is no text."""
    declared = _declared(name, media_type)
    charset = _CHARSET.search(media_type)
    return Identified(_by_content(content, declared) or _as_text(content, declared), charset[1] if charset else "")


def _declared(name: str, media_type: str) -> Format | None:
    extension = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    if found := _BY_EXTENSION.get(extension):
        return found
    kind = media_type.split(";", 1)[0].strip().lower()
    if found := _BY_MEDIA_TYPE.get(kind):
        return found
    return JSON if kind.endswith("+json") else PLAIN if kind.startswith("text/") else None


def _by_content(content: bytes, declared: Format | None) -> Format | None:
    head = content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    # Acrobat takes a header anywhere in the first 1024 bytes; but so may a text about PDF have it.
    if head.startswith(b"%PDF-") or (declared is PDF and b"%PDF-" in head):
        return PDF
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return DOCX
    if content.startswith(_OLE):
        _refuse_ole(content)
    for start, what in _OTHERS:
        if content.startswith(start):
            raise DocumentRefused(f"it is {what}, which cannot be read", reason="unsupported_type")
    return None


def _refuse_ole(content: bytes) -> None:
    """Word encrypts a .docx into an OLE container with a stream of this name ([MS-OFFCRYPTO] 2.3.4.1)."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise DocumentRefused("it is encrypted; save it without a password", reason="encrypted")
    raise DocumentRefused("it is an old Office file; save it as .docx or PDF", reason="unsupported_type")


def _as_text(content: bytes, declared: Format | None) -> Format:
    is_loose = declared in (None, PDF, DOCX)
    head = content[:4096].removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").removeprefix(b"\xff\xfe")
    if (is_loose or declared in (CSV, TSV, JSON, JSON_LINES)) and _HTML_START.match(head):
        return HTML
    if declared is None and head.lstrip()[:1] in (b"{", b"["):
        return JSON
    return PLAIN if is_loose or declared is None else declared
