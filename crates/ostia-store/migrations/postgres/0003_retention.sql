-- Names that are being replaced by pseudonyms; empty between the passes.
CREATE TABLE pseudonyms (
    name      TEXT   NOT NULL PRIMARY KEY,
    pseudonym TEXT   NOT NULL
);

-- How many different users a month had, counted before their names go. `month` counts from the year 0.
CREATE TABLE usage_users (
    month BIGINT NOT NULL PRIMARY KEY,
    users BIGINT NOT NULL
);
