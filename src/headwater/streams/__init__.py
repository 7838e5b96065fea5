"""The heart: streams as durable logs, their producers, their viewers. Knows nothing of HTTP, SQL or JSON formats."""

from .channel import Channel
from .fold import Fold, fold
from .hub import Accepted, Hub, NewStream
from .info import RecoveryReport, StreamInfo
from .lifecycle import Signal, Status
from .log import Append, Durability, Ended, Log, Query, Slice, StreamRecord
from .ports import Encoder, EncoderFactory, Producer, Sink, StreamView, Writer
from .recovery import Recover
from .settings import StreamSettings
from .viewer import Viewer

__all__ = [
    "Accepted",
    "Append",
    "Channel",
    "Durability",
    "Encoder",
    "EncoderFactory",
    "Ended",
    "Fold",
    "Hub",
    "Log",
    "NewStream",
    "Producer",
    "Query",
    "Recover",
    "RecoveryReport",
    "Signal",
    "Sink",
    "Slice",
    "Status",
    "StreamInfo",
    "StreamRecord",
    "StreamSettings",
    "StreamView",
    "Viewer",
    "Writer",
    "fold",
]
