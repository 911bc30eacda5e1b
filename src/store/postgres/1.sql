-- Moments are milliseconds since the Unix epoch. Bodies are JSON, as domain/authority writes it.
--
-- Every commit locks the one row of `head` first and keeps it to its end: so commits follow one another, revisions and
-- fact numbers are given in the order of commits, and no two commits wait for each other in a circle.

CREATE TABLE callgate.head (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Chosen when the store was made: a store that was made anew has another one.
    store_id   text NOT NULL,
    revision   bigint NOT NULL DEFAULT 0,
    -- The number of the last fact: a label, a use, a count or a shown definition.
    facts      bigint NOT NULL DEFAULT 0,
    clock      bigint,
    lease      bigint,
    bundle_digest text
);
INSERT INTO callgate.head (store_id) VALUES (gen_random_uuid()::text);

CREATE TABLE callgate.change_log (
    revision        bigint PRIMARY KEY,
    at              bigint NOT NULL,
    verb            text NOT NULL,
    caller          text NOT NULL,
    principal_type  text,
    principal_id    text,
    key_text        text,
    key_request     text,
    change          text NOT NULL,
    -- What was returned for it.
    id              text NOT NULL
);

CREATE TABLE callgate.idempotency_keys (
    caller      text NOT NULL,
    text        text NOT NULL,
    request     text NOT NULL,
    revision    bigint NOT NULL,
    id          text NOT NULL,
    at          bigint NOT NULL,
    PRIMARY KEY (caller, text)
);
CREATE INDEX idempotency_keys_by_at ON callgate.idempotency_keys (at);

CREATE TABLE callgate.entities (
    type  text NOT NULL,
    id    text NOT NULL,
    body  text NOT NULL,
    PRIMARY KEY (type, id)
);

CREATE TABLE callgate.grants (
    id       text PRIMARY KEY,
    task     text,
    ends_at  bigint NOT NULL,
    body     text NOT NULL
);
CREATE INDEX grants_by_end ON callgate.grants (ends_at);
CREATE INDEX grants_by_task ON callgate.grants (task) WHERE task IS NOT NULL;

CREATE TABLE callgate.tasks (
    id       text PRIMARY KEY,
    ends_at  bigint NOT NULL,
    body     text NOT NULL
);
CREATE INDEX tasks_by_end ON callgate.tasks (ends_at);

CREATE TABLE callgate.approvals (
    id       text PRIMARY KEY,
    task     text,
    ends_at  bigint NOT NULL,
    body     text NOT NULL
);
CREATE INDEX approvals_by_end ON callgate.approvals (ends_at);
CREATE INDEX approvals_by_task ON callgate.approvals (task) WHERE task IS NOT NULL;

CREATE TABLE callgate.approval_uses (
    id    text PRIMARY KEY,
    uses  bigint NOT NULL,
    fact  bigint NOT NULL DEFAULT 0
);
CREATE INDEX approval_uses_by_fact ON callgate.approval_uses (fact);

CREATE TABLE callgate.task_spent (
    id     text PRIMARY KEY,
    spent  bigint NOT NULL,
    lost   bigint NOT NULL DEFAULT 0,
    fact   bigint NOT NULL DEFAULT 0
);
CREATE INDEX task_spent_by_fact ON callgate.task_spent (fact);

CREATE TABLE callgate.sessions (
    id        text PRIMARY KEY,
    is_ended  boolean NOT NULL DEFAULT false,
    calls     bigint NOT NULL DEFAULT 0,
    tools     text NOT NULL DEFAULT '[]',
    last      text NOT NULL DEFAULT '[]',
    at        bigint NOT NULL,
    -- The replica that decides its calls, and another one that waits for it.
    owner     text,
    wanted    text,
    -- How often it was given to a replica: what was sent before that is told from what came after.
    turn      bigint NOT NULL DEFAULT 0
);
CREATE INDEX sessions_by_at ON callgate.sessions (at);
CREATE INDEX sessions_wanted ON callgate.sessions (owner) WHERE wanted IS NOT NULL;

CREATE TABLE callgate.session_labels (
    session  text NOT NULL,
    label    text NOT NULL,
    at       bigint NOT NULL,
    PRIMARY KEY (session, label)
);

CREATE TABLE callgate.ended_sessions (id text PRIMARY KEY);

