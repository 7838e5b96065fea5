"""The schema's history. A migration that was released is never changed; the next one is added behind it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import Connection

from ...errors import ConfigError

HEAD = "0003"


def upgrade(connection: Connection) -> None:
    """Bring the database behind `connection` to `HEAD`, inside its transaction. Raises `ConfigError`."""
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(_configuration(connection), "head")
    except CommandError as exc:
        raise ConfigError(f"the chat backend's database was made by a newer release: {exc}") from exc


def _configuration(connection: Connection):  # type: ignore[no-untyped-def]
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
