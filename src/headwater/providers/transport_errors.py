"""What both transports share: the one table from what sockets, TLS and HTTP parsers raise to what a stream can be told,
and the rules for what is sent and taken.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import Mapping

import httptools

from ..errors import ConfigError, ProviderError, ProviderProtocolError, ProviderTruncated, ProviderUnreachable

MAX_HEAD_BYTES = 65_536
"""A security limit on a response's head, larger than any server's own limit on what it sends."""

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_REFUSED = frozenset({errno.ECONNREFUSED})
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})


def connect_error(error: BaseException, *, timeout_s: float) -> ProviderError:
    """Why no connection came about. The address is left out: the message may be shown to any caller."""
    match error:
        case asyncio.TimeoutError():
            return ProviderUnreachable(f"the provider did not accept a connection within {timeout_s:g} s")
        case socket.gaierror():
            return ProviderUnreachable("the provider's host name does not resolve")
        case ssl.SSLCertVerificationError():
            return ProviderUnreachable(f"the provider's certificate is not valid: {error.verify_message}")
        case ssl.SSLError():
            return ProviderUnreachable("the TLS handshake with the provider failed")
        case OSError() if error.errno in _NO_ROUTE:
            return ProviderUnreachable("there is no route to the provider")
        # asyncio folds the errors of several addresses into one OSError without a number.
        case OSError() if error.errno in _REFUSED or "refused" in str(error) or "Connect call failed" in str(error):
            return ProviderUnreachable("the provider refused the connection")
        case _:
            return ProviderUnreachable(f"the provider cannot be reached ({type(error).__name__})")


def lost_error(error: BaseException | None, *, head_seen: bool) -> ProviderError:
    """Why a response did not come to its end. `error` None: the peer closed the connection in good order."""
    if isinstance(error, httptools.HttpParserError | httptools.HttpParserUpgrade):
        return ProviderProtocolError(f"the provider sent what is not HTTP ({error})")
    how = "closed the connection" if error is None else "reset the connection"
    if head_seen:
        return ProviderTruncated(f"the provider {how} in the middle of its answer")
    return ProviderUnreachable(f"the provider {how} without an answer")


def head_too_large() -> ProviderError:
    return ProviderProtocolError(f"the provider's response head is larger than {MAX_HEAD_BYTES} bytes")


def closed_error() -> ProviderError:
    return ProviderUnreachable("the connections to providers are closed")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises `ConfigError` for what would break the request (CWE-93), as a key copied with its line break."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigError("a header for the provider has a name that no header can have")
        if not _HEADER_VALUE.fullmatch(value):
            raise ConfigError(f"the header {name} for the provider holds characters that no header can")


def default_tls() -> ssl.SSLContext:
    """Verifies certificates and names; honours SSL_CERT_FILE and SSL_CERT_DIR as they are now."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def compressed(coding: str) -> ProviderError:
    return ProviderProtocolError(f"the provider compressed its answer ({coding[:40]}) though asked not to")


def is_identity(coding: str) -> bool:
    """Whether a `content-encoding` leaves the body as it is."""
    return coding.strip().lower() in ("", "identity")
