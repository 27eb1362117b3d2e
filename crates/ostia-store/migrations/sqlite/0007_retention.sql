-- Names that are being replaced by pseudonyms; empty between the passes.
CREATE TABLE pseudonyms (
    name      TEXT    NOT NULL PRIMARY KEY,
    pseudonym TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- How many different users a month had, counted before their names go. `month` counts from the year 0.
CREATE TABLE usage_users (
    month INTEGER NOT NULL PRIMARY KEY,
    users INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
