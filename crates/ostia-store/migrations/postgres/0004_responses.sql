-- Who made which response, so that only they continue it, on any replica. `id` is a SHA-256 of the user and the response's id,
-- `until` in Unix microseconds.
CREATE TABLE responses (
    id       BYTEA  NOT NULL PRIMARY KEY,
    endpoint TEXT   NOT NULL,
    until    BIGINT NOT NULL
);

CREATE INDEX responses_by_end ON responses (until);
