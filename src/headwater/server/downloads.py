"""Bytes that somebody gave us, given back so that no browser runs or shows them in our origin (CWE-79, CWE-434)."""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.responses import Response

from .uploads import base_name

UNKNOWN_TYPE = "application/octet-stream"
# RFC 9110, 8.3.1: what else a client called its bytes must not get into a header.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}(; charset=utf-8)?")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 ._()-]+")
# Should a browser open it all the same: without scripts, forms and an origin, and with nothing loaded.
_HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "no-store",
}


def download(content: bytes, name: str, media_type: str) -> Response:
    """As a file to save, whatever it is called and claims to be."""
    kind = media_type if _MEDIA_TYPE.fullmatch(media_type) else UNKNOWN_TYPE
    headers = {**_HARMLESS, "Content-Disposition": disposition(name), "Content-Type": kind}
    return Response(content, headers=headers)


def disposition(name: str) -> str:
    """`attachment` with a name that is safe in a header and as a file's (RFC 6266, RFC 8187)."""
    name = base_name(name) or "document"
    plain = _NOT_PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
