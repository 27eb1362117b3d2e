-- What the database says of itself: the release that made the schema, the time zone of the roll-up.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES ('reports.timezone', 'UTC');

-- Sums of the ledger, kept in the transaction that inserts its rows. `period` is the number of an hour, a day or a month, as
-- the level says; what a level does not tell apart is empty (crates/ostia-store/src/levels.rs).
CREATE TABLE usage_sums (
    level             INTEGER NOT NULL,
    period            INTEGER NOT NULL,
    person            TEXT    NOT NULL,
    group_id          TEXT    NOT NULL,
    project           TEXT    NOT NULL,
    key_id            TEXT    NOT NULL,
    model             TEXT    NOT NULL,
    cluster           TEXT    NOT NULL,
    endpoint_slug     TEXT    NOT NULL,
    api               TEXT    NOT NULL,
    outcome           TEXT    NOT NULL,
    requests          INTEGER NOT NULL,
    ok                INTEGER NOT NULL,
    refused           INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    total_tokens      INTEGER NOT NULL,
    PRIMARY KEY (level, period, person, group_id, project, key_id, model, cluster, endpoint_slug, api, outcome)
) STRICT, WITHOUT ROWID;

-- `total` never fails, whatever a backend claimed to have counted.
CREATE TEMPORARY VIEW counted AS SELECT
    started_at / 3600000000 AS hour, started_at / 86400000000 AS day,
    iif(username = '', user_id, username) AS person, group_id, project, key_id, model, cluster, endpoint_slug, api, outcome,
    count AS requests, iif(outcome = 'ok', count, 0) AS ok, iif(outcome = 'rejected', count, 0) AS refused,
    iif(outcome IN ('ok', 'client_closed', 'rejected'), 0, count) AS failed,
    prompt_tokens, completion_tokens, total_tokens
FROM ledger;

INSERT INTO usage_sums SELECT 1, hour, '', '', '', '', model, cluster, endpoint_slug, api, outcome,
    CAST(min(total(requests), 9223372036854774784) AS INTEGER),
    CAST(min(total(ok), 9223372036854774784) AS INTEGER),
    CAST(min(total(refused), 9223372036854774784) AS INTEGER),
    CAST(min(total(failed), 9223372036854774784) AS INTEGER),
    CAST(min(total(prompt_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(completion_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(total_tokens), 9223372036854774784) AS INTEGER)
FROM counted GROUP BY hour, model, cluster, endpoint_slug, api, outcome;

INSERT INTO usage_sums SELECT 4, day, person, group_id, project, key_id, model, cluster, endpoint_slug, api, outcome,
    CAST(min(total(requests), 9223372036854774784) AS INTEGER),
    CAST(min(total(ok), 9223372036854774784) AS INTEGER),
    CAST(min(total(refused), 9223372036854774784) AS INTEGER),
    CAST(min(total(failed), 9223372036854774784) AS INTEGER),
    CAST(min(total(prompt_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(completion_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(total_tokens), 9223372036854774784) AS INTEGER)
FROM counted GROUP BY day, person, group_id, project, key_id, model, cluster, endpoint_slug, api, outcome;

INSERT INTO usage_sums SELECT 2, period, '', '', '', '', model, cluster, endpoint_slug, api, outcome,
    CAST(min(total(requests), 9223372036854774784) AS INTEGER),
    CAST(min(total(ok), 9223372036854774784) AS INTEGER),
    CAST(min(total(refused), 9223372036854774784) AS INTEGER),
    CAST(min(total(failed), 9223372036854774784) AS INTEGER),
    CAST(min(total(prompt_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(completion_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(total_tokens), 9223372036854774784) AS INTEGER)
FROM usage_sums WHERE level = 4 GROUP BY period, model, cluster, endpoint_slug, api, outcome;

INSERT INTO usage_sums SELECT 3, period, person, group_id, project, key_id, '', '', '', '', '',
    CAST(min(total(requests), 9223372036854774784) AS INTEGER),
    CAST(min(total(ok), 9223372036854774784) AS INTEGER),
    CAST(min(total(refused), 9223372036854774784) AS INTEGER),
    CAST(min(total(failed), 9223372036854774784) AS INTEGER),
    CAST(min(total(prompt_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(completion_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(total_tokens), 9223372036854774784) AS INTEGER)
FROM usage_sums WHERE level = 4 GROUP BY period, person, group_id, project, key_id;

INSERT INTO usage_sums SELECT 5, CAST(strftime('%Y', period * 86400, 'unixepoch') AS INTEGER) * 12 + CAST(strftime('%m', period * 86400, 'unixepoch') AS INTEGER) - 1, person, group_id, project, key_id, '', '', '', '', '',
    CAST(min(total(requests), 9223372036854774784) AS INTEGER),
    CAST(min(total(ok), 9223372036854774784) AS INTEGER),
    CAST(min(total(refused), 9223372036854774784) AS INTEGER),
    CAST(min(total(failed), 9223372036854774784) AS INTEGER),
    CAST(min(total(prompt_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(completion_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(total_tokens), 9223372036854774784) AS INTEGER)
FROM usage_sums WHERE level = 3 GROUP BY CAST(strftime('%Y', period * 86400, 'unixepoch') AS INTEGER) * 12 + CAST(strftime('%m', period * 86400, 'unixepoch') AS INTEGER) - 1, person, group_id, project, key_id;

INSERT INTO usage_sums SELECT 6, CAST(strftime('%Y', period * 86400, 'unixepoch') AS INTEGER) * 12 + CAST(strftime('%m', period * 86400, 'unixepoch') AS INTEGER) - 1, person, group_id, project, key_id, model, cluster, endpoint_slug, api, outcome,
    CAST(min(total(requests), 9223372036854774784) AS INTEGER),
    CAST(min(total(ok), 9223372036854774784) AS INTEGER),
    CAST(min(total(refused), 9223372036854774784) AS INTEGER),
    CAST(min(total(failed), 9223372036854774784) AS INTEGER),
    CAST(min(total(prompt_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(completion_tokens), 9223372036854774784) AS INTEGER),
    CAST(min(total(total_tokens), 9223372036854774784) AS INTEGER)
FROM usage_sums WHERE level = 4 GROUP BY CAST(strftime('%Y', period * 86400, 'unixepoch') AS INTEGER) * 12 + CAST(strftime('%m', period * 86400, 'unixepoch') AS INTEGER) - 1, person, group_id, project, key_id, model, cluster, endpoint_slug, api, outcome;

DROP VIEW counted;
DROP TABLE usage_by_day;
