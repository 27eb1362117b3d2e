-- Browsers that somebody signed in with. `id` is a SHA-256 of what the browser shows, `login` JSON, times are Unix microseconds.
CREATE TABLE sessions (
    id         BLOB    NOT NULL PRIMARY KEY,
    person     TEXT    NOT NULL,
    login      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_person ON sessions (person);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- The version of the site's terms that a person accepted last.
CREATE TABLE terms (
    person      TEXT    NOT NULL PRIMARY KEY,
    version     TEXT    NOT NULL,
    accepted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
