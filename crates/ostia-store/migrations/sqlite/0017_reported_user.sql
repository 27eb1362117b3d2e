-- The name under which reports count a request, where it is not `username`, which its bearer may have chosen.
ALTER TABLE ledger ADD COLUMN reported_user TEXT NOT NULL DEFAULT '';
