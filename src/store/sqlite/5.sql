-- Sessions that were ended for good. They stay after everything else of the session is forgotten.
CREATE TABLE ended_sessions (
    id  TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
INSERT INTO ended_sessions (id) SELECT id FROM sessions WHERE is_ended;

-- What of a budget crashes may have lost so far, at most; see `spent`.
ALTER TABLE task_spent ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;

-- Definitions of tools, by the gateway through which they were shown, that are not the pinned ones.
CREATE TABLE changed_tools (
    gateway  TEXT NOT NULL,
    type     TEXT NOT NULL,
    id       TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (gateway, type, id)
) STRICT;
