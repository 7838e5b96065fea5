"""One connection without a pool: what is gone can do no harm, and a head has a bound."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import ProviderProtocolError
from headwater.providers.http_connection import HttpConnection
from headwater.providers.transport_errors import MAX_HEAD_BYTES
from tests.conformance.transports.kit import KeepingReceiver
from tests.integration.kit import eventually


class Owner:
    def __init__(self) -> None:
        self.left: list[HttpConnection] = []

    def free(self, connection: HttpConnection) -> None:
        raise AssertionError("there was no exchange")

    def gone(self, connection: HttpConnection) -> None:
        self.left.append(connection)

    def unanswered(self, connection: HttpConnection) -> bool:
        raise AssertionError("there was no exchange")


async def test_a_connection_that_is_gone_is_neither_usable_nor_quiet() -> None:
    """`quiet` asks the socket by its descriptor, which may be another connection's by then."""
    owner = Owner()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connection = HttpConnection(owner, memoryview(bytearray(1024)))
        assert (connection.usable, connection.quiet) == (False, False)
        await asyncio.get_running_loop().create_connection(lambda: connection, *server.sockets[0].getsockname())
        assert (connection.usable, connection.quiet) == (True, True)
        connection.abort()
        assert (connection.usable, connection.quiet) == (False, False)
        await eventually(lambda: owner.left)
    for call in (connection.abort, connection.pause, connection.resume):
        call()
    assert (connection.usable, connection.quiet) == (False, False)
    assert owner.left == [connection]


@pytest.mark.parametrize("reads", [1, 2])
async def test_a_head_is_bounded_however_it_is_cut_into_reads(reads: int) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %b\r\n" % (at, b"x" * 1000) for at in range(70)) + b"\r\n"
    assert len(head) > MAX_HEAD_BYTES
    owner, receiver = Owner(), KeepingReceiver()
    connection = HttpConnection(owner, memoryview(bytearray(len(head))))
    connection.send(b"", receiver)
    size = -(-len(head) // reads)
    for start in range(0, len(head), size):
        piece = head[start : start + size]
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
    assert isinstance(receiver.error, ProviderProtocolError)
    assert receiver.status == 0
