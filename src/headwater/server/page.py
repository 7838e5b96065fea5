"""The pages that come with the server: the chat at `/`, the dashboard at `/dashboard`, and their files.

They are built from `web/` into `page_files` (scripts/build_page.py). They tell nothing private, so they are open
without a key; the page asks its reader for one. All their addresses are relative, so they work below any mount.

Security: nothing but this origin is loaded or asked, no inline script or style runs, and no other site may frame them.
A path is never joined to the directory's but for a plain name of one segment (CWE-22).
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from .encodings import accepted

FILES = Path(__file__).parent / "page_files"
CHAT, DASHBOARD, ASSETS = "/", "/dashboard", "/assets/"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Vary": "Accept-Encoding"}
# Of what a browser runs in our origin: pages, workers, and pictures that can hold scripts.
_PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Their names change with their content.
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_ENCODINGS = {"br": ".br", "gzip": ".gz"}
# Not from the machine's own tables, which differ (and say `text/plain` for scripts on some).
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".woff": "font/woff",
    ".ttf": "font/ttf",
    ".webmanifest": "application/manifest+json",
}


class _Found(NamedTuple):
    """`etag`: of the bytes as they are sent, so that another encoding is another tag (RFC 9110, 8.8.3)."""

    content: bytes
    encoding: str | None
    etag: str


class Pages:
    """The files of one directory, by default the build's.

    `chat`: whether there are conversations, without which there is no chat page. Which pages there are is told once,
    here; the files are read when they are asked for, so that a new build is seen at once.
    """

    def __init__(self, directory: Path | None = None, *, chat: bool) -> None:
        directory = self._directory = directory or FILES
        pages = {DASHBOARD: "dashboard.html", **({CHAT: "index.html"} if chat else {})}
        self._files = {path: name for path, name in pages.items() if (directory / name).is_file()}
        if self._files:
            self._files |= {f"/{name}": name for name in _beside(directory)}

    @property
    def has_chat(self) -> bool:
        return CHAT in self._files

    def serves(self, path: str) -> bool:
        """Whether the path, as seen below the mount, is one of these."""
        return path in self._files or (bool(self._files) and path.startswith(ASSETS))

    def routes(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)
        for path, name in self._files.items():
            router.add_route(path, self._file(name), name=f"page:{name}", include_in_schema=False)
        if self._files:
            router.add_route(f"{ASSETS}{{name}}", self._asset, name="page:assets", include_in_schema=False)
        return router

    def _file(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        async def file(request: Request) -> Response:
            return await self._answer(request, self._directory / name, _ASK_FIRST)

        return file

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not _NAME.fullmatch(name):
            raise HTTPException(404)
        return await self._answer(request, self._directory / "assets" / name, _FOR_EVER)

    async def _answer(self, request: Request, path: Path, cache: str) -> Response:
        found = await asyncio.to_thread(
            _read, path, accepted(request.headers.get("accept-encoding", ""), tuple(_ENCODINGS))
        )
        if found is None:
            raise HTTPException(404)
        headers = {**_HEADERS, "Cache-Control": cache, "ETag": found.etag}
        if path.suffix in (".html", ".js", ".svg"):
            headers |= _PAGE_HEADERS
        if _matches(request.headers.get("if-none-match", ""), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        if found.encoding is not None:
            headers["Content-Encoding"] = found.encoding
        return Response(found.content, headers={**headers, "Content-Type": _media_type(path)})


def _beside(directory: Path) -> list[str]:
    """What lies beside the pages under a name of its own: icons, a manifest, a worker."""
    names = (path.name for path in directory.iterdir() if path.is_file() and _NAME.fullmatch(path.name))
    return sorted(name for name in names if not name.endswith((".html", *_ENCODINGS.values())))


def _read(path: Path, encodings: tuple[str, ...]) -> _Found | None:
    for encoding in encodings:
        try:
            return _found(path.with_name(path.name + _ENCODINGS[encoding]).read_bytes(), encoding)
        except OSError:  # not every file gets smaller
            continue
    try:
        return _found(path.read_bytes(), None)
    except OSError:
        return None


def _found(content: bytes, encoding: str | None) -> _Found:
    return _Found(content, encoding, f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"')


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or tags == ["*"]


def _media_type(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def is_built() -> bool:
    return (FILES / "index.html").is_file()
