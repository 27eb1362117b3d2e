-- Rows from before: nobody could ask for another class, nor be served another model.
ALTER TABLE ledger ADD COLUMN class TEXT NOT NULL DEFAULT 'interactive';
ALTER TABLE ledger ADD COLUMN location TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN served_model TEXT NOT NULL DEFAULT '';
UPDATE ledger SET served_model = model WHERE endpoint_slug <> '';
