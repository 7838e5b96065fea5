"""Headwater as a library: durable, resumable streams inside your own ASGI application."""

from .embedded import Authenticate, Headwater
from .sources import Source

__all__ = ["Authenticate", "Headwater", "Source"]
