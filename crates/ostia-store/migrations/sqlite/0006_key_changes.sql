-- What happened to keys, whoever did it, so that a gateway asks for what changed and not for all keys. The last ten thousand
-- are kept.
CREATE TABLE key_changes (
    change INTEGER NOT NULL PRIMARY KEY,
    key_id TEXT    NOT NULL,
    kind   TEXT    NOT NULL
) STRICT;

CREATE TRIGGER key_created AFTER INSERT ON api_keys BEGIN
    INSERT INTO key_changes (key_id, kind) VALUES (new.id, 'key_created');
    DELETE FROM key_changes WHERE change <= (SELECT max(change) FROM key_changes) - 10000;
END;

CREATE TRIGGER key_revoked AFTER UPDATE OF revoked_at ON api_keys WHEN new.revoked_at IS NOT old.revoked_at BEGIN
    INSERT INTO key_changes (key_id, kind) VALUES (new.id, 'key_revoked');
    DELETE FROM key_changes WHERE change <= (SELECT max(change) FROM key_changes) - 10000;
END;

CREATE TRIGGER key_expiry_changed AFTER UPDATE OF expires_at ON api_keys WHEN new.expires_at IS NOT old.expires_at BEGIN
    INSERT INTO key_changes (key_id, kind) VALUES (new.id, 'key_expiry_changed');
    DELETE FROM key_changes WHERE change <= (SELECT max(change) FROM key_changes) - 10000;
END;
