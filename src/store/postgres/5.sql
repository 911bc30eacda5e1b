-- The replicas that have left or were taken for dead, and the beat at which they stood. A replica that is in neither table, or at an
-- earlier beat than it has written, knows more than the database does: that is an older copy.
CREATE TABLE callgate.left_replicas (
    id   text PRIMARY KEY,
    beat bigint NOT NULL,
    at   timestamptz NOT NULL DEFAULT now()
);

CREATE OR REPLACE FUNCTION callgate.leave(whom text, its_beat text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (DELETE FROM callgate.replicas WHERE id = whom AND (its_beat IS NULL OR beat = its_beat::bigint)
            RETURNING id, beat)
        INSERT INTO callgate.left_replicas (id, beat) SELECT id, beat FROM gone ON CONFLICT (id) DO NOTHING;
    DELETE FROM callgate.left_replicas WHERE at < now() - interval '30 days';
    RETURN '';
END $$;

-- The beat at which a replica has left; empty if nothing is known of that.
CREATE FUNCTION callgate.left_at(whom text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT beat::text FROM callgate.left_replicas WHERE id = whom), '')
$$;

-- As before, with the beat at which the replica itself stands.
CREATE OR REPLACE FUNCTION callgate.poll(me text, applied_revision text, applied_facts text, is_beat text, digest text,
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
    RETURN (answer || jsonb_build_object('now', here, 'beat', (SELECT beat FROM callgate.replicas WHERE id = me)))::text;
END $$;
