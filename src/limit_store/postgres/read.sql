-- What the server says of itself, and the rows of these accounts and of the start.
WITH {facts}
SELECT row_to_json(facts)::text, account, version, value
FROM facts LEFT JOIN throng_limits ON account = ANY ($1 || ''::text)
