"""Checksums of rows, in SQLite."""

from __future__ import annotations

from alembic import op

from headwater.store.sums import TABLE, Summed, statements

revision = "0002"
down_revision = "0001"

# As they are at this revision. Whoever adds a column drops the table's three triggers, and makes them anew with it.
SUMMED = (
    Summed("counters", ["tenant", "kind"], ["value"]),
    Summed(
        "workspaces",
        ["id"],
        [
            "tenant", "number", "slug", "name", "mode", "system_prompt", "model", "temperature", "history_turns",
            "history_tokens", "passages", "min_score", "refusal", "metadata", "created_ms", "updated_ms",
        ],
        frozenset({"temperature", "min_score"}),
    ),
    Summed(
        "threads",
        ["id"],
        [
            "tenant", "number", "workspace_id", "slug", "title", "title_source", "leaf_id", "model", "metadata",
            "created_ms", "updated_ms",
        ],
    ),
    Summed(
        "messages",
        ["id"],
        [
            "tenant", "number", "thread_id", "parent_id", "role", "content", "parts", "reasoning", "status",
            "stream_id", "model", "provider", "finish_reason", "error", "usage", "sources", "metadata", "included",
            "confidential", "created_ms", "finished_ms",
        ],
    ),
    Summed(
        "documents",
        ["id"],
        [
            "tenant", "number", "workspace_id", "thread_id", "name", "media_type", "version", "status", "stage",
            "error", "stream_id", "pinned", "confidential", "metadata", "created_ms", "updated_ms",
        ],
    ),
    Summed(
        "document_versions",
        ["document_id", "version"],
        ["tenant", "sha256", "media_type", "bytes", "content", "text", "pages", "passages", "created_ms"],
    ),
    Summed(
        "passages",
        ["id"],
        [
            "tenant", "document_id", "workspace_id", "version", "ordinal", "text", "page", "section", "start", "end",
        ],
    ),
    Summed("embeddings", ["passage_id", "model"], ["vector"]),
    Summed(
        "api_keys",
        ["id"],
        [
            "tenant", "name", "prefix", "digest", "old_digest", "old_until_ms", "scopes", "organization", "project",
            "user", "requests_per_minute", "tokens_per_minute", "budget_tokens", "budget_cost", "budget_period",
            "created_ms", "expires_ms", "revoked_ms", "last_used_ms",
        ],
        frozenset({"budget_cost"}),
    ),
    Summed("usage_entries", ["stream_id", "meter"], ["tokens", "cost", "at_ms"], frozenset({"cost"})),
    Summed("started", ["tenant", "digest", "epoch"], ["stream_id", "at_ms"]),
)  # fmt: skip


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute(TABLE)
    for summed in SUMMED:
        for statement in statements(summed):
            op.execute(statement)
