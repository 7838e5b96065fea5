"""The heart: streams as durable logs, their producers, their viewers. Knows nothing of HTTP, SQL or JSON formats."""

from .admission import Gate, Ticket
from .channel import Channel
from .fold import Fold, fold
from .hub import Accepted, Hub, NewStream
from .info import RecoveryReport, StreamInfo
from .lifecycle import Signal, Status
from .log import Append, Durability, Ended, Log, Query, Slice, StreamRecord
from .observer import Observer
from .ports import Control, Encoder, EncoderFactory, Producer, Settlement, Sink, StreamView, Watch, Writer
from .queueing import wait_for_slot
from .recovery import Recover
from .settings import StreamSettings
from .viewer import Viewer, farewell

__all__ = [
    "Accepted",
    "Append",
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
    "NewStream",
    "Observer",
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
    "Ticket",
    "Viewer",
    "Watch",
    "Writer",
    "farewell",
    "fold",
    "wait_for_slot",
]
