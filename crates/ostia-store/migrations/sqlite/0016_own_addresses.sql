-- `identities.proven` says for which name its provider answers: 0 none, 1 `username`, 2 `email`. Owners of keys are found by
-- either.
CREATE INDEX identities_by_email ON identities (lower(email)) WHERE proven = 2;
