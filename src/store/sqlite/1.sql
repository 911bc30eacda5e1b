-- Moments are milliseconds since the Unix epoch. Bodies are JSON, as src/call/live writes it.

CREATE TABLE change_log (
    revision        INTEGER PRIMARY KEY,
    at              INTEGER NOT NULL,
    verb            TEXT NOT NULL,
    caller          TEXT NOT NULL,
    principal_type  TEXT,
    principal_id    TEXT,
    key_text        TEXT,
    key_request     BLOB,
    change          TEXT NOT NULL
) STRICT;

-- What was asked under which key, so that asking again changes nothing.
CREATE TABLE idempotency_keys (
    caller      TEXT NOT NULL,
    text        TEXT NOT NULL,
    request     BLOB NOT NULL,
    revision    INTEGER NOT NULL,
    id          TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (caller, text)
) STRICT;
CREATE INDEX idempotency_keys_by_at ON idempotency_keys (at);

CREATE TABLE entities (
    type    TEXT NOT NULL,
    id      TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (type, id)
) STRICT;

-- `ends_at` is when it is over at the latest, as far as it says so itself.
CREATE TABLE grants (
    id       TEXT PRIMARY KEY,
    task     TEXT,
    ends_at  INTEGER NOT NULL,
    body     TEXT NOT NULL
) STRICT;
CREATE INDEX grants_by_end ON grants (ends_at);
CREATE INDEX grants_by_task ON grants (task) WHERE task IS NOT NULL;

CREATE TABLE tasks (
    id       TEXT PRIMARY KEY,
    ends_at  INTEGER NOT NULL,
    body     TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_by_end ON tasks (ends_at);

CREATE TABLE approvals (
    id       TEXT PRIMARY KEY,
    task     TEXT,
    ends_at  INTEGER NOT NULL,
    body     TEXT NOT NULL
) STRICT;
CREATE INDEX approvals_by_end ON approvals (ends_at);
CREATE INDEX approvals_by_task ON approvals (task) WHERE task IS NOT NULL;

CREATE TABLE approval_uses (
    id    TEXT PRIMARY KEY,
    uses  INTEGER NOT NULL
) STRICT;

CREATE TABLE task_spent (
    id     TEXT PRIMARY KEY,
    spent  INTEGER NOT NULL,
    -- The most calls of the budget that crashes may have lost so far.
    lost   INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sessions (
    id        TEXT PRIMARY KEY,
    is_ended  INTEGER NOT NULL DEFAULT 0,
    calls     INTEGER NOT NULL DEFAULT 0,
    tools     TEXT NOT NULL DEFAULT '[]',
    last      TEXT NOT NULL DEFAULT '[]',
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_at ON sessions (at);

CREATE TABLE session_labels (
    session  TEXT NOT NULL,
    label    TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (session, label)
) STRICT;

-- An empty tool stands for what is counted of the actor alone.
CREATE TABLE usage (
    actor_type  TEXT NOT NULL,
    actor_id    TEXT NOT NULL,
    tool_type   TEXT NOT NULL,
    tool_id     TEXT NOT NULL,
    counters    BLOB NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (actor_type, actor_id, tool_type, tool_id)
) STRICT;
CREATE INDEX usage_by_at ON usage (at);

CREATE TABLE meta (
    name   TEXT PRIMARY KEY,
    value  TEXT NOT NULL
) STRICT;

-- What calls have brought, by what carries it beside the session: `task` and `delegation` with the id, `pair` with the
-- names of who acts and for whom, as JSON. `through` is the last moment at which the label may have been brought;
-- `loose_through` the same for calls outside of what Callgate has issued, if there were any.
CREATE TABLE labels (
    kind           TEXT NOT NULL,
    carrier        TEXT NOT NULL,
    label          TEXT NOT NULL,
    through        INTEGER NOT NULL,
    loose_through  INTEGER,
    PRIMARY KEY (kind, carrier, label)
) STRICT;
CREATE INDEX labels_of_pairs ON labels (through) WHERE kind = 'pair';
-- Places have labels, too: the kind `place`, with `is` and the place, `in` and what contains it, or `all`.
CREATE INDEX labels_of_places ON labels (through) WHERE kind = 'place';

-- What is stopped until somebody lifts it.
CREATE TABLE stops (
    type    TEXT NOT NULL,
    id      TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (type, id)
) STRICT;

-- Sessions that were ended for good. They stay after everything else of the session is forgotten.
CREATE TABLE ended_sessions (
    id  TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Definitions of tools, by the gateway through which they were shown, that are not the pinned ones.
CREATE TABLE changed_tools (
    gateway  TEXT NOT NULL,
    type     TEXT NOT NULL,
    id       TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (gateway, type, id)
) STRICT;
