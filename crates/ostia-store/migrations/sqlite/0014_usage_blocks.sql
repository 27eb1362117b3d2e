-- Sums of the ledger, many in one value (crates/ostia-store/src/block), added in the transaction that inserts its rows. `period`
-- is the number of a day or a month, as the level says; blocks of a higher tier were made of several. They take the place of
-- `usage_sums`, which the release before this one still writes and reads, and which goes a release later.
CREATE TABLE usage_blocks (
    level  INTEGER NOT NULL,
    period INTEGER NOT NULL,
    tier   INTEGER NOT NULL,
    id     INTEGER NOT NULL,
    block  BLOB    NOT NULL,
    PRIMARY KEY (level, period, tier, id)
) STRICT;

-- Days whose blocks lack rows: reports read the ledger for them until they are made anew.
CREATE TABLE usage_stale (
    day INTEGER NOT NULL PRIMARY KEY
) STRICT;

WITH RECURSIVE days (day) AS (
    SELECT min(period) FROM usage_sums WHERE level = 4
    UNION ALL
    SELECT (SELECT min(period) FROM usage_sums WHERE level = 4 AND period > day) FROM days WHERE day IS NOT NULL
)
INSERT INTO usage_stale (day) SELECT day FROM days WHERE day IS NOT NULL;

-- A replica of the release before this one wrote rows.
CREATE TRIGGER usage_sums_added AFTER INSERT ON usage_sums WHEN new.level = 4 BEGIN
    INSERT INTO usage_stale (day) SELECT new.period WHERE NOT EXISTS (SELECT 1 FROM usage_stale WHERE day = new.period);
END;

CREATE TRIGGER usage_sums_changed AFTER UPDATE ON usage_sums WHEN new.level = 4 BEGIN
    INSERT INTO usage_stale (day) SELECT new.period WHERE NOT EXISTS (SELECT 1 FROM usage_stale WHERE day = new.period);
END;
