-- How the store turned back last and where its revisions went on, as JSON; null if it never did.
ALTER TABLE callgate.head ADD COLUMN turned_back text;
