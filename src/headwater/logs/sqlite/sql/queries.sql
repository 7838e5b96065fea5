-- Named blocks: a line `-- name --`, then one statement. {…} is filled in by the code that uses the block, only ever
-- with placeholders and fixed clauses. Queries that return many values return them aggregated, in one row: every row
-- that is stepped to gives the GIL away and has to win it back from a busy event loop.

-- add_streams --
INSERT INTO stream (num, id, created_ms, model, provider, dialect, owner, linger_s, idempotency_key, fingerprint, boot,
                    epoch, bytes, request, sum, state_sum)
VALUES {rows}
ON CONFLICT DO NOTHING

-- known_nums --
SELECT num FROM stream WHERE num IN (SELECT value FROM json_each(?))

-- next_seq --
SELECT next_seq FROM stream WHERE id = ?

-- add_rows --
INSERT INTO journal (id, stream, first_seq, count, data, sum) VALUES {rows}

-- end_streams --
UPDATE stream
SET next_seq = ending.column2, bytes = ending.column3, finished_ms = ending.column4, ended = ending.column5,
    end_sum = ending.column6, state_sum = ending.column7
FROM (VALUES {rows}) AS ending
WHERE stream.num = ending.column1

-- advance_epoch --
UPDATE stream SET epoch = epoch + 1, boot = coalesce(nullif(?, ''), boot), state_sum = ? WHERE num = ?

-- stream_position --
SELECT num, epoch, first_seq, archived_seq, folded, bytes, next_seq, finished_ms IS NOT NULL, sum, state_sum
FROM stream
WHERE id = ?

-- trimmed_archive_bytes --
SELECT coalesce(sum(length(data)), 0) FROM archive WHERE stream = ? AND first_seq + count <= ?

-- row_bytes --
SELECT coalesce(sum(length(data)), 0) FROM journal WHERE id IN (SELECT value FROM json_each(?))

-- trim_archive --
DELETE FROM archive WHERE stream = ? AND first_seq + count <= ?

-- trim_stream --
UPDATE stream SET first_seq = ?, bytes = ?, state_sum = ? WHERE num = ?

-- nums_of --
SELECT id, num FROM stream WHERE id IN (SELECT value FROM json_each(?))

-- delete_archive --
DELETE FROM archive WHERE stream IN (SELECT value FROM json_each(?))

-- delete_streams --
DELETE FROM stream WHERE num IN (SELECT value FROM json_each(?))

-- add_chunks --
INSERT INTO archive (stream, first_seq, count, data, sum) VALUES {rows}

-- fold_streams --
UPDATE stream
SET archived_seq = fold.column2, folded = fold.column3, bytes = fold.column4, state_sum = fold.column5
FROM (VALUES {rows}) AS fold
WHERE stream.num = fold.column1

-- reclaim_rows --
DELETE FROM journal WHERE id >= ? AND id < ?

-- hot_streams --
SELECT num, id, epoch, first_seq, next_seq, archived_seq, bytes, finished_ms IS NOT NULL, sum, state_sum
FROM stream INDEXED BY stream_unfolded
WHERE folded = 0

-- last_num --
SELECT coalesce(max(num), 0) FROM stream

-- journal_rows --
SELECT id, stream, first_seq, count, length(data), sum FROM journal ORDER BY id

-- journal_rows_from_the_end --
SELECT id, stream, first_seq, count, length(data), sum FROM journal ORDER BY id DESC

-- record --
SELECT id, created_ms, model, provider, dialect, owner, linger_s, request, idempotency_key, fingerprint, boot, epoch,
       first_seq, next_seq, ended, num, archived_seq, folded, bytes, finished_ms, sum, end_sum, state_sum
FROM stream
WHERE id = ?

-- all_records --
SELECT id, created_ms, model, provider, dialect, owner, linger_s, request, idempotency_key, fingerprint, boot, epoch,
       first_seq, next_seq, ended, num, archived_seq, folded, bytes, finished_ms, sum, end_sum, state_sum
FROM stream
ORDER BY num

-- find --
SELECT id, created_ms, model, provider, dialect, owner, linger_s, request, idempotency_key, fingerprint, boot, epoch,
       first_seq, next_seq, ended, num, archived_seq, folded, bytes, finished_ms, sum, end_sum, state_sum
FROM stream
WHERE {conditions}
ORDER BY id DESC
LIMIT ?

-- chunks --
SELECT first_seq, count, data, sum
FROM archive
WHERE stream = ? AND first_seq >= (SELECT max(first_seq) FROM archive WHERE stream = ? AND first_seq <= ?)
ORDER BY first_seq

-- row_lengths --
SELECT group_concat(length(journal.data))
FROM json_each(?) AS wanted CROSS JOIN journal ON journal.id = wanted.value

-- rows --
SELECT group_concat(journal.stream), group_concat(journal.first_seq), group_concat(journal.count),
       group_concat(coalesce(journal.sum, '')), group_concat(length(journal.data)),
       CAST(group_concat(CAST(journal.data AS TEXT), '') AS BLOB)
FROM json_each(?) AS wanted CROSS JOIN journal ON journal.id = wanted.value

-- finished_bytes --
SELECT coalesce(sum(bytes), 0) FROM stream WHERE finished_ms IS NOT NULL

-- oldest_finished --
SELECT id, finished_ms, bytes FROM stream WHERE finished_ms IS NOT NULL ORDER BY finished_ms, bytes, num LIMIT ?
