-- What one of several processes does for all, and until when it is that one (Unix microseconds): `alert:FINGERPRINT`, ...
CREATE TABLE turns (
    name   TEXT   NOT NULL PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL
);
