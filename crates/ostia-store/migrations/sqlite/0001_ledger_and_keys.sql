-- One row an inference or batch request that passed sign-in. Times are Unix microseconds, texts that are not known are
-- empty, `upstream_status` 0 means that no backend answered, `count` is above 1 for folded refusals only.
CREATE TABLE ledger (
    request_id        TEXT    NOT NULL PRIMARY KEY,
    client_request_id TEXT    NOT NULL,
    started_at        INTEGER NOT NULL,
    finished_at       INTEGER NOT NULL,
    user_id           TEXT    NOT NULL,
    username          TEXT    NOT NULL,
    auth_service      TEXT    NOT NULL,
    idp               TEXT    NOT NULL,
    domain            TEXT    NOT NULL,
    group_id          TEXT    NOT NULL,
    key_id            TEXT    NOT NULL,
    project           TEXT    NOT NULL,
    cluster           TEXT    NOT NULL,
    framework         TEXT    NOT NULL,
    model             TEXT    NOT NULL,
    endpoint_slug     TEXT    NOT NULL,
    api               TEXT    NOT NULL,
    stream            INTEGER NOT NULL,
    http_status       INTEGER NOT NULL,
    outcome           TEXT    NOT NULL,
    phase             TEXT    NOT NULL,
    error_code        TEXT    NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    total_tokens      INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    reasoning_tokens  INTEGER NOT NULL,
    usage_source      TEXT    NOT NULL,
    ttft_ms           INTEGER,
    duration_ms       INTEGER NOT NULL,
    queue_ms          INTEGER NOT NULL,
    request_bytes     INTEGER NOT NULL,
    response_bytes    INTEGER NOT NULL,
    upstream_status   INTEGER NOT NULL,
    attempts          INTEGER NOT NULL,
    origin_ip         TEXT    NOT NULL,
    count             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_by_start ON ledger (started_at);

CREATE TABLE users (
    id        TEXT    NOT NULL PRIMARY KEY,
    username  TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    idp       TEXT    NOT NULL,
    last_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sums of the ledger, kept in the transaction that inserts its rows. `day` counts from 1970-01-01 (UTC); `user` is the
-- username, or the user's id where there is no username.
CREATE TABLE usage_by_day (
    day               INTEGER NOT NULL,
    user              TEXT    NOT NULL,
    model             TEXT    NOT NULL,
    cluster           TEXT    NOT NULL,
    requests          INTEGER NOT NULL,
    ok                INTEGER NOT NULL,
    errors            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    total_tokens      INTEGER NOT NULL,
    PRIMARY KEY (day, user, model, cluster)
) STRICT, WITHOUT ROWID;

-- Keys themselves are nowhere: `hash` is the SHA-256 of the whole key, `groups` a JSON list of strings.
CREATE TABLE api_keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    hash         BLOB    NOT NULL UNIQUE,
    username     TEXT    NOT NULL,
    groups       TEXT    NOT NULL,
    label        TEXT    NOT NULL,
    admin        INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
