-- Of a million keys, those of a person, of a project, or that end soon are found without reading all.
CREATE INDEX api_keys_by_username ON api_keys (lower(username));
CREATE INDEX api_keys_by_project ON api_keys (project) WHERE project <> '';
CREATE INDEX api_keys_by_end ON api_keys (expires_at) WHERE revoked_at IS NULL;
