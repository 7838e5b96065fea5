"""The heart: streams as durable logs, their producers, their viewers. Knows nothing of HTTP, SQL or JSON formats."""

from .admission import Gate, Ticket
from .channel import Channel
from .fold import Fold, fold
from .hub import Accepted, Hub, NewStream
from .info import RecoveryReport, StreamInfo
from .lifecycle import Signal, Status
from .log import Append, Durability, Ended, Log, Query, Slice, StreamRecord
from .observer import Observer
from .pacing import Pace
from .ports import (
    Control,
    Encoder,
    EncoderFactory,
    Network,
    Producer,
    Settlement,
    Sink,
    StreamView,
    SupportsNetwork,
    Watch,
    Writer,
)
from .queueing import wait_for_slot
from .recovery import Recover
from .seats import NOBODY, Caller
from .settings import StreamSettings
from .viewer import Viewer, farewell

__all__ = [
    "NOBODY",
    "Accepted",
    "Append",
    "Caller",
    "Channel",
    "Control",
    "Durability",
    "Encoder",
    "EncoderFactory",
    "Ended",
    "Fold",
    "Gate",
    "Hub",
    "Log",
    "Network",
    "NewStream",
    "Observer",
    "Pace",
    "Producer",
    "Query",
    "Recover",
    "RecoveryReport",
    "Settlement",
    "Signal",
    "Sink",
    "Slice",
    "Status",
    "StreamInfo",
    "StreamRecord",
    "StreamSettings",
    "StreamView",
    "SupportsNetwork",
    "Ticket",
    "Viewer",
    "Watch",
    "Writer",
    "farewell",
    "fold",
    "wait_for_slot",
]
