-- Archives of published bundles, by the digest of their manifest; base64.
CREATE TABLE callgate.bundles (
    id       text PRIMARY KEY,
    at       bigint NOT NULL,
    archive  text NOT NULL
);

-- The revisions at which a published bundle went into service, the last ones.
CREATE TABLE callgate.published (
    revision        bigint PRIMARY KEY,
    at              bigint NOT NULL,
    verb            text NOT NULL,
    caller          text NOT NULL,
    principal_type  text,
    principal_id    text,
    bundle          text NOT NULL,
    body            text NOT NULL
);

-- The archive that was stored last: every replica compiles it, and says whether it can, before it is published.
ALTER TABLE callgate.head ADD COLUMN staged text;
ALTER TABLE callgate.replicas ADD COLUMN prepared text NOT NULL DEFAULT '', ADD COLUMN cannot text NOT NULL DEFAULT '';

ALTER FUNCTION callgate.write_one(text, bigint, jsonb) RENAME TO write_one_but_a_bundle;
CREATE FUNCTION callgate.write_one(me text, fact_number bigint, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF w->>'k' <> 'bundle' THEN
        PERFORM callgate.write_one_but_a_bundle(me, fact_number, w);
        RETURN;
    END IF;
    INSERT INTO callgate.bundles (id, at, archive) VALUES (w->>'id', (w->>'at')::bigint, w->>'archive')
    ON CONFLICT (id) DO UPDATE SET at = excluded.at;
    UPDATE callgate.head SET staged = w->>'id';
END $$;

ALTER FUNCTION callgate.write_entry(text, jsonb) RENAME TO write_entry_of_any_change;
CREATE FUNCTION callgate.write_entry(me text, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_bundle jsonb := w->'row'->'published';
BEGIN
    PERFORM callgate.write_entry_of_any_change(me, w);
    IF new_bundle IS NULL THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM callgate.bundles WHERE id = new_bundle->>'id') THEN
        RAISE EXCEPTION 'the archive of the bundle is not stored';
    END IF;
    INSERT INTO callgate.published (revision, at, verb, caller, principal_type, principal_id, bundle, body)
    VALUES ((w->>'revision')::bigint, (w->>'at')::bigint, w->>'verb', w->>'caller', w->>'principal_type',
        w->>'principal_id', new_bundle->>'id', new_bundle->>'body');
    DELETE FROM callgate.published WHERE revision NOT IN (
        SELECT revision FROM callgate.published ORDER BY revision DESC LIMIT (new_bundle->>'kept')::bigint);
    DELETE FROM callgate.bundles WHERE id NOT IN (SELECT bundle FROM callgate.published)
        AND at < (new_bundle->>'orphans')::bigint;
END $$;

-- An archive, base64; empty if there is none.
CREATE FUNCTION callgate.bundle(its_id text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT archive FROM callgate.bundles WHERE id = its_id), '')
$$;

-- The last revisions of published bundles, the newest first.
CREATE FUNCTION callgate.published_bundles(most text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(to_jsonb(each) ORDER BY each.revision DESC), '[]')::text FROM (
        SELECT * FROM callgate.published ORDER BY revision DESC LIMIT most::bigint) AS each
$$;

-- As the other of this name, and with it what the replica has compiled; says which archive is to be compiled, how many of the
-- others have not said yet whether they can, and which cannot.
CREATE FUNCTION callgate.poll(me text, applied_revision text, applied_facts text, is_beat text, digest text,
    has_prepared text, it_cannot text) RETURNS text LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    answer jsonb;
    wanted text;
BEGIN
    answer := callgate.poll(me, applied_revision, applied_facts, is_beat, digest)::jsonb;
    SELECT staged INTO wanted FROM callgate.head;
    IF wanted IS NULL THEN
        RETURN answer::text;
    END IF;
    IF is_beat::boolean THEN
        UPDATE callgate.replicas SET prepared = has_prepared, cannot = it_cannot WHERE id = me;
    END IF;
    RETURN (answer || jsonb_build_object('staged', wanted,
        'unprepared', (SELECT count(*) FROM callgate.replicas WHERE id <> me AND prepared <> wanted AND cannot <> wanted),
        'cannot', (SELECT coalesce(jsonb_agg(name), '[]') FROM callgate.replicas WHERE cannot = wanted)))::text;
END $$;
