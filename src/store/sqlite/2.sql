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
