"""What the HTTP server needs to know, as plain values."""

from __future__ import annotations

from typing import Literal

import msgspec

from .._version import __version__

MIB = 2**20


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and bytes, as the names say.

    `api_keys` are raw keys or `sha256:<64 hex digits>` of one; so are `admin_keys`, which may also change routes.
    `single_user`: no login, but Host and Origin are checked (DNS rebinding, CSRF); for loopback hosts without keys.
    `allowed_hosts` are further Host names for that check. `linger_s` `None` means each dialect's own default.
    `page`: whether the pages that come with the server are served, where they are built. `prometheus_access`: who may
    read `/metrics`. `access_log`: whether every request is told in the log.
    `traces`: whether there are any.
    """

    host: str = "127.0.0.1"
    version: str = __version__
    api_keys: tuple[str, ...] = ()
    admin_keys: tuple[str, ...] = ()
    single_user: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    default_model: str = ""
    linger_s: float | None = None
    head_wait_s: float = 5.0
    max_body_bytes: int = 8 * MIB
    max_header_bytes: int = 65_536
    max_messages: int = 10_000
    max_document_bytes: int = 50 * MIB
    max_buffer_bytes: int = 8192
    max_flush_interval_ms: float = 100.0
    page: bool = True
    access_log: bool = False
    traces: bool = False
    prometheus_access: Literal["admin", "key", "open", "off"] = "admin"
