"""The life of a stream: one transition table, from which runtime, tests and the diagram in the docs come."""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

Status: TypeAlias = Literal[
    "queued", "preparing", "connecting", "streaming", "recovering", "done", "failed", "cancelled"
]


class Signal(enum.Enum):
    """What can happen to a stream."""

    ADMIT = "a generation slot is free"
    CONNECT = "the producer was started, or tries its upstream again"
    CONNECTED = "the upstream accepted, or content came"
    FINISH = "the answer is whole"
    FAIL = "a typed error ended it"
    CANCEL = "somebody asked to stop, or nobody watched for linger_s"
    CRASH = "a process died or let go of the stream"


INITIAL: Status = "queued"

TRANSITIONS: dict[tuple[Status, Signal], Status] = {
    ("queued", Signal.ADMIT): "preparing",
    ("queued", Signal.FAIL): "failed",
    ("queued", Signal.CANCEL): "cancelled",
    ("queued", Signal.CRASH): "recovering",
    ("preparing", Signal.CONNECT): "connecting",
    ("preparing", Signal.FAIL): "failed",
    ("preparing", Signal.CANCEL): "cancelled",
    ("preparing", Signal.CRASH): "recovering",
    ("connecting", Signal.CONNECT): "connecting",
    ("connecting", Signal.CONNECTED): "streaming",
    ("connecting", Signal.FINISH): "done",
    ("connecting", Signal.FAIL): "failed",
    ("connecting", Signal.CANCEL): "cancelled",
    ("connecting", Signal.CRASH): "recovering",
    ("streaming", Signal.CONNECT): "connecting",
    ("streaming", Signal.CONNECTED): "streaming",
    ("streaming", Signal.FINISH): "done",
    ("streaming", Signal.FAIL): "failed",
    ("streaming", Signal.CANCEL): "cancelled",
    ("streaming", Signal.CRASH): "recovering",
    ("recovering", Signal.ADMIT): "preparing",
    ("recovering", Signal.FAIL): "failed",
    ("recovering", Signal.CANCEL): "cancelled",
    ("recovering", Signal.CRASH): "recovering",
}

ENDED: frozenset[Status] = frozenset({"done", "failed", "cancelled"})


class InvalidTransition(RuntimeError):
    """A bug of ours: the table has no such arrow."""


def step(status: Status, signal: Signal) -> Status:
    """The state after `signal`. Raises `InvalidTransition` where the table has no arrow."""
    try:
        return TRANSITIONS[status, signal]
    except KeyError:
        raise InvalidTransition(f"{signal.name} in {status}") from None
