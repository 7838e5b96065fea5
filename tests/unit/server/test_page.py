"""The pages' files over ASGI: which there are, how they are sent, and that nothing else is."""

from __future__ import annotations

import gzip
from pathlib import Path

import brotli
import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.types import ASGIApp

from headwater.identity import Identity, IdentitySettings
from headwater.server import ServerSettings, create_app, page
from headwater.server.access import Access
from headwater.server.page import CONTENT_SECURITY_POLICY, Pages
from headwater.streams import Hub, StreamSettings
from tests.integration.kit import MemoryLog, ScriptedModels

from .asgi import Exchange, http_scope

SCRIPT = b"export const answer = 42;\n" * 40
# What stands for the output of brotli, which Python cannot make; the server passes it on unread.
SQUEEZED = brotli.compress(SCRIPT)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A build with two pages, and a file beside it that is nobody's business."""
    directory = tmp_path / "page_files"
    (directory / "assets").mkdir(parents=True)
    (directory / "index.html").write_text("<!doctype html><title>Chat</title>")
    (directory / "dashboard.html").write_text("<!doctype html><title>Dashboard</title>")
    (directory / "icon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (directory / "site.webmanifest").write_text("{}")
    (directory / ".sources").write_text("not to be served")
    script = directory / "assets" / "index-B2a_x9.js"
    script.write_bytes(SCRIPT)
    script.with_name(f"{script.name}.gz").write_bytes(gzip.compress(SCRIPT, mtime=0))
    script.with_name(f"{script.name}.br").write_bytes(SQUEEZED)
    (directory / "assets" / "font.woff2").write_bytes(b"\0font")
    (tmp_path / "secret.js").write_text("secret")
    return directory


def app_of(directory: Path, *, chat: bool = True) -> FastAPI:
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.include_router(Pages(directory, chat=chat).routes())
    return app


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://headwater.test")


@pytest.mark.parametrize(
    ("path", "kind", "cache"),
    [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/dashboard", "text/html; charset=utf-8", "no-cache"),
        ("/icon.svg", "image/svg+xml", "no-cache"),
        ("/site.webmanifest", "application/manifest+json", "no-cache"),
        ("/assets/index-B2a_x9.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/assets/font.woff2", "font/woff2", "public, max-age=31536000, immutable"),
    ],
)
async def test_each_file_has_its_type_and_its_time(built: Path, path: str, kind: str, cache: str) -> None:
    async with client_of(app_of(built)) as client:
        response = await client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, kind)
    assert response.headers["cache-control"] == cache
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/dashboard", "/icon.svg", "/assets/index-B2a_x9.js"])
async def test_what_can_run_scripts_may_load_from_here_only(built: Path, path: str) -> None:
    async with client_of(app_of(built)) as client:
        headers = (await client.get(path)).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    for rule in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"):
        assert rule in CONTENT_SECURITY_POLICY.split("; ")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "microphone=()" in headers["permissions-policy"]


