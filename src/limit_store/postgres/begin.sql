-- Begins another memory in the place of the one that was read. No other
-- statement changes a value meanwhile: the lock is held until the end of the transaction.
WITH {facts}
INSERT INTO throng_limits (account, version, value, kept)
SELECT '', '{id}', convert_to(json_build_object(
  'server', server, 'started', started, 'since', {since}, 'seen', now)::text, 'UTF8'), 'infinity'
FROM facts
ON CONFLICT (account) DO UPDATE SET version = EXCLUDED.version, value = EXCLUDED.value
WHERE throng_limits.version = '{before}'
