-- The clock of the database server, in milliseconds since the epoch. Members hold theirs against it.
CREATE FUNCTION callgate.wall_clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

-- The latest moment that a member is believed to have: clocks may differ by ten seconds (`MAX_DIFFERENCE` of the servers).
CREATE FUNCTION callgate.latest_moment() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT callgate.wall_clock() + 10000
$$;

-- How far ahead of the database's the clock of each member was when it last said what it has applied.
ALTER TABLE callgate.replicas ADD COLUMN clock_ahead_ms bigint NOT NULL DEFAULT 0;

-- As before, but that a member's time is believed no further than `latest_moment`.
CREATE OR REPLACE FUNCTION callgate.commit(me text, at text, writes text) RETURNS text LANGUAGE plpgsql
SET lock_timeout = '3s' AS $$
DECLARE
    reached callgate.head%ROWTYPE;
    each jsonb;
    fact_number bigint;
BEGIN
    SELECT * INTO reached FROM callgate.head FOR UPDATE;
    PERFORM callgate.check_member(me);
    IF me IS NOT NULL AND at::bigint > callgate.latest_moment() THEN
        at := callgate.latest_moment()::text;
    END IF;
    fact_number := reached.facts;
    IF EXISTS (SELECT 1 FROM jsonb_array_elements(writes::jsonb) AS it
            WHERE it->>'k' IN ('labels', 'tool_shown', 'usage_counted', 'approval_taken', 'budget_taken',
                'budget_returned')) THEN
        fact_number := fact_number + 1;
        UPDATE callgate.head SET facts = fact_number;
    END IF;
    FOR each IN SELECT value FROM jsonb_array_elements(writes::jsonb) LOOP
        PERFORM callgate.write_one(me, fact_number, each);
    END LOOP;
    IF at::bigint > coalesce(reached.clock, -1) THEN
        UPDATE callgate.head SET clock = at::bigint;
    END IF;
    SELECT * INTO reached FROM callgate.head;
    RETURN jsonb_build_object('revision', reached.revision, 'facts', reached.facts,
        'spent', (SELECT jsonb_agg(jsonb_build_array(id, spent)) FROM callgate.task_spent
            WHERE fact = fact_number AND fact_number > 0))::text;
END $$;

-- As the other of this name, and with it the two clocks: what the member's showed when it asked, and what this one shows.
CREATE FUNCTION callgate.poll(me text, applied_revision text, applied_facts text, is_beat text, digest text,
    has_prepared text, it_cannot text, its_clock text) RETURNS text LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    answer jsonb;
    here bigint;
BEGIN
    answer := callgate.poll(me, applied_revision, applied_facts, is_beat, digest, has_prepared, it_cannot)::jsonb;
    here := callgate.wall_clock();
    IF is_beat::boolean THEN
        UPDATE callgate.replicas SET clock_ahead_ms = its_clock::bigint - here WHERE id = me;
    END IF;
    RETURN (answer || jsonb_build_object('now', here))::text;
END $$;

-- Nothing is removed by a time that has not come. A server of an older version sends no more than the moments.
ALTER FUNCTION callgate.prune(text, text, text, text, text) RENAME TO prune_before;
CREATE FUNCTION callgate.prune(me text, ended_at text, recent_at text, places_at text, changes_at text, most_rows text)
RETURNS text LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
BEGIN
    IF me IS NOT NULL AND greatest(ended_at::bigint, recent_at::bigint, places_at::bigint, changes_at::bigint)
            > callgate.latest_moment() THEN
        PERFORM callgate.refuse('CG005', 'the clock of this replica is ahead of the database''s: nothing is removed', '{}');
    END IF;
    RETURN callgate.prune_before(ended_at, recent_at, places_at, changes_at, most_rows);
END $$;
CREATE FUNCTION callgate.prune(ended_at text, recent_at text, places_at text, changes_at text, most_rows text)
RETURNS text LANGUAGE sql AS $$
    SELECT callgate.prune('', ended_at, recent_at, places_at, changes_at, most_rows)
$$;

-- As before, with the clocks. Once a bundle was published, that is the one in service: a replica that loads a directory
-- beside it differs from it.
CREATE OR REPLACE FUNCTION callgate.fleet() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('history', callgate.history(), 'revision', head.revision, 'facts', head.facts,
        'bundle_digest', coalesce((SELECT body::jsonb->>'digest' FROM callgate.published ORDER BY revision DESC LIMIT 1),
            head.bundle_digest),
        'replicas', (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', id, 'name', name, 'version', version,
            'started_at', floor(extract(epoch FROM started) * 1000), 'max_staleness_ms', staleness_ms,
            'confirmed_ms_ago', greatest(floor(extract(epoch FROM clock_timestamp() - seen) * 1000), 0),
            'revision', replicas.revision, 'facts', replicas.facts, 'bundle_digest', replicas.bundle_digest,
            'clock_ahead_ms', clock_ahead_ms) ORDER BY name, id), '[]') FROM callgate.replicas))::text
    FROM callgate.head
$$;
