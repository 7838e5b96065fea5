"""The Python client: streams as plain `async for` loops that survive cut connections and restarted servers."""

from .api import HeadwaterClient
from .reconnect import OnReconnect, Reconnect
from .stream import EventStream

__all__ = ["EventStream", "HeadwaterClient", "OnReconnect", "Reconnect"]
