-- What a key was given beside its groups, as JSON; a key that may do more than inference says so here. `admin` is written on
-- for the release before this one.
ALTER TABLE api_keys ADD COLUMN rights TEXT NOT NULL DEFAULT '{}';
UPDATE api_keys SET rights = '{"role":"admin"}' WHERE admin;
-- When the owner was last vouched for. Keys that are there already begin now.
ALTER TABLE api_keys ADD COLUMN confirmed_at BIGINT  NOT NULL DEFAULT 0;
UPDATE api_keys SET confirmed_at = CAST(extract(epoch FROM now()) AS BIGINT) * 1000000;
-- The days before its end of which the owner was last told.
ALTER TABLE api_keys ADD COLUMN noted_days BIGINT;

ALTER TABLE users ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN state TEXT NOT NULL DEFAULT 'active';

-- The ways in which a person is known: an identity at a provider, or the name that keys are made for. `person` is the id of
-- a user; `groups` a JSON list, NULL where nobody said; `linked` 1 where an administrator said whose it is.
CREATE TABLE identities (
    id           TEXT    NOT NULL PRIMARY KEY,
    person       TEXT    NOT NULL,
    auth_service TEXT    NOT NULL,
    idp          TEXT    NOT NULL,
    username     TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    email        TEXT    NOT NULL,
    proven       BIGINT  NOT NULL,
    linked       BIGINT  NOT NULL,
    groups       TEXT,
    confirmed_at BIGINT  NOT NULL
);

CREATE INDEX identities_by_person ON identities (person);
CREATE INDEX identities_by_username ON identities (lower(username));

-- Projects that ended stay, so that neither id nor name is used again. Lists are JSON.
CREATE TABLE projects (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    title       TEXT    NOT NULL,
    field       TEXT    NOT NULL,
    institution TEXT    NOT NULL,
    cost_centre TEXT    NOT NULL,
    external_id TEXT    NOT NULL,
    managers    TEXT    NOT NULL,
    members     TEXT    NOT NULL,
    groups      TEXT    NOT NULL,
    models      TEXT    NOT NULL,
    fair_share  BIGINT,
    created_at  BIGINT  NOT NULL,
    ended_at    BIGINT
);

CREATE UNIQUE INDEX projects_by_external_id ON projects (external_id) WHERE external_id <> '';

-- Append-only: each row holds the hash of the one before. Only the oldest may go, when their time is over.
CREATE TABLE audit (
    number     BIGINT  NOT NULL PRIMARY KEY,
    at         BIGINT  NOT NULL,
    actor      TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    object     TEXT    NOT NULL,
    before     TEXT    NOT NULL,
    after      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    previous   TEXT    NOT NULL,
    hash       TEXT    NOT NULL
);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only';
END
$$;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();

CREATE FUNCTION audit_is_cleared_from_its_beginning() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM audit WHERE number < (SELECT max(number) FROM gone)) THEN
        RAISE EXCEPTION 'the audit is append-only';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER audit_is_cleared_from_its_beginning AFTER DELETE ON audit REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_cleared_from_its_beginning();

-- Counts the changes that replicas have to take over: who is disabled, links, projects.
INSERT INTO meta (name, value) VALUES ('people.version', '1');
