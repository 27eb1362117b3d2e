-- What happened to keys, whoever did it, so that a gateway asks for what changed and not for all keys. The last ten thousand
-- are kept.
CREATE TABLE key_changes (
    change BIGINT NOT NULL PRIMARY KEY,
    key_id TEXT   NOT NULL,
    kind   TEXT   NOT NULL
);

INSERT INTO meta (name, value) VALUES ('key_changes', '0');

-- The counter's row is locked until the change is committed: whoever has read up to a number has seen all below it, which a
-- sequence would not promise.
CREATE FUNCTION note_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    next BIGINT;
BEGIN
    UPDATE meta SET value = value::bigint + 1 WHERE name = 'key_changes' RETURNING value::bigint INTO next;
    INSERT INTO key_changes (change, key_id, kind) VALUES (next, NEW.id, TG_ARGV[0]);
    DELETE FROM key_changes WHERE change <= next - 10000;
    PERFORM pg_notify('ostia', 'keys');
    RETURN NULL;
END
$$;

CREATE TRIGGER key_created AFTER INSERT ON api_keys
    FOR EACH ROW EXECUTE FUNCTION note_key_change('key_created');

CREATE TRIGGER key_revoked AFTER UPDATE OF revoked_at ON api_keys
    FOR EACH ROW WHEN (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at) EXECUTE FUNCTION note_key_change('key_revoked');

CREATE TRIGGER key_expiry_changed AFTER UPDATE OF expires_at ON api_keys
    FOR EACH ROW WHEN (NEW.expires_at IS DISTINCT FROM OLD.expires_at) EXECUTE FUNCTION note_key_change('key_expiry_changed');
