-- The values of accounts, and in the row with an empty name the start of the table's memory, whose
-- version is the id of the memory. What is in one table is emptied together.
CREATE TABLE throng_limits (
  account text PRIMARY KEY,
  version text NOT NULL,
  value bytea NOT NULL,
  kept timestamptz NOT NULL
) WITH (fillfactor = 50)
