-- Sums of the ledger, many in one value (crates/ostia-store/src/block), added in the transaction that inserts its rows. `period`
-- is the number of a day or a month, as the level says; blocks of a higher tier were made of several. They take the place of
-- `usage_sums`, which the release before this one still writes and reads, and which goes a release later.
CREATE TABLE usage_blocks (
    level  BIGINT NOT NULL,
    period BIGINT NOT NULL,
    tier   BIGINT NOT NULL,
    id     BIGINT NOT NULL,
    block  BYTEA  NOT NULL,
    PRIMARY KEY (level, period, tier, id)
);

-- Days whose blocks lack rows: reports read the ledger for them until they are made anew.
CREATE TABLE usage_stale (
    day BIGINT NOT NULL PRIMARY KEY
);

WITH RECURSIVE days (day) AS (
    SELECT min(period) FROM usage_sums WHERE level = 4
    UNION ALL
    SELECT (SELECT min(period) FROM usage_sums WHERE level = 4 AND period > day) FROM days WHERE day IS NOT NULL
)
INSERT INTO usage_stale (day) SELECT day FROM days WHERE day IS NOT NULL;

-- A replica of the release before this one wrote rows.
CREATE FUNCTION note_stale_day() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_stale (day) VALUES (NEW.period) ON CONFLICT (day) DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER usage_sums_written AFTER INSERT OR UPDATE ON usage_sums
    FOR EACH ROW WHEN (NEW.level = 4) EXECUTE FUNCTION note_stale_day();
