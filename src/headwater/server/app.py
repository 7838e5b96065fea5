"""The ASGI application: routes, the layers around them, and nothing else. It starts and stops no hub."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ..streams import Hub
from . import api_docs, errors, openapi, routes_openai, routes_routes, routes_streams, routes_system
from .access import KeyCheck, KeyRing, OriginCheck
from .envelope import Envelope
from .limits import RequestLimits
from .ports import ModelDirectory, RouteDirectory, Services
from .settings import ServerSettings

EXPOSED_HEADERS = ("X-Stream-Id", "X-Request-Id", "Retry-After", "Location")
ALLOWED_METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS")
ALLOWED_HEADERS = (
    "Authorization", "Content-Type", "X-Api-Key", "Idempotency-Key", "Last-Event-ID", "X-Linger-S", "X-Request-Id",
    "X-Priority", "X-Fallback",
    # What the official SDKs add to every call.
    "OpenAI-Organization", "OpenAI-Project", "X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-OS",
    "X-Stainless-Arch", "X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Retry-Count",
    "X-Stainless-Timeout", "X-Stainless-Helper-Method",
)  # fmt: skip


def create_app(
    hub: Hub, models: ModelDirectory, settings: ServerSettings, routes: RouteDirectory | None = None
) -> FastAPI:
    """The whole API over a hub that the caller starts and shuts down. Raises `ConfigError` for a malformed key.

    `routes`: for `/v1/routes`, which there is not without it.
    """
    admins = KeyRing(settings.admin_keys)
    keys = KeyRing((*settings.api_keys, *settings.admin_keys))
    app = FastAPI(
        title="Headwater",
        description="Durable, resumable streams of LLM answers.",
        version=settings.version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    services = Services(hub, models, settings)
    for module in (routes_openai, routes_streams, routes_system):
        app.include_router(module.routes(services))
    if routes is not None:
        app.include_router(routes_routes.routes(routes))
    api_docs.install(app)
    errors.install(app)
    openapi.install(app, with_keys=bool(keys))
    _add_layers(app, settings, keys, admins)
    return app


def _add_layers(app: FastAPI, settings: ServerSettings, keys: KeyRing, admins: KeyRing) -> None:
    """Innermost first. Refusals pass through CORS, so that a page can read why it was refused."""
    app.add_middleware(
        RequestLimits, max_body_bytes=settings.max_body_bytes, max_header_bytes=settings.max_header_bytes
    )
    if keys:
        app.add_middleware(KeyCheck, keys=keys, admins=admins)
    elif settings.single_user:
        hosts = (settings.host, *settings.allowed_hosts)
        app.add_middleware(OriginCheck, hosts=hosts, origins=settings.cors_origins)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=ALLOWED_METHODS,
            allow_headers=ALLOWED_HEADERS,
            # Keys travel in headers that a page must set itself; cookies are never used.
            allow_credentials=False,
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(Envelope)
