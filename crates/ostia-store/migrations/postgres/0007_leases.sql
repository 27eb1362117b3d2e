-- Where the engines of endpoints without a URL are, for as long as their jobs say so. Times are Unix microseconds by this
-- database's clock; `addresses` are the IP addresses behind the URL, with commas between them.
CREATE TABLE leases (
    id            TEXT    NOT NULL PRIMARY KEY,
    slug          TEXT    NOT NULL,
    url           TEXT    NOT NULL,
    addresses     TEXT    NOT NULL,
    key_id        TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    sequence      BIGINT NOT NULL,
    ttl           BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    drains_at     BIGINT,
    starts_at     BIGINT,
    max_in_flight BIGINT NOT NULL,
    used_until    BIGINT NOT NULL
);

CREATE UNIQUE INDEX leases_by_url ON leases (slug, url);
