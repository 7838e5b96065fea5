"""The database of the chat backend: tables, migrations, connections. Knows no HTTP, no streams and no providers."""

from .database import Store, open_store

__all__ = ["Store", "open_store"]
