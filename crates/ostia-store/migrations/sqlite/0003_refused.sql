-- How many of a day's errors the gateway refused itself. Days whose ledger rows are gone keep 0.
ALTER TABLE usage_by_day ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;

UPDATE usage_by_day SET refused = min(found.refused, errors)
FROM (
    SELECT started_at / 86400000000 AS day, iif(username = '', user_id, username) AS user, model, cluster,
        sum(count) AS refused
    FROM ledger WHERE outcome = 'rejected' GROUP BY 1, 2, 3, 4
) AS found
WHERE usage_by_day.day = found.day AND usage_by_day.user = found.user AND usage_by_day.model = found.model
    AND usage_by_day.cluster = found.cluster;
