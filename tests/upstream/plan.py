"""From a scripted answer to the exact writes on the socket: framing, re-chunking and faults."""

from __future__ import annotations

import gzip
from typing import Literal, NamedTuple, TypeAlias

from .answer import Answer, Frame

Ending: TypeAlias = Literal["keep", "close", "fin", "rst", "hang"]
REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
HTML = b"""<!DOCTYPE html>
<html><head><title>502 Bad Gateway</title><style>body{color:red}</style></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx/1.27.0</center></body></html>
"""
COMMENT = b": UPSTREAM PROCESSING\n\n"


class Plan(NamedTuple):
    """`writes` go out one by one, each after its own delay; then `ending`. `whole`: it is a complete HTTP answer."""

    writes: list[Frame]
    ending: Ending


def plan(answer: Answer, faults: dict[str, str], *, sse: bool, fault_frame: bytes) -> Plan:
    """The writes of one answer under its faults. `fault_frame` is the frame of an in-band fault."""
    frames, ending = _cut(answer, faults, fault_frame)
    body = _reshape(frames, faults, sse=sse)
    if "gzip" in faults:
        body = [Frame(gzip.compress(b"".join(frame.data for frame in body), mtime=0))]
    head, framing = _head(answer, faults, sum(len(frame.data) for frame in body))
    if framing == "length" and ("content_length_short" in faults):
        body, ending = body[: len(body) // 2], "fin"
    if framing == "chunked":
        body = [frame._replace(data=b"%x\r\n%b\r\n" % (len(frame.data), frame.data)) for frame in body if frame.data]
        if ending in ("keep", "close"):
            body.append(Frame(b"0\r\n\r\n"))
    elif framing == "close" and ending == "keep":
        ending = "fin"
    writes = [Frame(head), *body]
    if "one_write" in faults:
        writes = [Frame(b"".join(frame.data for frame in writes))]
    return Plan(writes, ending)


def _cut(answer: Answer, faults: dict[str, str], fault_frame: bytes) -> tuple[list[Frame], Ending]:
    """What of the answer is sent at all, and how the connection goes on."""
    before, rest = answer.frames[: answer.mid], answer.frames[answer.mid :]
    if "cut_mid_frame" in faults:
        broken = rest[0].data if rest else b"data: {"
        return [*before, Frame(broken[: max(1, len(broken) // 2)])], "fin"
    if "cut_close_delimited" in faults:
        return before, "fin"
    if "hang_mid" in faults:
        return before, "hang"
    if "rst_mid" in faults:
        return before, "rst"
    if faults.keys() & {"garbage", "not_a_chunk", "error_mid", "error_event"}:
        return [*before, Frame(fault_frame)], "keep"
    return answer.frames, "hang" if "hang_end" in faults else "keep"


def _reshape(frames: list[Frame], faults: dict[str, str], *, sse: bool) -> list[Frame]:
    """Line ends, comments, byte order mark, batches and re-chunking of the body."""
    if "comments" in faults:
        comment = Frame(COMMENT if sse else b"\n")
        frames = [piece for frame in frames for piece in (comment, frame)]
    if "crlf" in faults or "cr" in faults:
        end = b"\r\n" if "crlf" in faults else b"\r"
        frames = [frame._replace(data=frame.data.replace(b"\n", end)) for frame in frames]
    if "bom" in faults and frames:
        frames = [frames[0]._replace(data=b"\xef\xbb\xbf" + frames[0].data), *frames[1:]]
    frames = _join_undelayed(frames)
    size = 1 if "slow_drip" in faults else int(faults.get("chunk_bytes") or 0)
    if not size:
        return frames
    if any(frame.delay_ms for frame in frames):
        return [piece for frame in frames for piece in _slices(frame, size)]
    return _slices(Frame(b"".join(frame.data for frame in frames)), size)


def _join_undelayed(frames: list[Frame]) -> list[Frame]:
    """In a paced answer, a frame without a delay shares the write of the one before it (a batch)."""
    if not any(frame.delay_ms for frame in frames):
        return frames
    out: list[Frame] = []
    for frame in frames:
        if out and not frame.delay_ms:
            out[-1] = out[-1]._replace(data=out[-1].data + frame.data)
        else:
            out.append(frame)
    return out


def _slices(frame: Frame, size: int) -> list[Frame]:
    data = frame.data
    pieces = [Frame(data[at : at + size]) for at in range(0, len(data), size)]
    return [pieces[0]._replace(delay_ms=frame.delay_ms), *pieces[1:]] if pieces else []


def _head(answer: Answer, faults: dict[str, str], length: int) -> tuple[bytes, Literal["chunked", "length", "close"]]:
    lines = [
        f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}",
        "Date: Thu, 01 Jan 2026 00:00:00 GMT",
        "Server: upstream",
        f"Content-Type: {answer.content_type}",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    if "retry_after" in faults:
        lines.append(f"Retry-After: {faults['retry_after'] or '1'}")
    if "gzip" in faults:
        lines.append("Content-Encoding: gzip")
    if "oversize_head" in faults:
        lines += [f"X-Padding-{at}: {'x' * 1000}" for at in range(200)]
    framing: Literal["chunked", "length", "close"] = "chunked"
    whole = answer.content_type.startswith("application/json") and "hang_end" not in faults
    if whole or faults.keys() & {"content_length", "content_length_short"}:
        framing = "length"
        lines.append(f"Content-Length: {length}")
    elif faults.keys() & {"close_delimited", "cut_close_delimited"}:
        framing = "close"
        lines.append("Connection: close")
    else:
        lines.append("Transfer-Encoding: chunked")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    if "early_hints" in faults:
        head = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" + head
    return head, framing
