-- What is stopped until somebody lifts it.
CREATE TABLE stops (
    type    TEXT NOT NULL,
    id      TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (type, id)
) STRICT;
