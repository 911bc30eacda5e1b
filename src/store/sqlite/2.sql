-- Archives of published bundles, by the digest of their manifest.
CREATE TABLE bundles (
    id       TEXT PRIMARY KEY,
    at       INTEGER NOT NULL,
    archive  BLOB NOT NULL
) STRICT;

-- The revisions at which a published bundle went into service, the last ones.
CREATE TABLE published (
    revision        INTEGER PRIMARY KEY,
    at              INTEGER NOT NULL,
    verb            TEXT NOT NULL,
    caller          TEXT NOT NULL,
    principal_type  TEXT,
    principal_id    TEXT,
    bundle          TEXT NOT NULL,
    body            TEXT NOT NULL
) STRICT;
