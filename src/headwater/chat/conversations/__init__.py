"""Workspaces, threads and messages, kept in the database; every row has one tenant, and others cannot tell it is there.

Knows no streams, no models and no HTTP: an answer's stream is an id here.
"""

from .facade import Conversations
from .messages import Messages
from .threads import Threads
from .workspaces import Workspaces

__all__ = ["Conversations", "Messages", "Threads", "Workspaces"]
