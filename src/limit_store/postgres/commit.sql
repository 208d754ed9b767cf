-- Changes the values whose versions are still those that were read, in the memory with this id, and
-- gives the accounts. It is on the disk before it counts, whatever the usual setting is. Rows are
-- locked in the order of their names, so that no two of these wait for one another.
WITH durable AS (SELECT set_config('synchronous_commit', 'on', true)),
memory AS (SELECT FROM durable, throng_limits WHERE account = '' AND version = $1),
new AS (
  SELECT account, before, version, value, clock_timestamp() + kept * interval '1 ms' AS kept
  FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[], $6::int8[])
    AS new (account, before, version, value, kept)
),
held AS (
  SELECT account FROM throng_limits WHERE account = ANY ($2) ORDER BY account FOR UPDATE
),
changed AS (
  UPDATE throng_limits AS old
  SET version = new.version, value = new.value, kept = greatest(old.kept, new.kept)
  FROM new JOIN held USING (account)
  WHERE old.account = new.account AND old.version = new.before AND EXISTS (TABLE memory)
  RETURNING old.account
),
added AS (
  INSERT INTO throng_limits (account, version, value, kept)
  SELECT account, version, value, kept FROM new
  WHERE before = '' AND EXISTS (TABLE memory)
  ORDER BY account
  ON CONFLICT (account) DO NOTHING
  RETURNING account
)
SELECT account FROM changed UNION ALL SELECT account FROM added
