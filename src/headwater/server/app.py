"""The ASGI application: routes, the layers around them, and nothing else. It starts and stops no hub."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ..identity import Identity, IdentitySettings
from ..streams import Hub
from ..telemetry import Monitor
from . import (
    api_docs,
    errors,
    openapi,
    openapi_identity,
    openapi_monitor,
    routes_connections,
    routes_identity,
    routes_monitor,
    routes_openai,
    routes_prometheus,
    routes_routes,
    routes_streams,
    routes_system,
)
from .access import Access
from .compression import Compression
from .connections import Connections
from .envelope import Envelope
from .figures_feed import FiguresFeed
from .limits import RequestLimits
from .own_forms import OwnForms, Place
from .page import Pages
from .ports import ChatServices, ModelDirectory, RouteDirectory, Services
from .settings import ServerSettings

EXPOSED_HEADERS = ("X-Stream-Id", "X-Message-Id", "X-Request-Id", "Retry-After", "Location", "Content-Disposition")
ALLOWED_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# What a form adds to the document in it.
FORM_BYTES = 2**20
ALLOWED_HEADERS = (
    "Authorization", "Content-Type", "X-Api-Key", "Idempotency-Key", "Last-Event-ID", "X-Linger-S", "X-Request-Id",
    "X-Priority", "X-Fallback", "X-Client-Id",
    # What the official SDKs add to every call.
    "OpenAI-Organization", "OpenAI-Project", "X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-OS",
    "X-Stainless-Arch", "X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Retry-Count",
    "X-Stainless-Timeout", "X-Stainless-Helper-Method",
)  # fmt: skip


def create_app(
    hub: Hub,
    models: ModelDirectory,
    settings: ServerSettings,
    routes: RouteDirectory | None = None,
    chat: ChatServices | None = None,
    identity: Identity | None = None,
    connections: Connections | None = None,
    monitoring: tuple[Monitor, FiguresFeed] | None = None,
    compression: Compression | None = None,
) -> FastAPI:
    """The whole API over a hub that the caller starts and shuts down. Raises `ConfigError` for a malformed key.

    `routes`: for `/v1/routes`, which there is not without it; `chat`: likewise for conversations and documents.
    `identity`: who may call; None: who has one of the settings' keys. `connections`: the register behind `/streaming`
    and `/v1/connections`. `monitoring`: figures, alerts and timelines, for administrators. `compression`: None sends
    event streams as they are.
    """
    identity = identity or Identity(IdentitySettings(api_keys=settings.api_keys, admin_keys=settings.admin_keys))
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
    backend = chat.backend if chat is not None else None
    services = Services(hub, models, settings, backend, identity.meters, compression)
    for module in (routes_openai, routes_streams, routes_system):
        app.include_router(module.routes(services))
    app.include_router(routes_identity.routes(identity))
    if routes is not None:
        app.include_router(routes_routes.routes(routes))
    bodies: tuple[type, ...] = openapi_identity.BODIES + openapi_monitor.CONNECTION_BODIES
    if connections is not None:
        app.include_router(routes_connections.routes(services, connections))
    if monitoring is not None:
        _add_monitor(app, hub, settings, monitoring, compression)
        bodies += openapi_monitor.BODIES
    places = [Place(routes_connections.PREFIX, routes_connections.connection_form)]
    if chat is not None:
        from .chat_routes import BODIES, PLACES, chat_routers

        bodies += BODIES
        places += PLACES
        for router in chat_routers(services, chat):
            app.include_router(router)
    pages = _add_pages(app, settings, chat)
    errors.install(app)
    openapi.install(app, bodies, keys_needed=identity.configured)
    _add_layers(app, settings, identity, pages, takes_documents=chat is not None)
    # Whatever is refused, by whichever layer, in the form of the reference that is spoken there.
    app.add_middleware(OwnForms, places=places)
    return app


def _add_monitor(
    app: FastAPI,
    hub: Hub,
    settings: ServerSettings,
    monitoring: tuple[Monitor, FiguresFeed],
    compression: Compression | None,
) -> None:
    app.include_router(routes_monitor.routes(hub, *monitoring, compression))
    if settings.prometheus_access != "off":
        app.include_router(routes_prometheus.routes(monitoring[0], settings.prometheus_access))


def _add_pages(app: FastAPI, settings: ServerSettings, chat: ChatServices | None) -> Pages | None:
    """Those for people, and the API's own."""
    pages = Pages(chat=chat is not None) if settings.page else None
    if pages is not None:
        app.include_router(pages.routes())
    api_docs.install(app, from_root=pages is None or not pages.has_chat)
    return pages


def _add_layers(
    app: FastAPI, settings: ServerSettings, identity: Identity, pages: Pages | None, *, takes_documents: bool
) -> None:
    """Innermost first. Refusals pass through CORS, so that a page can read why it was refused."""
    app.add_middleware(
        RequestLimits,
        max_body_bytes=settings.max_body_bytes,
        max_header_bytes=settings.max_header_bytes,
        max_upload_bytes=settings.max_document_bytes + FORM_BYTES if takes_documents else None,
    )
    app.add_middleware(
        Access,
        identity=identity,
        single_user=settings.single_user,
        hosts=(settings.host, *settings.allowed_hosts),
        origins=settings.cors_origins,
        pages=pages,
        probes=(routes_prometheus.PATH,) if settings.prometheus_access == "open" else (),
    )
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
    app.add_middleware(Envelope, tells=settings.access_log, traces=settings.traces)
