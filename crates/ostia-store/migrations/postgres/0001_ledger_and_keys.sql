-- One row an inference or batch request that passed sign-in. Texts that are not known are empty, `upstream_status` 0 means
-- that no backend answered, `count` is above 1 for folded refusals only.
CREATE TABLE ledger (
    request_id        UUID        NOT NULL PRIMARY KEY,
    client_request_id TEXT        NOT NULL,
    started_at        TIMESTAMPTZ NOT NULL,
    finished_at       TIMESTAMPTZ NOT NULL,
    user_id           TEXT        NOT NULL,
    username          TEXT        NOT NULL,
    auth_service      TEXT        NOT NULL,
    idp               TEXT        NOT NULL,
    domain            TEXT        NOT NULL,
    group_id          TEXT        NOT NULL,
    key_id            TEXT        NOT NULL,
    project           TEXT        NOT NULL,
    cluster           TEXT        NOT NULL,
    framework         TEXT        NOT NULL,
    model             TEXT        NOT NULL,
    endpoint_slug     TEXT        NOT NULL,
    api               TEXT        NOT NULL,
    stream            BOOLEAN     NOT NULL,
    http_status       BIGINT      NOT NULL,
    outcome           TEXT        NOT NULL,
    phase             TEXT        NOT NULL,
    error_code        TEXT        NOT NULL,
    prompt_tokens     BIGINT      NOT NULL,
    completion_tokens BIGINT      NOT NULL,
    total_tokens      BIGINT      NOT NULL,
    cached_tokens     BIGINT      NOT NULL,
    reasoning_tokens  BIGINT      NOT NULL,
    usage_source      TEXT        NOT NULL,
    ttft_ms           BIGINT,
    duration_ms       BIGINT      NOT NULL,
    queue_ms          BIGINT      NOT NULL,
    request_bytes     BIGINT      NOT NULL,
    response_bytes    BIGINT      NOT NULL,
    upstream_status   BIGINT      NOT NULL,
    attempts          BIGINT      NOT NULL,
    origin_ip         TEXT        NOT NULL,
    class             TEXT        NOT NULL,
    location          TEXT        NOT NULL,
    served_model      TEXT        NOT NULL,
    count             BIGINT      NOT NULL
);

CREATE INDEX ledger_by_start ON ledger (started_at);

CREATE TABLE users (
    id        TEXT   NOT NULL PRIMARY KEY,
    username  TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    idp       TEXT   NOT NULL,
    last_seen BIGINT NOT NULL
);

-- Keys themselves are nowhere: `hash` is the SHA-256 of the whole key, `groups` a JSON list of strings. Times are Unix
-- microseconds.
CREATE TABLE api_keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    hash         BYTEA   NOT NULL UNIQUE,
    username     TEXT    NOT NULL,
    groups       TEXT    NOT NULL,
    label        TEXT    NOT NULL,
    project      TEXT    NOT NULL DEFAULT '',
    admin        BOOLEAN NOT NULL,
    created_at   BIGINT  NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);

-- What the database says of itself: the release that made the schema, the time zone of the roll-up.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

INSERT INTO meta (name, value) VALUES ('reports.timezone', 'UTC');

-- Sums of the ledger, kept in the transaction that inserts its rows. `period` is the number of an hour, a day or a month, as
-- the level says; what a level does not tell apart is empty (crates/ostia-store/src/levels.rs).
CREATE TABLE usage_sums (
    level             BIGINT NOT NULL,
    period            BIGINT NOT NULL,
    person            TEXT   NOT NULL,
    group_id          TEXT   NOT NULL,
    project           TEXT   NOT NULL,
    key_id            TEXT   NOT NULL,
    model             TEXT   NOT NULL,
    cluster           TEXT   NOT NULL,
    endpoint_slug     TEXT   NOT NULL,
    api               TEXT   NOT NULL,
    outcome           TEXT   NOT NULL,
    requests          BIGINT NOT NULL,
    ok                BIGINT NOT NULL,
    refused           BIGINT NOT NULL,
    failed            BIGINT NOT NULL,
    prompt_tokens     BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    total_tokens      BIGINT NOT NULL,
    PRIMARY KEY (level, period, person, group_id, project, key_id, model, cluster, endpoint_slug, api, outcome)
);
