"""Real keys, tokens signed with them, and a server of their public halves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "a secret of at least 32 bytes, really"


def private_key(kind: str, number: int = 0) -> Any:
    """`kind`: RS256, ES256 or EdDSA, or one that is too weak or of the wrong sort."""
    return _made(kind, number)


@cache
def _made(kind: str, number: int) -> Any:
    match kind:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "RSA-1024":
            return rsa.generate_private_key(65537, 1024)  # noqa: S505 -- it is to be refused
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_pem(kind: str, number: int = 0) -> str:
    public = private_key(kind, number).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(kind: str, number: int = 0, **more: object) -> dict[str, Any]:
    from jwt.algorithms import get_default_algorithms

    algorithm = get_default_algorithms()[{"RSA-1024": "RS256"}.get(kind, kind)]
    return algorithm.to_jwk(private_key(kind, number).public_key(), as_dict=True) | more  # type: ignore[return-value]


def claims(**more: object) -> dict[str, Any]:
    """Of a token that holds for an hour; those of None are left out."""
    now = int(time.time())
    merged: dict[str, Any] = {"sub": "ann", "exp": now + 3600, "iat": now} | more
    return {name: value for name, value in merged.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", head: dict[str, Any] | None = None, **more: object) -> str:
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers=head)


class KeyServer:
    """What it answers can be changed while it runs. `gate`: whether it answers at all."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.status = 200
        self.headers = ""
        self.body = b'{"keys":[]}'
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def serve(self, *keys: dict[str, Any]) -> None:
        self.status, self.body = 200, json.dumps({"keys": keys}).encode()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            self.arrived.set()
            await self.gate.wait()
            length = f"Content-Length: {len(self.body)}"
            head = f"HTTP/1.1 {self.status} X\r\n{length}\r\n{self.headers}Connection: close\r\n\r\n"
            writer.write(head.encode() + self.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def key_server() -> AsyncIterator[KeyServer]:
    serving = KeyServer()
    server = await asyncio.start_server(serving.answer, "127.0.0.1", 0)
    serving.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    async with server:
        yield serving
        serving.gate.set()
