"""The HTTP side: ASGI application, access, limits, the hand-off to the transport, and how it is served."""

from ..chat.ports import Resolved
from .app import create_app
from .ports import ModelCard, ModelDirectory
from .responses import EventStreamResponse
from .settings import ServerSettings

__all__ = ["EventStreamResponse", "ModelCard", "ModelDirectory", "Resolved", "ServerSettings", "create_app"]
