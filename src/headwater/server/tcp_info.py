"""Round-trip time and retransmissions of a connection, as Linux measures them (`TCP_INFO`, tcp(7)).

The layout is that of `struct tcp_info` in `include/uapi/linux/tcp.h`, which only ever grows at its end; an older kernel
gives fewer bytes.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Protocol

from ..streams import Network

# Where `struct tcp_info` has them; all are unsigned 32-bit, the time in microseconds.
_RTT, _TOTAL_RETRANS, _DSACK_DUPS = 68, 100, 216
_BYTES = 240
_number = struct.Struct("=I").unpack_from


class HasOptions(Protocol):
    """A socket, or uvloop's stand-in for one."""

    def getsockopt(self, level: int, option: int, buflen: int, /) -> bytes: ...


def read_network(sock: HasOptions) -> Network | None:
    """Some microseconds. None where the system does not tell, or the socket is closed or not TCP."""
    if sys.platform != "linux":
        return None
    try:
        return parse_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES))
    except OSError:
        return None


def parse_tcp_info(data: bytes) -> Network | None:
    """Of a kernel that tells too little: None."""
    if len(data) < _TOTAL_RETRANS + 4:
        return None
    [rtt_us], [again] = _number(data, _RTT), _number(data, _TOTAL_RETRANS)
    # Linux before 4.20 does not count what the peer reported as got twice (D-SACK, RFC 2883).
    needless = _number(data, _DSACK_DUPS)[0] if len(data) >= _DSACK_DUPS + 4 else 0
    return Network(rtt_us / 1_000_000, again, max(0, again - needless))
