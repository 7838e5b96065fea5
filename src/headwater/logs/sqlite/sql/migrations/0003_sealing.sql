-- The keys (by id) that records of this file may be sealed with: what a start asks the key ring for.
CREATE TABLE sealing (key TEXT PRIMARY KEY) WITHOUT ROWID;