@pytest.mark.parametrize(
    ("accepts", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("br;q=0.1, gzip;q=0.9", "gzip"),
        ("BR", "br"),
        ("*", "br"),
        ("*;q=0.5, br;q=0", "gzip"),
        ("br;q=none", None),
        ("br;q=0, gzip; q=0", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_the_smallest_that_the_client_takes_is_sent(built: Path, accepts: str, encoding: str | None) -> None:
    sent = {"br": SQUEEZED, "gzip": gzip.compress(SCRIPT, mtime=0), None: SCRIPT}[encoding]
    async with client_of(app_of(built)) as client:
        request = client.build_request("GET", "/assets/index-B2a_x9.js", headers={"Accept-Encoding": accepts})
        response = await client.send(request, stream=True)
        raw = b"".join([chunk async for chunk in response.aiter_raw()])
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["vary"] == "Accept-Encoding"
    assert raw == sent
    assert int(response.headers["content-length"]) == len(sent)


async def test_a_file_that_was_not_squeezed_is_sent_as_it_is(built: Path) -> None:
    async with client_of(app_of(built)) as client:
        response = await client.get("/assets/font.woff2", headers={"Accept-Encoding": "br, gzip"})
    assert "content-encoding" not in response.headers
    assert response.content == b"\0font"


async def test_a_known_file_is_not_sent_again(built: Path) -> None:
    plain = {"Accept-Encoding": "identity"}
    async with client_of(app_of(built)) as client:
        first = await client.get("/", headers=plain)
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await client.get("/", headers=plain | {"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            assert again.headers["cache-control"] == "no-cache"
        assert (await client.get("/", headers=plain | {"If-None-Match": '"other"'})).status_code == 200
        # The same file in another encoding is other bytes.
        script = "/assets/index-B2a_x9.js"
        tags = {
            (await client.head(script, headers={"Accept-Encoding": e})).headers["etag"] for e in ("gzip", "identity")
        }
        assert len(tags) == 2
        # A new build is seen at once.
        (built / "index.html").write_text("<!doctype html><title>New</title>")
        new = await client.get("/", headers=plain | {"If-None-Match": tag})
        assert (new.status_code, "New" in new.text) == (200, True)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../secret.js", "/assets/../index.html", "/assets/..\\..\\secret.js", "/assets//etc/passwd",
        "/assets/..", "/assets/.", "/assets/.hidden", "/assets/x\0.js", "/assets/", "/assets", "/assets/nothing.js",
        "/assets/index-B2a_x9.js/", "/.sources", "/index.html", "/dashboard.html", "/icon.svg/", "/../secret.js",
    ],
)  # fmt: skip
async def test_nothing_else_is_there(built: Path, path: str) -> None:
    """The path as an ASGI server gives it, decoded; a client's library would tidy it before it is sent."""
    exchange = Exchange(http_scope(path))
    await exchange.run(app_of(built))
    assert exchange.status == 404
    assert b"secret" not in exchange.body


async def test_without_conversations_there_is_no_chat_page(built: Path) -> None:
    async with client_of(app_of(built, chat=False)) as client:
        assert (await client.get("/")).status_code == 404
        assert (await client.get("/dashboard")).status_code == 200


def served_paths(directory: Path) -> list[bool]:
    pages = Pages(directory, chat=True)
    return [pages.serves(path) for path in ("/", "/dashboard", "/icon.svg", "/assets/x.js", "/v1/models", "/assets")]


def test_what_is_open_without_a_key(built: Path, tmp_path: Path) -> None:
    assert served_paths(built) == [True, True, True, True, False, False]
    assert served_paths(tmp_path / "nowhere") == [False] * 6


async def test_the_pages_need_no_key_and_the_rest_does(built: Path) -> None:
    pages = Pages(built, chat=True)
    app = FastAPI(openapi_url=None)
    app.include_router(pages.routes())
    keyed = Access(app, identity=Identity(IdentitySettings(api_keys=("k",))), pages=pages)
    async with client_of(Mount("/chat", keyed)) as client:
        for path in ("/chat/", "/chat/dashboard", "/chat/assets/index-B2a_x9.js", "/chat/icon.svg"):
            assert (await client.get(path)).status_code == 200
        for path in ("/chat/v1/models", "/chat/.sources"):
            assert (await client.get(path)).status_code == 401


@pytest.mark.parametrize("settings", [ServerSettings(), ServerSettings(page=False)])
async def test_where_there_is_no_chat_page_the_root_leads_to_the_api(
    built: Path, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "FILES", built)
    app = create_app(Hub(MemoryLog(), StreamSettings()), ScriptedModels({}), settings)
    async with client_of(Mount("/below", app)) as client:
        response = await client.get("/below/")
        assert (response.status_code, response.headers["location"]) == (307, "/below/api-docs")
        assert (await client.get("/below/dashboard")).status_code == (200 if settings.page else 404)
