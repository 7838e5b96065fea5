-- One row a stream. For an unfinished stream next_seq is not kept up to date here: the journal tells it.
-- bytes: request and archive, and once the stream has ended also what the journal holds of it.
-- folded: the stream has ended and the journal holds nothing of it any more.
-- request is last, because what stands behind a large column costs a walk over its overflow pages.
CREATE TABLE stream (
    num             INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL UNIQUE,
    created_ms      INTEGER NOT NULL,
    model           TEXT    NOT NULL,
    provider        TEXT    NOT NULL,
    dialect         TEXT    NOT NULL,
    owner           TEXT    NOT NULL,
    linger_s        REAL    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    fingerprint     TEXT    NOT NULL,
    boot            TEXT    NOT NULL,
    epoch           INTEGER NOT NULL,
    first_seq       INTEGER NOT NULL DEFAULT 0,
    next_seq        INTEGER NOT NULL DEFAULT 0,
    archived_seq    INTEGER NOT NULL DEFAULT 0,
    folded          INTEGER NOT NULL DEFAULT 0,
    bytes           INTEGER NOT NULL,
    finished_ms     INTEGER,
    ended           BLOB,
    request         BLOB    NOT NULL
);

CREATE UNIQUE INDEX stream_key ON stream (idempotency_key, owner) WHERE idempotency_key <> '';
CREATE INDEX stream_owner ON stream (owner, id);
CREATE INDEX stream_unfolded ON stream (id) WHERE folded = 0;
CREATE INDEX stream_finished ON stream (finished_ms, bytes) WHERE finished_ms IS NOT NULL;

-- Append-only, and without a secondary index on purpose: one that is keyed by stream dirties a page for each live
-- stream in every commit.
CREATE TABLE journal (
    id        INTEGER PRIMARY KEY,
    stream    INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    data      BLOB    NOT NULL
);

CREATE TABLE archive (
    id        INTEGER PRIMARY KEY,
    stream    INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    data      BLOB    NOT NULL
);

CREATE UNIQUE INDEX archive_position ON archive (stream, first_seq);
