-- Places have labels, too: the kind `place`, with `is` and the place, `in` and what contains it, or `all`.
CREATE INDEX labels_of_places ON labels (through) WHERE kind = 'place';
