"""Bytes to text, for formats that are text. What is not text is refused."""

from __future__ import annotations

import codecs
import re

from ...errors import DocumentRefused

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Charsets that a document may name. Python knows more: some are no charsets, some are quadratic (punycode).
_CHARSET = re.compile(
    r"us-ascii|utf-?(8|16|32)(-?[lb]e)?|iso-?8859-\d{1,2}|latin-?1|(windows-|cp)125\d|gb(k|2312|18030)|big5"
    r"|shift[-_]jis|euc-(jp|kr)|koi8-[ru]|macintosh",
    re.IGNORECASE,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # escape (1b) is in logs of terminals
_MAX_CONTROLS_SHARE = 0.01
_MAX_DAMAGE_SHARE = 0.2


def decode(content: bytes, charset: str = "") -> str:
    """By its byte order mark, else as UTF-8, else by `charset`, else as Windows-1252. Raises `DocumentRefused`."""
    text = _decode(content, charset)
    controls = _CONTROLS.findall(text)
    if "\0" in controls or len(controls) > len(text) * _MAX_CONTROLS_SHARE:
        raise DocumentRefused("it is binary, and of no type that can be read", reason="unsupported_type")
    return text


def _decode(content: bytes, charset: str) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            # `utf-8` alone keeps its mark in the text.
            return content.removeprefix(codecs.BOM_UTF8).decode(encoding, "replace")
    declared = (
        charset if _CHARSET.fullmatch(charset) and not charset.lower().replace("-", "").startswith("utf8") else ""
    )
    try:
        # Bytes that are well-formed UTF-8 hardly ever are anything else; UTF-16 without a mark is (ASCII and NULs).
        if not declared.lower().startswith(("utf-16", "utf-32", "utf16", "utf32")):
            return content.decode("utf-8")
        return content.decode(declared, "replace")
    except UnicodeDecodeError:
        pass
    if declared:
        return content.decode(declared, "replace")
    text = content.decode("utf-8", "replace")
    beyond_ascii = sum(map(text.count, set(text) - set(map(chr, range(128)))))
    # A few bad bytes among many good sequences: damaged UTF-8, not another encoding.
    return text if text.count("\ufffd") <= beyond_ascii * _MAX_DAMAGE_SHARE else content.decode("cp1252", "replace")
