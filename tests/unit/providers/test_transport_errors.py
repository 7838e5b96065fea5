"""The table from what sockets, TLS and parsers raise to what a caller is told: one cause each, and no address."""

from __future__ import annotations

import errno
import socket
import ssl

import httptools
import pytest

from headwater.errors import ProviderProtocolError, ProviderTruncated, ProviderUnreachable
from headwater.providers.transport_errors import connect_error, lost_error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "did not accept a connection within 2.5 s"),
        (socket.gaierror(socket.EAI_NONAME, "10.0.0.1 unknown"), "host name does not resolve"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] 10.0.0.1"), "the TLS handshake with the provider failed"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "10.0.0.1"), "refused the connection"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('10.0.0.1', 1)"), "refused the connection"),
        (OSError(errno.ENETUNREACH, "10.0.0.1"), "there is no route to the provider"),
        (OSError(errno.EHOSTUNREACH, "10.0.0.1"), "there is no route to the provider"),
        (OSError(errno.EADDRNOTAVAIL, "10.0.0.1"), "there is no route to the provider"),
        (OSError(errno.EMFILE, "10.0.0.1"), "cannot be reached (OSError)"),
        (UnicodeError("label too long: 10.0.0.1"), "cannot be reached (UnicodeError)"),
    ],
)
def test_why_no_connection_came_about(error: BaseException, said: str) -> None:
    told = connect_error(error, timeout_s=2.5)
    assert type(told) is ProviderUnreachable
    assert said in told.message
    assert "10.0.0.1" not in told.message


@pytest.mark.parametrize(
    ("error", "head_seen", "kind", "said"),
    [
        (None, False, ProviderUnreachable, "closed the connection without an answer"),
        (None, True, ProviderTruncated, "closed the connection in the middle of its answer"),
        (ConnectionResetError(), False, ProviderUnreachable, "reset the connection without an answer"),
        (ConnectionResetError(), True, ProviderTruncated, "reset the connection in the middle of its answer"),
        (httptools.HttpParserError("bad"), True, ProviderProtocolError, "what is not HTTP (bad)"),
    ],
)
def test_why_an_answer_did_not_come_to_its_end(
    error: BaseException | None, head_seen: bool, kind: type, said: str
) -> None:
    told = lost_error(error, head_seen=head_seen)
    assert type(told) is kind
    assert said in told.message
