"""TLS for the scripted server: a self-signed certificate for localhost, 127.0.0.1 and ::1, valid until 2126.

Its key is public, so it protects nothing: it is trusted by tests only, through `CERTIFICATE` as their authority.
"""

from __future__ import annotations

import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).parent / "certificates" / "localhost.pem"


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context
