"""What the kernel tells of a connection, against another program that asks it, and against bytes that are known."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from headwater.server.tcp_info import parse_tcp_info, read_network
from headwater.streams import Network

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    with client, server:
        yield server, client


def info(*, rtt_us: int, again: int, needless: int = 0, length: int = 240) -> bytes:
    data = bytearray(240)
    struct.pack_into("=I", data, 68, rtt_us)
    struct.pack_into("=I", data, 100, again)
    struct.pack_into("=I", data, 216, needless)
    return bytes(data[:length])


def test_what_the_bytes_say() -> None:
    assert parse_tcp_info(info(rtt_us=12_500, again=7, needless=2)) == Network(0.0125, 7, 5)


def test_an_older_kernel_tells_less() -> None:
    assert parse_tcp_info(info(rtt_us=500, again=3, needless=9, length=192)) == Network(0.0005, 3, 3)
    assert parse_tcp_info(info(rtt_us=500, again=3, length=100)) is None
    assert parse_tcp_info(b"") is None


def test_there_are_never_fewer_than_none() -> None:
    assert parse_tcp_info(info(rtt_us=1, again=1, needless=4)) == Network(1e-6, 1, 0)


@ON_LINUX
@pytest.mark.monitor
def test_another_program_reads_the_same(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    for _ in range(20):
        server.sendall(b"x" * 1000)
        client.recv(1000)
        client.sendall(b"y")
        server.recv(1)
    port = server.getpeername()[1]
    own = server.getsockname()[1]
    told = subprocess.run(
        ["ss", "-tinH", f"sport = :{own} and dport = :{port}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"\brtt:([0-9.]+)/", told)
    assert found is not None, told
    again = re.search(r"\bretrans:\d+/(\d+)", told)
    network = read_network(server)
    assert network is not None
    assert network.rtt_s * 1000 == pytest.approx(float(found[1]), abs=0.0011)
    assert network.retransmissions == (int(again[1]) if again else 0)


@ON_LINUX
def test_a_closed_socket_tells_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    server, _ = pair
    server.close()
    assert read_network(server) is None


def test_elsewhere_nothing_is_asked(pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert read_network(pair[0]) is None
