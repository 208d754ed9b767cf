-- What a server says of itself as JSON, in microseconds since 1970: the part of other statements
-- that is named `facts`. `server` names the copy of the data: another cluster, one that was a replica
-- (its timeline), and a table that was made anew have other names.
facts AS (
  SELECT
    CASE WHEN pg_is_in_recovery() THEN '' ELSE concat_ws('-',
      (SELECT system_identifier FROM pg_control_system()),
      left(pg_walfile_name(pg_current_wal_lsn()), 8),
      'throng_limits'::regclass::oid)
    END AS server,
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS started,
    current_setting('fsync') = 'on' AS keeps,
    (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now
)
