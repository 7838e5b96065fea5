"""The tables of the chat backend: one schema for SQLite and PostgreSQL, as SQLAlchemy Core metadata.

What it says, and what the migrations make, is compared by a test. Rules that hold for every table:

- `tenant` is whose row it is ("" in single-user mode). Every query filters by it; ids of others look unknown.
- `id` is a UUIDv7 as text and never reused. `number` counts 1, 2, 3 … per tenant and kind (see `counters`), for clients
  whose ids are numbers (references 000 and 003).
- Times are Unix milliseconds (`_ms`). JSON columns hold what their comment says. Deleting a row deletes what is in it.

Which columns may be sealed is in `sealing`.

The full-text index over passages is not here but in the migrations: it is what the two databases do differently.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

# Names that both databases and every later migration can rely on.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes an automatic key of INTEGER only.
_BigId = BigInteger().with_variant(Integer, "sqlite")
ID, TENANT, SLUG, NAME = String(36), String(200), String(128), String(500)
# Where it may be sealed, it is longer than what it says. SQLite has no lengths.
SEALED_NAME = String(500).with_variant(Text(), "postgresql")


def _key() -> Column[str]:
    return Column("id", ID, primary_key=True)


def _tenant() -> Column[str]:
    return Column("tenant", TENANT, nullable=False)


def _belongs_to(table: str, *, nullable: bool = False) -> Column[str]:
    name = f"{table.removesuffix('s')}_id"
    return Column(name, ID, ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=nullable, index=True)


def _time(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


counters = Table(
    "counters",
    metadata,
    Column("tenant", TENANT, primary_key=True),
    # workspaces, threads, messages, documents
    Column("kind", String(32), primary_key=True),
    # The last number given.
    Column("value", BigInteger, nullable=False),
)

workspaces = Table(
    "workspaces",
    metadata,
    _key(),
    _tenant(),
    Column("number", BigInteger, nullable=False),
    Column("slug", SLUG, nullable=False),
    Column("name", SEALED_NAME, nullable=False),
    # chat: general knowledge and documents. query: refuses where nothing was found.
    Column("mode", String(16), nullable=False, server_default="chat"),
    # "": the setting's.
    Column("system_prompt", Text, nullable=False, server_default=""),
    Column("model", NAME, nullable=False, server_default=""),
    Column("temperature", Float),
    # None: the setting's.
    Column("history_turns", Integer),
    Column("history_tokens", Integer),
    Column("passages", Integer),
    Column("min_score", Float),
    # What a query that found nothing is answered with; "": the setting's.
    Column("refusal", Text, nullable=False, server_default=""),
    # What a client keeps here: a JSON object.
    Column("metadata", JSON, nullable=False),
    _time("created_ms"),
    _time("updated_ms"),
    UniqueConstraint("tenant", "slug"),
    UniqueConstraint("tenant", "number"),
)

threads = Table(
    "threads",
    metadata,
    _key(),
    _tenant(),
    Column("number", BigInteger, nullable=False),
    _belongs_to("workspaces"),
    Column("slug", SLUG, nullable=False),
    Column("title", SEALED_NAME, nullable=False, server_default=""),
    # "" (none yet), user, model, words
    Column("title_source", String(16), nullable=False, server_default=""),
    # The message that the conversation goes on after; None: it has none yet.
    Column("leaf_id", ID),
    # "" for the workspace's.
    Column("model", NAME, nullable=False, server_default=""),
    Column("metadata", JSON, nullable=False),
    _time("created_ms"),
    _time("updated_ms"),
    UniqueConstraint("workspace_id", "slug"),
    UniqueConstraint("tenant", "number"),
    Index(None, "tenant", "updated_ms"),
)

messages = Table(
    "messages",
    metadata,
    _key(),
    _tenant(),
    Column("number", BigInteger, nullable=False),
    _belongs_to("threads"),
    # The message before it; siblings are branches. None: it begins the thread.
    Column("parent_id", ID, index=True),
    Column("role", String(16), nullable=False),
    # Text. Of an answer that is being made: "" until it ends (its stream has it).
    Column("content", Text, nullable=False, server_default=""),
    # OpenAI's content parts beside the text (images, files); a JSON list.
    Column("parts", JSON, nullable=False),
    Column("reasoning", Text, nullable=False, server_default=""),
    # streaming, done, cancelled, failed
    Column("status", String(16), nullable=False, server_default="done"),
    # The stream that makes or made this answer; "" where none did.
    Column("stream_id", ID, nullable=False, server_default="", index=True),
    Column("model", NAME, nullable=False, server_default=""),
    Column("provider", NAME, nullable=False, server_default=""),
    Column("finish_reason", String(32), nullable=False, server_default=""),
    # `events.Error` of a failed answer; `events.Usage`; a list of `events.Source`; the stream's metadata.
    Column("error", JSON),
    Column("usage", JSON),
    Column("sources", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    # False: a turn that later prompts leave out (a refused query).
    Column("included", Boolean, nullable=False, server_default=true()),
    # True: it may hold text of confidential documents, and goes to no external provider.
    Column("confidential", Boolean, nullable=False, server_default=false()),
    _time("created_ms"),
    _time("finished_ms", nullable=True),
    UniqueConstraint("tenant", "number"),
    Index(None, "thread_id", "created_ms"),
)

documents = Table(
    "documents",
    metadata,
    _key(),
    _tenant(),
    Column("number", BigInteger, nullable=False),
    _belongs_to("workspaces"),
    # Set: seen in this thread only.
    _belongs_to("threads", nullable=True),
    Column("name", SEALED_NAME, nullable=False),
    Column("media_type", String(200), nullable=False),
    # The version in force: 0 while the first one is being read.
    Column("version", Integer, nullable=False, server_default="0"),
    # processing, ready, failed (the newest version)
    Column("status", String(16), nullable=False, server_default="processing"),
    # upload, extraction, chunking, vectorization; "" when done
    Column("stage", String(16), nullable=False, server_default="upload"),
    Column("error", Text, nullable=False, server_default=""),
    # The stream that tells of the newest version's progress.
    Column("stream_id", ID, nullable=False, server_default="", index=True),
    # Always part of the prompt, as far as the budget goes.
    Column("pinned", Boolean, nullable=False, server_default=false()),
    # Goes to no external provider.
    Column("confidential", Boolean, nullable=False, server_default=false()),
    Column("metadata", JSON, nullable=False),
    _time("created_ms"),
    _time("updated_ms"),
    UniqueConstraint("tenant", "number"),
    Index(None, "tenant", "workspace_id", "thread_id"),
)

document_versions = Table(
    "document_versions",
    metadata,
    Column("document_id", ID, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    _tenant(),
    Column("sha256", String(64).with_variant(Text(), "postgresql"), nullable=False),
    Column("media_type", String(200), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    # The text that was extracted, which passages' offsets count in; "" before that.
    Column("text", Text, nullable=False, server_default=""),
    # 0 where the format has none.
    Column("pages", Integer, nullable=False, server_default="0"),
    Column("passages", Integer, nullable=False, server_default="0"),
    _time("created_ms"),
)

passages = Table(
    "passages",
    metadata,
    Column("id", _BigId, primary_key=True, autoincrement=True),
    _tenant(),
    _belongs_to("documents"),
    Column("workspace_id", ID, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    # 0, 1, 2 … in the document.
    Column("ordinal", Integer, nullable=False),
    Column("text", Text, nullable=False),
    # Of its first character, from 1; None where the format has no pages.
    Column("page", Integer),
    # The headings above it, joined by " > ".
    Column("section", Text, nullable=False, server_default=""),
    # Characters of the version's text: from, and to (exclusive).
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    UniqueConstraint("document_id", "version", "ordinal"),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("passage_id", _BigId, ForeignKey("passages.id", ondelete="CASCADE"), primary_key=True),
    # The embedding model: vectors of different models are never compared.
    Column("model", NAME, primary_key=True),
    # Little-endian float32, of length 1.
    Column("vector", LargeBinary, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    _key(),
    # Whose rows a caller with this key sees.
    _tenant(),
    Column("name", NAME, nullable=False),
    # What people tell keys apart by: the first characters of the key.
    Column("prefix", String(32), nullable=False),
    # SHA-256 of the key, hex. The key itself is shown once and kept nowhere.
    Column("digest", String(64), nullable=False, unique=True),
    # After a rotation the old key goes on for a while.
    Column("old_digest", String(64), index=True),
    _time("old_until_ms", nullable=True),
    Column("scopes", JSON, nullable=False),
    Column("organization", NAME, nullable=False, server_default=""),
    Column("project", NAME, nullable=False, server_default=""),
    Column("user", NAME, nullable=False, server_default=""),
    # None: no bound.
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("budget_tokens", BigInteger),
    Column("budget_cost", Float),
    # day, month, total
    Column("budget_period", String(8), nullable=False, server_default="month"),
    _time("created_ms"),
    _time("expires_ms", nullable=True),
    _time("revoked_ms", nullable=True),
    _time("last_used_ms", nullable=True),
)

# One row a stream that was paid for, so that none counts twice.
usage_entries = Table(
    "usage_entries",
    metadata,
    Column("stream_id", ID, primary_key=True),
    # key:<id> or user:<tenant>
    Column("meter", String(240), primary_key=True),
    Column("tokens", BigInteger, nullable=False),
    Column("cost", Float, nullable=False),
    _time("at_ms"),
    Index(None, "meter", "at_ms"),
)

# Which streams a GET that starts one has started: `epoch` makes the cursors of each its own.
started = Table(
    "started",
    metadata,
    Column("tenant", TENANT, primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("stream_id", ID, nullable=False),
    _time("at_ms"),
    Index(None, "at_ms"),
)

# The keys (by id) that rows may be sealed with: what a start asks the key ring for. See `sealing`.
sealing = Table("sealing", metadata, Column("key", String(16), primary_key=True))
