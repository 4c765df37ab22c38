-- Version 2: the chain of a run's journal. "first_hash" is where it begins, "hash" a row's link in it; both are "" where
-- a version without a chain has written the row.
ALTER TABLE journal ADD COLUMN hash TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN first_hash TEXT NOT NULL DEFAULT '';
