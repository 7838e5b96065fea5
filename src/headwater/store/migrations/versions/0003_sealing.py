"""Room for sealed values, the keys in use, and an index over passages that takes no notice of what is sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headwater.store.sums import Summed, statements

revision = "0003"
down_revision = "0002"

SUMMED = Summed("sealing", ["key"], [])
# What a sealed text begins with (`store.sealing`).
_IS_PLAIN = "substr({text}, 1, 5) <> char(1) || 'hw1:'"
_INDEX = """
    INSERT INTO passages_fts(rowid, scope, text, section)
    SELECT new.id, replace(new.workspace_id, '-', ''), new.text, new.section WHERE {is_plain}
"""
SQLITE = (
    "DROP TRIGGER passages_fts_insert",
    f"CREATE TRIGGER passages_fts_insert AFTER INSERT ON passages BEGIN {_INDEX}; END",
    # Where all is encrypted, or nothing any more.
    f"""
    CREATE TRIGGER passages_fts_update AFTER UPDATE OF text, section ON passages BEGIN
        DELETE FROM passages_fts WHERE rowid = old.id;
        {_INDEX};
    END
    """,  # noqa: S608
)
POSTGRESQL = (
    "ALTER TABLE workspaces ALTER COLUMN name TYPE text",
    "ALTER TABLE threads ALTER COLUMN title TYPE text",
    "ALTER TABLE documents ALTER COLUMN name TYPE text",
    "ALTER TABLE document_versions ALTER COLUMN sha256 TYPE text",
    "ALTER TABLE passages DROP COLUMN words",
    """
    ALTER TABLE passages ADD COLUMN words tsvector GENERATED ALWAYS AS (
        CASE WHEN substr(text, 1, 5) = chr(1) || 'hw1:' THEN CAST('' AS tsvector)
        ELSE setweight(to_tsvector('english', section), 'B') || setweight(to_tsvector('english', text), 'A') END
    ) STORED
    """,
    "CREATE INDEX ix_passages_words ON passages USING gin (words)",
)


def upgrade() -> None:
    op.create_table(
        "sealing",
        sa.Column("key", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_sealing"),
    )
    if op.get_bind().dialect.name != "sqlite":
        for statement in POSTGRESQL:
            op.execute(statement)
        return
    for statement in SQLITE:
        op.execute(statement.format(is_plain=_IS_PLAIN.format(text="new.text")))
    for statement in statements(SUMMED):
        op.execute(statement)
