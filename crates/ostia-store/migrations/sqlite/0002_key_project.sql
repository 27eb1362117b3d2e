-- What a key is for, of the projects that a site counts by; empty: none. Rows of the ledger take it from their key.
ALTER TABLE api_keys ADD COLUMN project TEXT NOT NULL DEFAULT '';
