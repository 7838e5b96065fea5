"""The API's own pages: `/api-docs` in the browser, and the way there from `/` where there is no chat page.

The script and style of Swagger UI come with a Python package and are served from here: a page of this server asks no
other host, works without a network, and runs nobody else's script beside the API.
"""

from __future__ import annotations

from importlib.resources import as_file, files

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

PATH = "/api-docs"
ASSETS = f"{PATH}/assets"


def install(app: FastAPI, *, from_root: bool) -> None:
    """Add the pages to an app whose own `docs_url` is off. `from_root`: whether `/` leads to them."""
    if from_root:

        @app.get("/", include_in_schema=False)
        async def index(request: Request) -> RedirectResponse:
            return RedirectResponse(_here(request) + PATH)

    @app.get(PATH, include_in_schema=False)
    async def page(request: Request) -> HTMLResponse:
        here = _here(request)
        return get_swagger_ui_html(
            openapi_url=f"{here}/openapi.json",
            title=app.title,
            swagger_js_url=f"{here}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{here}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{here}{ASSETS}/favicon.png",
        )

    with as_file(files("fastapi_offline") / "static") as directory:
        app.mount(ASSETS, StaticFiles(directory=directory), name="api-docs-assets")


def _here(request: Request) -> str:
    """Where the API is mounted."""
    return str(request.scope.get("root_path", "")).rstrip("/")
