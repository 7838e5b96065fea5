"""What the mock upstream and the swarm agree on: the plan in a prompt, and the token that proves its own passage.

A token is 24 bytes, `s000042t000001234567890 `: its number in the stream and the upstream's monotonic clock in
microseconds when it was sent. Both ends run on one machine, so the clock is the same. Tokens survive whatever a
server does with frames (another framing, several tokens merged into one), which makes the checks independent of it.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

MODEL = "bench"
FILLER = " of"
TOKEN = re.compile(rb"s(\d{6})t(\d{15}) ")
# A cursor or a token, whichever comes next: one scan a read checks both.
MARKS = re.compile(rb"id: (\d+)\.(\d+)\n|s(\d{6})t(\d{15}) ")

_FRAME = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1760000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'
)
_PLAN = re.compile(rb"bench:((?: [a-z_]+=[a-z0-9]+)+)")


def http_chunk(data: bytes) -> bytes:
    """One chunk of HTTP/1.1's chunked coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


ROLE_FRAME = _FRAME % (b'{"role":"assistant","content":""}', b"null")
TOKEN_FRAME = _FRAME % (b'{"content":"s000000t000000000000000 "}', b"null")
ROLE_CHUNK = http_chunk(ROLE_FRAME)
# Filled with (seq, microseconds): the width is fixed, so the chunk's length is known in advance.
TOKEN_CHUNK = http_chunk(TOKEN_FRAME).replace(b"s000000t000000000000000", b"s%06dt%015d")
FILLER_CHUNK = http_chunk(_FRAME % (b'{"content":"%s"}' % FILLER.encode(), b"null"))
_FINISH_CHUNK = http_chunk(_FRAME % (b"{}", b'"stop"'))
DONE_CHUNK = http_chunk(b"data: [DONE]\n\n")
LAST_CHUNK = b"0\r\n\r\n"


class Plan(NamedTuple):
    """How the upstream answers one request. `tokens=0`: until it is told to finish.

    `burst` tokens are written together every `interval_ms`, each after `filler` chunks of three plain characters;
    `hold=1` falls silent after the first `tokens`;
    `fault` (drop, repeat, swap, count, cut) is a short answer with that fault, to show that the checks see it.
    """

    tokens: int = 0
    interval_ms: int = 50
    burst: int = 1
    filler: int = 0
    hold: int = 0
    fault: str = ""

    def prompt(self) -> str:
        words = [f"{name}={value}" for name, value in self._asdict().items() if value != ""]
        return "bench: " + " ".join(words)


def parse_plan(body: bytes) -> Plan:
    """The plan in a request body, whatever a gateway did with the JSON around it."""
    found = _PLAN.search(body)
    fields = dict(word.split("=") for word in found.group(1).decode().split()) if found else {}
    numbers = {name: int(value) for name, value in fields.items() if name != "fault"}
    return Plan(**numbers, fault=fields.get("fault", ""))


def ending(tokens: int) -> bytes:
    """Finish chunk, usage that counts the tokens, `[DONE]` and the end of the body."""
    usage = {"prompt_tokens": 60, "completion_tokens": tokens, "total_tokens": 60 + tokens}
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": MODEL,
        "choices": [],
        "usage": usage,
    }
    frame = b"data: %s\n\n" % json.dumps(chunk, separators=(",", ":")).encode()
    return _FINISH_CHUNK + http_chunk(frame) + DONE_CHUNK + LAST_CHUNK


def chat_request(plan: Plan, *, port: int) -> bytes:
    """A whole HTTP request as a chat application sends it."""
    body = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant. Answer briefly, in plain language."},
            {"role": "user", "content": "Why does a river rise where it does?"},
            {"role": "assistant", "content": "Because groundwater reaches the surface there."},
            {"role": "user", "content": plan.prompt()},
        ],
        "temperature": 0.7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer bench\r\n"
        f"Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def events_request(stream: str, dialect: str, *, port: int) -> bytes:
    """A further viewer of a stream that exists."""
    return (
        f"GET /v1/streams/{stream}/events?dialect={dialect} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Authorization: Bearer bench\r\nAccept: text/event-stream\r\n\r\n"
    ).encode()
