-- Checksums (sums.py). NULL: the record was written by a release without them.
ALTER TABLE journal ADD COLUMN sum INTEGER;
ALTER TABLE archive ADD COLUMN sum INTEGER;
ALTER TABLE stream ADD COLUMN sum INTEGER;
ALTER TABLE stream ADD COLUMN end_sum INTEGER;
ALTER TABLE stream ADD COLUMN state_sum INTEGER;
