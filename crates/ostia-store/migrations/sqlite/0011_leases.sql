-- Where the engines of endpoints without a URL are, for as long as their jobs say so. Times are Unix microseconds by this
-- database's clock; `addresses` are the IP addresses behind the URL, with commas between them.
CREATE TABLE leases (
    id            TEXT    NOT NULL PRIMARY KEY,
    slug          TEXT    NOT NULL,
    url           TEXT    NOT NULL,
    addresses     TEXT    NOT NULL,
    key_id        TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,
    ttl           INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    drains_at     INTEGER,
    starts_at     INTEGER,
    max_in_flight INTEGER NOT NULL,
    used_until    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX leases_by_url ON leases (slug, url);