CREATE TABLE callgate.usage (
    actor_type  text NOT NULL,
    actor_id    text NOT NULL,
    tool_type   text NOT NULL,
    tool_id     text NOT NULL,
    counters    text NOT NULL,
    at          bigint NOT NULL,
    PRIMARY KEY (actor_type, actor_id, tool_type, tool_id)
);
CREATE INDEX usage_by_at ON callgate.usage (at);

-- What each replica has counted lately, for the others to add; kept for a minute.
CREATE TABLE callgate.usage_log (
    fact      bigint NOT NULL,
    by        text NOT NULL,
    counts    text NOT NULL,
    written   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX usage_log_by_fact ON callgate.usage_log (fact);

CREATE TABLE callgate.labels (
    kind           text NOT NULL,
    carrier        text NOT NULL,
    label          text NOT NULL,
    through        bigint NOT NULL,
    loose_through  bigint,
    -- The number of the fact, and the replica that added it.
    fact           bigint NOT NULL,
    by             text,
    PRIMARY KEY (kind, carrier, label)
);
CREATE INDEX labels_of_pairs ON callgate.labels (through) WHERE kind = 'pair';
CREATE INDEX labels_of_places ON callgate.labels (through) WHERE kind = 'place';
CREATE INDEX labels_by_fact ON callgate.labels (fact);

CREATE TABLE callgate.stops (
    type  text NOT NULL,
    id    text NOT NULL,
    body  text NOT NULL,
    PRIMARY KEY (type, id)
);

-- Without a body: the definition is the pinned one again.
CREATE TABLE callgate.changed_tools (
    gateway  text NOT NULL,
    type     text NOT NULL,
    id       text NOT NULL,
    body     text,
    fact     bigint NOT NULL,
    by       text,
    PRIMARY KEY (gateway, type, id)
);
CREATE INDEX changed_tools_by_fact ON callgate.changed_tools (fact);

-- The servers that decide. A server may decide only while its row is here, and no longer than its own clock says since
-- it last began to confirm that.
CREATE TABLE callgate.replicas (
    id            text PRIMARY KEY,
    name          text NOT NULL,
    version       text NOT NULL,
    started       timestamptz NOT NULL DEFAULT now(),
    seen          timestamptz NOT NULL DEFAULT now(),
    -- Counts what it has confirmed. If it stands still, nobody needs a clock in common to see that.
    beat          bigint NOT NULL DEFAULT 0,
    staleness_ms  bigint NOT NULL,
    revision      bigint NOT NULL,
    facts         bigint NOT NULL,
    bundle_digest text NOT NULL DEFAULT ''
);

-- Names what the database holds: which store, in which PostgreSQL system, in which history of it. A standby that is
-- promoted begins another history.
CREATE FUNCTION callgate.history() RETURNS text LANGUAGE sql AS $$
    SELECT (SELECT store_id FROM callgate.head) || ' ' || (SELECT system_identifier FROM pg_control_system())::text
        || ' ' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
$$;

CREATE FUNCTION callgate.refuse(state text, said text, about text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said, DETAIL = about;
END $$;

-- A replica whose row is gone has been taken for dead: nothing that it still sends is written.
CREATE FUNCTION callgate.check_member(me text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF me IS NULL THEN
        RETURN;
    END IF;
    PERFORM 1 FROM callgate.replicas WHERE id = me FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM callgate.refuse('CG002', 'this replica was taken for dead', '{}');
    END IF;
END $$;

-- The change of one entry, in its own table. `w` holds what the table needs beside the body.
CREATE FUNCTION callgate.write_change(w jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CASE w->>'t'
    WHEN 'bundle' THEN
        UPDATE callgate.head SET bundle_digest = w->>'id';
    WHEN 'entity' THEN
        INSERT INTO callgate.entities (type, id, body) VALUES (w->>'type', w->>'id', w->>'body')
        ON CONFLICT (type, id) DO UPDATE SET body = excluded.body;
    WHEN 'entity_gone' THEN
        DELETE FROM callgate.entities WHERE type = w->>'type' AND id = w->>'id';
    WHEN 'grant' THEN
        INSERT INTO callgate.grants (id, task, ends_at, body)
        VALUES (w->>'id', w->>'task', (w->>'ends_at')::bigint, w->>'body')
        ON CONFLICT (id) DO UPDATE SET task = excluded.task, ends_at = excluded.ends_at, body = excluded.body;
    WHEN 'task' THEN
        INSERT INTO callgate.tasks (id, ends_at, body) VALUES (w->>'id', (w->>'ends_at')::bigint, w->>'body')
        ON CONFLICT (id) DO UPDATE SET ends_at = excluded.ends_at, body = excluded.body;
        IF (w->>'closed')::boolean THEN
            DELETE FROM callgate.labels WHERE kind = 'task' AND carrier = w->>'id';
        END IF;
    WHEN 'approval' THEN
        INSERT INTO callgate.approvals (id, task, ends_at, body)
        VALUES (w->>'id', w->>'task', (w->>'ends_at')::bigint, w->>'body')
        ON CONFLICT (id) DO UPDATE SET task = excluded.task, ends_at = excluded.ends_at, body = excluded.body;
    WHEN 'stop' THEN
        INSERT INTO callgate.stops (type, id, body) VALUES (w->>'type', w->>'id', w->>'body')
        ON CONFLICT (type, id) DO UPDATE SET body = excluded.body;
    WHEN 'resumed' THEN
        DELETE FROM callgate.stops WHERE type = w->>'type' AND id = w->>'id';
    WHEN 'clock_repaired' THEN
        UPDATE callgate.head SET lease = (w->>'to')::bigint;
    WHEN 'session_ended' THEN
        INSERT INTO callgate.ended_sessions (id) VALUES (w->>'id') ON CONFLICT DO NOTHING;
        INSERT INTO callgate.sessions (id, is_ended, at) VALUES (w->>'id', true, (w->>'at')::bigint)
        ON CONFLICT (id) DO UPDATE SET is_ended = true, at = greatest(sessions.at, excluded.at);
    ELSE
        RAISE EXCEPTION 'unknown change %', w->>'t';
    END CASE;
END $$;

CREATE FUNCTION callgate.write_entry(me text, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    reached bigint;
BEGIN
    SELECT revision INTO reached FROM callgate.head;
    IF (w->>'revision')::numeric <> reached + 1 THEN
        PERFORM callgate.refuse('CG001', 'this revision does not follow',
            jsonb_build_object('last', reached, 'found', (w->>'revision')::numeric)::text);
    END IF;
    UPDATE callgate.head SET revision = reached + 1;
    INSERT INTO callgate.change_log (revision, at, verb, caller, principal_type, principal_id, key_text, key_request,
        change, id)
    VALUES (reached + 1, (w->>'at')::bigint, w->>'verb', w->>'caller', w->>'principal_type', w->>'principal_id',
        w->>'key_text', w->>'key_request', w->>'change', w->>'id');
    IF w->>'key_text' IS NOT NULL THEN
        INSERT INTO callgate.idempotency_keys (caller, text, request, revision, id, at)
        VALUES (w->>'caller', w->>'key_text', w->>'key_request', reached + 1, w->>'id', (w->>'at')::bigint)
        ON CONFLICT (caller, text) DO UPDATE SET request = excluded.request, revision = excluded.revision,
            id = excluded.id, at = excluded.at;
    END IF;
    PERFORM callgate.write_change(w->'row');
END $$;

-- Uses an approval once, if it has not been used as often as it may.
CREATE FUNCTION callgate.take_approval(fact_number bigint, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    had bigint;
BEGIN
    SELECT uses INTO had FROM callgate.approval_uses WHERE id = w->>'id';
    had := coalesce(had, 0);
    IF had >= (w->>'most')::bigint THEN
        PERFORM callgate.refuse('CG003', 'nothing is left',
            jsonb_build_object('id', w->>'id', 'used', had)::text);
    END IF;
    INSERT INTO callgate.approval_uses (id, uses, fact) VALUES (w->>'id', had + 1, fact_number)
    ON CONFLICT (id) DO UPDATE SET uses = excluded.uses, fact = excluded.fact;
END $$;

-- Reserves calls of a budget, if that many are left.
CREATE FUNCTION callgate.take_budget(fact_number bigint, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    had bigint;
BEGIN
    SELECT spent INTO had FROM callgate.task_spent WHERE id = w->>'id';
    had := coalesce(had, 0);
    IF had + (w->>'calls')::bigint > (w->>'most')::bigint THEN
        PERFORM callgate.refuse('CG003', 'nothing is left',
            jsonb_build_object('id', w->>'id', 'used', had)::text);
    END IF;
    INSERT INTO callgate.task_spent (id, spent, fact) VALUES (w->>'id', had + (w->>'calls')::bigint, fact_number)
    ON CONFLICT (id) DO UPDATE SET spent = excluded.spent, fact = excluded.fact;
END $$;

CREATE FUNCTION callgate.write_session(me text, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_label text;
BEGIN
    CASE w->>'k'
    WHEN 'session_labels' THEN
        INSERT INTO callgate.sessions (id, at) VALUES (w->>'id', (w->>'at')::bigint)
        ON CONFLICT (id) DO UPDATE SET at = greatest(sessions.at, excluded.at);
    WHEN 'session' THEN
        INSERT INTO callgate.sessions (id, calls, tools, last, at)
        VALUES (w->>'id', (w->>'calls')::bigint, w->>'tools', w->>'last', (w->>'at')::bigint)
        ON CONFLICT (id) DO UPDATE SET calls = excluded.calls, tools = excluded.tools, last = excluded.last,
            at = greatest(sessions.at, excluded.at)
        -- What is counted elsewhere by now is not written over.
        WHERE me IS NULL OR sessions.owner = me;
    WHEN 'session_released' THEN
        UPDATE callgate.sessions SET calls = (w->>'calls')::bigint, tools = w->>'tools', last = w->>'last',
            at = greatest(at, (w->>'at')::bigint), owner = NULL, wanted = NULL
        WHERE id = w->>'id' AND owner = me AND turn = (w->>'turn')::bigint;
    END CASE;
    FOR new_label IN SELECT value FROM jsonb_array_elements_text(coalesce(w->'labels', '[]')) LOOP
        INSERT INTO callgate.session_labels (session, label, at) VALUES (w->>'id', new_label, (w->>'at')::bigint)
        ON CONFLICT (session, label) DO NOTHING;
    END LOOP;
END $$;

-- The caller of it has raised the number of facts.
CREATE FUNCTION callgate.write_labels(me text, fact_number bigint, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO callgate.labels AS known (kind, carrier, label, through, loose_through, fact, by)
    SELECT w->>'kind', w->>'carrier', each->>0, (each->>1)::bigint, (each->>2)::bigint, fact_number, me
    FROM jsonb_array_elements(w->'labels') AS each
    ON CONFLICT (kind, carrier, label) DO UPDATE SET
        through = greatest(known.through, excluded.through),
        loose_through = greatest(known.loose_through, excluded.loose_through),
        fact = excluded.fact, by = excluded.by;
END $$;

-- Refuses if another replica has added a label that the decision has not seen.
CREATE FUNCTION callgate.check_labels_seen(me text, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM jsonb_array_elements(w->'carriers') AS each
    JOIN callgate.labels known ON known.kind = each->>0 AND known.carrier = each->>1
    WHERE known.fact > (w->>'seen')::bigint AND known.by IS DISTINCT FROM me;
    IF FOUND THEN
        PERFORM callgate.refuse('CG004', 'a label came from another replica meanwhile', '{}');
    END IF;
END $$;

CREATE FUNCTION callgate.write_one(me text, fact_number bigint, w jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CASE w->>'k'
    WHEN 'decided_as' THEN
        PERFORM callgate.check_member(w->>'id');
    WHEN 'entry' THEN
        PERFORM callgate.write_entry(me, w);
    WHEN 'approval_used' THEN
        INSERT INTO callgate.approval_uses (id, uses) VALUES (w->>'id', (w->>'uses')::bigint)
        ON CONFLICT (id) DO UPDATE SET uses = greatest(approval_uses.uses, excluded.uses);
    WHEN 'approval_taken' THEN
        PERFORM callgate.take_approval(fact_number, w);
    WHEN 'budget_taken' THEN
        PERFORM callgate.take_budget(fact_number, w);
    WHEN 'budget_returned' THEN
        UPDATE callgate.task_spent SET spent = greatest(spent - (w->>'calls')::bigint, 0), fact = fact_number
        WHERE id = w->>'id';
    WHEN 'task_spent' THEN
        INSERT INTO callgate.task_spent (id, spent, lost)
        VALUES (w->>'id', (w->>'spent')::bigint, (w->>'lost')::bigint)
        ON CONFLICT (id) DO UPDATE SET
            spent = CASE WHEN (w->>'exact')::boolean THEN excluded.spent
                ELSE greatest(task_spent.spent, excluded.spent) END,
            lost = CASE WHEN (w->>'exact')::boolean THEN excluded.lost
                ELSE greatest(task_spent.lost, excluded.lost) END;
    WHEN 'session_labels', 'session', 'session_released' THEN
        PERFORM callgate.write_session(me, w);
    WHEN 'labels_seen' THEN
        PERFORM callgate.check_labels_seen(me, w);
    WHEN 'labels' THEN
        PERFORM callgate.write_labels(me, fact_number, w);
    WHEN 'usage' THEN
        INSERT INTO callgate.usage (actor_type, actor_id, tool_type, tool_id, counters, at)
        VALUES (w->>'actor_type', w->>'actor_id', w->>'tool_type', w->>'tool_id', w->>'counters',
            (w->>'at')::bigint)
        ON CONFLICT (actor_type, actor_id, tool_type, tool_id) DO UPDATE SET counters = excluded.counters,
            at = greatest(usage.at, excluded.at);
    WHEN 'usage_counted' THEN
        DELETE FROM callgate.usage_log WHERE written < now() - interval '1 minute';
        INSERT INTO callgate.usage_log (fact, by, counts) VALUES (fact_number, coalesce(me, ''), w->>'counts');
    WHEN 'tool_shown' THEN
        INSERT INTO callgate.changed_tools (gateway, type, id, body, fact, by)
        VALUES (w->>'gateway', w->>'type', w->>'id', w->>'body', fact_number, me)
        ON CONFLICT (gateway, type, id) DO UPDATE SET body = excluded.body, fact = excluded.fact, by = excluded.by;
    WHEN 'lease' THEN
        -- Alone, a server says itself where time starts; with others, the latest of them does.
        UPDATE callgate.head SET lease = CASE WHEN me IS NULL THEN (w->>'at')::bigint
            ELSE greatest(lease, (w->>'at')::bigint) END;
    ELSE
        RAISE EXCEPTION 'unknown write %', w->>'k';
    END CASE;
END $$;

-- Makes all writes or none, as one statement: no client that is paused can keep the lock. Returns the revision and the
-- number of the last fact.
CREATE FUNCTION callgate.commit(me text, at text, writes text) RETURNS text LANGUAGE plpgsql
SET lock_timeout = '3s' AS $$
DECLARE
    reached callgate.head%ROWTYPE;
    each jsonb;
    fact_number bigint;
BEGIN
    SELECT * INTO reached FROM callgate.head FOR UPDATE;
    PERFORM callgate.check_member(me);
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

-- Makes a replica a member. Whoever counts members from now on counts it.
CREATE FUNCTION callgate.join(me text, its_name text, its_version text, staleness text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO callgate.replicas (id, name, version, staleness_ms, revision, facts)
    VALUES (me, its_name, its_version, staleness::bigint, 0, 0);
    RETURN '';
END $$;

-- Ends a membership, of a replica that decides nothing any more. With a beat: only if it still stands there.
CREATE FUNCTION callgate.leave(whom text, its_beat text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM callgate.replicas WHERE id = whom AND (its_beat IS NULL OR beat = its_beat::bigint);
    RETURN '';
END $$;

-- The changes after a revision.
CREATE FUNCTION callgate.entries_after(known bigint, most bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(to_jsonb(each) ORDER BY each.revision), '[]') FROM (
        SELECT * FROM callgate.change_log WHERE revision > known ORDER BY revision LIMIT most) AS each
$$;

-- The facts after a number, up to another. Labels and definitions may be told twice; counts are not, and never to the
-- replica that has counted them.
CREATE FUNCTION callgate.facts_after(me text, known bigint, upto bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'labels', (SELECT coalesce(jsonb_agg(jsonb_build_array(kind, carrier, label, through, loose_through,
                by IS NOT DISTINCT FROM me) ORDER BY fact), '[]')
            FROM callgate.labels WHERE fact > known),
        'tools', (SELECT coalesce(jsonb_agg(jsonb_build_array(gateway, type, id, body) ORDER BY fact), '[]')
            FROM callgate.changed_tools WHERE fact > known),
        'uses', (SELECT coalesce(jsonb_agg(jsonb_build_array(id, uses) ORDER BY fact), '[]')
            FROM callgate.approval_uses WHERE fact > known),
        'spent', (SELECT coalesce(jsonb_agg(jsonb_build_array(id, spent, fact) ORDER BY fact), '[]')
            FROM callgate.task_spent WHERE fact > known),
        'usage', (SELECT coalesce(jsonb_agg(counts ORDER BY fact), '[]')
            FROM callgate.usage_log WHERE fact > known AND fact <= upto AND by <> me))
$$;

-- One confirmation: what `head` is now, and all that the replica has not applied. The head is read before anything else,
-- so what follows holds at least that. Says what the replica has applied, if that is new or a beat is due.
CREATE FUNCTION callgate.poll(me text, applied_revision text, applied_facts text, is_beat text, digest text)
RETURNS text LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    reached callgate.head%ROWTYPE;
    answer jsonb;
BEGIN
    SELECT * INTO reached FROM callgate.head;
    IF is_beat::boolean THEN
        UPDATE callgate.replicas SET beat = beat + 1, seen = now(), revision = applied_revision::bigint,
            facts = applied_facts::bigint, bundle_digest = digest WHERE id = me;
    ELSE
        PERFORM 1 FROM callgate.replicas WHERE id = me;
    END IF;
    IF NOT FOUND THEN
        PERFORM callgate.refuse('CG002', 'this replica was taken for dead', '{}');
    END IF;
    answer := jsonb_build_object(
        'store', callgate.history(),
        'revision', reached.revision, 'facts', reached.facts,
        'replicas', (SELECT jsonb_agg(jsonb_build_array(id, beat, revision, facts, staleness_ms))
            FROM callgate.replicas WHERE id <> me),
        'wanted', (SELECT jsonb_agg(id) FROM callgate.sessions WHERE owner = me AND wanted IS NOT NULL));
    IF reached.revision <> applied_revision::bigint THEN
        answer := answer || jsonb_build_object('entries',
            callgate.entries_after(applied_revision::bigint, 1000));
    END IF;
    IF reached.facts <> applied_facts::bigint THEN
        answer := answer || jsonb_build_object('news', callgate.facts_after(me, applied_facts::bigint, reached.facts));
    END IF;
    RETURN answer::text;
END $$;

-- Makes a replica the owner of a session, unless another living one is: then that one is asked to let it go. Returns the
-- session as far as it is written.
CREATE FUNCTION callgate.acquire(me text, session_id text, at text) RETURNS text LANGUAGE plpgsql
SET lock_timeout = '1s' AS $$
DECLARE
    known callgate.sessions%ROWTYPE;
BEGIN
    PERFORM callgate.check_member(me);
    INSERT INTO callgate.sessions (id, at, owner) VALUES (session_id, at::bigint, me)
    ON CONFLICT (id) DO NOTHING;
    SELECT * INTO known FROM callgate.sessions WHERE id = session_id FOR UPDATE;
    IF known.owner IS DISTINCT FROM me AND EXISTS (SELECT 1 FROM callgate.replicas WHERE id = known.owner) THEN
        IF known.wanted IS NULL THEN
            UPDATE callgate.sessions SET wanted = me WHERE id = session_id;
        END IF;
        RETURN '';
    END IF;
    UPDATE callgate.sessions SET owner = me, wanted = NULL, turn = turn + 1 WHERE id = session_id;
    RETURN jsonb_build_object('id', known.id, 'turn', known.turn + 1, 'is_ended', known.is_ended, 'calls', known.calls, 'tools', known.tools,
        'last', known.last, 'at', known.at, 'labels', (SELECT coalesce(jsonb_agg(label ORDER BY session_labels.at, label), '[]')
            FROM callgate.session_labels WHERE session = session_id))::text;
END $$;

-- Removes up to `most` rows of each kind that ended before these moments, tasks last. Beside commits, never within one.
CREATE FUNCTION callgate.prune(ended_at text, recent_at text, places_at text, changes_at text, most_rows text) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    ended bigint := ended_at::bigint;
    recent bigint := recent_at::bigint;
    most bigint := most_rows::bigint;
    delegations text[];
    approvals text[];
    gone_tasks text[];
    gone_sessions text[];
    removed bigint;
    largest bigint := 0;
BEGIN
    PERFORM 1 FROM callgate.head FOR UPDATE;
    WITH gone AS (DELETE FROM callgate.grants WHERE id IN (
            (SELECT id FROM callgate.grants WHERE ends_at < ended LIMIT most) UNION
            (SELECT grants.id FROM callgate.tasks JOIN callgate.grants ON grants.task = tasks.id
                WHERE tasks.ends_at < ended LIMIT most)) RETURNING id)
        SELECT coalesce(array_agg(id), '{}') INTO delegations FROM gone;
    DELETE FROM callgate.labels WHERE kind = 'delegation' AND carrier = ANY (delegations);
    WITH gone AS (DELETE FROM callgate.approvals WHERE id IN (
            (SELECT id FROM callgate.approvals WHERE ends_at < ended LIMIT most) UNION
            (SELECT approvals.id FROM callgate.tasks JOIN callgate.approvals ON approvals.task = tasks.id
                WHERE tasks.ends_at < ended LIMIT most)) RETURNING id)
        SELECT coalesce(array_agg(id), '{}') INTO approvals FROM gone;
    DELETE FROM callgate.approval_uses WHERE id = ANY (approvals);
    WITH gone AS (DELETE FROM callgate.tasks WHERE id IN (SELECT id FROM callgate.tasks WHERE ends_at < ended
            AND NOT EXISTS (SELECT 1 FROM callgate.grants WHERE grants.task = tasks.id)
            AND NOT EXISTS (SELECT 1 FROM callgate.approvals it WHERE it.task = tasks.id) LIMIT most) RETURNING id)
        SELECT coalesce(array_agg(id), '{}') INTO gone_tasks FROM gone;
    -- The counters of a task's tools, `<task>/<tool>`, go with it.
    DELETE FROM callgate.task_spent WHERE split_part(id, '/', 1) = ANY (gone_tasks) AND cardinality(gone_tasks) > 0;
    DELETE FROM callgate.labels WHERE kind = 'task' AND carrier = ANY (gone_tasks);
    WITH gone AS (DELETE FROM callgate.sessions WHERE id IN (SELECT id FROM callgate.sessions WHERE at < ended
            -- A replica gives back what it forgets; until then its row stays.
            AND NOT EXISTS (SELECT 1 FROM callgate.replicas WHERE replicas.id = owner) LIMIT most) RETURNING id)
        SELECT coalesce(array_agg(id), '{}') INTO gone_sessions FROM gone;
    DELETE FROM callgate.session_labels WHERE session = ANY (gone_sessions);
    largest := greatest(cardinality(delegations), cardinality(approvals), cardinality(gone_tasks),
        cardinality(gone_sessions));
    DELETE FROM callgate.idempotency_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM callgate.idempotency_keys WHERE at < recent LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    largest := greatest(largest, removed);
    DELETE FROM callgate.usage WHERE ctid = ANY (ARRAY(SELECT ctid FROM callgate.usage WHERE at < recent LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    largest := greatest(largest, removed);
    DELETE FROM callgate.labels WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM callgate.labels WHERE kind = 'pair' AND through < recent LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    largest := greatest(largest, removed);
    DELETE FROM callgate.labels WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM callgate.labels WHERE kind = 'place' AND through < places_at::bigint LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    largest := greatest(largest, removed);
    -- Time increases with the revision, so the oldest come first.
    DELETE FROM callgate.change_log WHERE revision IN (SELECT revision FROM (
            SELECT revision, at FROM callgate.change_log
            WHERE revision < (SELECT max(revision) FROM callgate.change_log) ORDER BY revision LIMIT most) AS oldest
        WHERE at < changes_at::bigint);
    GET DIAGNOSTICS removed = ROW_COUNT;
    largest := greatest(largest, removed);
    RETURN jsonb_build_object('delegations', delegations, 'approvals', approvals, 'tasks', gone_tasks,
        'most', largest)::text;
END $$;

-- What people ask: which replicas there are, and how far each is.
CREATE FUNCTION callgate.fleet() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('history', callgate.history(), 'revision', head.revision, 'facts', head.facts,
        'bundle_digest', head.bundle_digest, 'replicas', (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', id, 'name', name, 'version', version,
            'started_at', floor(extract(epoch FROM started) * 1000), 'max_staleness_ms', staleness_ms,
            'confirmed_ms_ago', greatest(floor(extract(epoch FROM clock_timestamp() - seen) * 1000), 0),
            'revision', replicas.revision, 'facts', replicas.facts, 'bundle_digest', replicas.bundle_digest)
            ORDER BY name, id), '[]') FROM callgate.replicas))::text
    FROM callgate.head
$$;
