"""Documents in requests: multipart forms, or a body that is the document. Never an address to fetch (CWE-918)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ..errors import BodyTooLarge, InputError

MAX_FILES = 20
MAX_FIELDS = 50
MAX_FIELD_BYTES = 65_536

# Where bodies may be as large as a document.
_PLACES = re.compile(
    r"/v1/documents(/[^/]+/versions)?|/v1/workspaces/[^/]+/(documents|import)|(/api)?/(v1/)?document/upload(/[^/]+)?|(/api)?/workspace/[^/]+/upload"
    r"|(/api)?/docs/upload_file(_async)?"
)


# RFC 8187, which the parser leaves out (in forms RFC 7578 forbids it).
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=\s*utf-8'[^';]*'([^;\s]+)", re.IGNORECASE)


def takes_document(path: str) -> bool:
    """Whether a POST to this path may carry a whole document."""
    return _PLACES.fullmatch(path) is not None


class Upload(NamedTuple):
    """One file. `media_type` is what the client says it is, "" where it says nothing."""

    name: str
    media_type: str
    content: bytes


class _InMemory(MultiPartParser):
    """No document goes through a temporary file, where it would lie in plain text. Its size is bounded as a body's."""

    spool_max_size = 2**62


class Form(NamedTuple):
    """`fields`: text fields, and for a plain body its query parameters."""

    uploads: list[Upload]
    fields: Mapping[str, str]


async def read_form(request: Request, *, max_bytes: int) -> Form:
    """All files and fields of an upload. Raises `InputError` where there is no file, `BodyTooLarge` for a large one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return await _plain(request, kind, max_bytes)
    try:
        form = await _InMemory(
            request.headers, request.stream(), max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
        ).parse()
    except MultiPartException as exc:
        raise InputError(f"the form cannot be read: {exc.message}") from exc
    try:
        uploads = [await _read(each, max_bytes) for _, each in form.multi_items() if isinstance(each, UploadFile)]
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    finally:
        await form.close()
    if not uploads:
        raise InputError("there is no file in the form", param="file")
    return Form(uploads, fields)


async def _read(file: UploadFile, max_bytes: int) -> Upload:
    if file.size is not None and file.size > max_bytes:
        raise BodyTooLarge(f"the document is larger than {max_bytes} bytes (max_document_bytes)", param="file")
    return Upload(base_name(file.filename or "") or "document", file.content_type or "", await file.read())


async def _plain(request: Request, kind: str, max_bytes: int) -> Form:
    name = base_name(_name_in(request)) or "document"
    content = await request.body()
    if not content:
        raise InputError("there is no document: send multipart/form-data, or the document as the body", param="file")
    if len(content) > max_bytes:
        raise BodyTooLarge(f"the document is larger than {max_bytes} bytes (max_document_bytes)", param="file")
    return Form([Upload(name, kind, content)], dict(request.query_params))


def _name_in(request: Request) -> str:
    """The name by the query's `name`, else by `Content-Disposition` (RFC 6266)."""
    named = request.query_params.get("name")
    if named:
        return named
    header = request.headers.get("content-disposition", "")
    if extended := _EXTENDED_NAME.search(header):
        return unquote(extended[1])
    _, options = parse_options_header(header.encode("latin-1", "replace"))
    return options.get(b"filename", b"").decode("utf-8", "replace")


def base_name(name: str) -> str:
    """The last part of a path of any system, without control characters: a name is shown, never opened (CWE-22)."""
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[\x00-\x1f\x7f]", "", last).strip()[:255]
