-- What `ostia maintenance set` says to users: of everything, a cluster, or a model (`scope` is `all`, `cluster:NAME` or
-- `model:NAME`). Times are Unix microseconds; NULL is from ever, or until it is cleared.
CREATE TABLE notices (
    scope     TEXT    NOT NULL PRIMARY KEY,
    text      TEXT    NOT NULL,
    begins_at INTEGER,
    ends_at   INTEGER
) STRICT, WITHOUT ROWID;
