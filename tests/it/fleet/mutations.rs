//! Weaker protocols: what is changed in the database's functions, and what that breaks.

use std::time::Duration;

use crate::support::postgres::Cluster;

/// A weaker protocol.
pub struct Mutation {
    pub what: &'static str,
    /// What is made in the database first.
    before: &'static str,
    /// Functions, and the text in them that is replaced by another one.
    changes: &'static [(&'static str, &'static str, &'static str)],
    /// How long faults are made, and how long one of them lasts at most, if it takes other than the usual ones.
    pub faults: Option<(Duration, Duration)>,
}

impl Mutation {
    const fn of_one(
        what: &'static str,
        changes: &'static [(&'static str, &'static str, &'static str)],
    ) -> Self {
        Self {
            what,
            before: "SELECT 1",
            changes,
            faults: None,
        }
    }

    /// Changes the functions of a database that is migrated.
    pub fn apply(&self, cluster: &Cluster, database: &str) {
        cluster.query_in(database, self.before).unwrap();
        for (function, from, to) in self.changes {
            let definition =
                format!("SELECT pg_get_functiondef('callgate.{function}'::regprocedure)");
            let text = cluster.query_in(database, &definition).unwrap();
            assert!(text.contains(from), "{text}");
            let text = text.replace(from, to);
            cluster.query_in(database, &text).unwrap();
        }
    }
}

const COMMIT: &str = "commit(text,text,text)";
const POLL: &str = "poll(text,text,text,text,text)";
const HEAD_READ: &str = "SELECT * INTO reached FROM callgate.head;\n    IF is_beat";

pub const ALL: [Mutation; 7] = [
    Mutation::of_one(
        "the leases of others are not waited for",
        &[(POLL, "WHERE id <> me)", "WHERE false)")],
    ),
    Mutation::of_one(
        "a budget is taken whatever is left",
        &[(
            "take_budget(bigint,jsonb)",
            "(w->>'most')::bigint",
            "1000000",
        )],
    ),
    Mutation::of_one(
        "an approval is taken however often it was used",
        &[(
            "take_approval(bigint,jsonb)",
            "(w->>'most')::bigint",
            "1000000",
        )],
    ),
    Mutation::of_one(
        "a session is taken from whoever has it",
        &[(
            "acquire(text,text,text)",
            "IF known.owner IS DISTINCT FROM me AND",
            "IF false AND",
        )],
    ),
    // Another change has the revision, and the key is taken for that of one that was made.
    Mutation::of_one(
        "what comes too late under a key is said to be made",
        &[(
            "write_entry_of_any_change(text,jsonb)",
            "PERFORM callgate.refuse('CG001'",
            "IF w->>'key_text' IS NOT NULL THEN
            RETURN;
        END IF;
        PERFORM callgate.refuse('CG001'",
        )],
    ),
    // A number is given before its change is there, and not under the lock on the head. As numbers that were given and not
    // used leave gaps, a gap is taken for one of those: it is filled with a change of nothing. A replica that asks in between
    // has gone on when the change comes. Its own changes a replica waits for.
    Mutation {
        what: "revisions are taken from a sequence",
        before: r#"
CREATE SEQUENCE callgate.revisions MINVALUE 0;
SELECT setval('callgate.revisions', (SELECT revision FROM callgate.head));
CREATE FUNCTION callgate.given() RETURNS bigint LANGUAGE sql AS 'SELECT last_value FROM callgate.revisions';
CREATE FUNCTION callgate.give(wanted bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    number bigint := callgate.given();
BEGIN
    IF wanted = number + 1 THEN
        number := nextval('callgate.revisions');
        IF number = wanted THEN
            RETURN number;
        END IF;
    END IF;
    PERFORM callgate.refuse('CG001', 'this revision does not follow',
        jsonb_build_object('last', number, 'found', wanted)::text);
END $$;
CREATE FUNCTION callgate.entries_or_nothing(known bigint, upto bigint) RETURNS jsonb LANGUAGE sql AS $$
    SELECT coalesce(jsonb_agg(coalesce(to_jsonb(each), jsonb_build_object('revision', number, 'at', 0, 'verb', 'Nothing',
        'caller', 'callgate', 'change', '{"session_ended":{"session":"nothing"}}', 'id', '')) ORDER BY number), '[]')
    FROM generate_series(known + 1, upto) AS number LEFT JOIN callgate.change_log AS each ON each.revision = number
$$"#,
        changes: &[
            (
                COMMIT,
                "SELECT * INTO reached FROM callgate.head FOR UPDATE;",
                "PERFORM pg_advisory_xact_lock(hashtext(me));
    SELECT * INTO reached FROM callgate.head;",
            ),
            // Facts are numbered as before.
            (
                COMMIT,
                "fact_number := fact_number + 1;\n        UPDATE callgate.head SET facts = fact_number;",
                "UPDATE callgate.head SET facts = facts + 1 RETURNING facts INTO fact_number;",
            ),
            (
                "write_entry_of_any_change(text,jsonb)",
                "SELECT revision INTO reached FROM callgate.head;",
                "reached := callgate.give((w->>'revision')::bigint) - 1;",
            ),
            (
                "write_entry_of_any_change(text,jsonb)",
                "UPDATE callgate.head SET revision = reached + 1;",
                "",
            ),
            (
                COMMIT,
                "    IF at::bigint > coalesce(reached.clock, -1) THEN",
                "    UPDATE callgate.head SET revision = greatest(revision, (SELECT max(revision) FROM callgate.change_log))
    WHERE writes::jsonb @> '[{\"k\": \"entry\"}]';
    IF at::bigint > coalesce(reached.clock, -1) THEN",
            ),
            (
                POLL,
                HEAD_READ,
                "PERFORM pg_advisory_xact_lock(hashtext(me));
    SELECT * INTO reached FROM callgate.head;
    reached.revision := callgate.given();
    IF is_beat",
            ),
            (
                POLL,
                "callgate.entries_after(applied_revision::bigint, 1000)",
                "callgate.entries_or_nothing(applied_revision::bigint, reached.revision)",
            ),
        ],
        faults: None,
    },
    // A commit tells the sessions that listen. A session listens from its first question on, and what it is told is lost with
    // it. To a replica that has not been told of a revision there is none.
    Mutation {
        what: "notifications are trusted",
        before: "
CREATE TABLE callgate.listening (replica text PRIMARY KEY, backend int NOT NULL, is_told boolean NOT NULL);
CREATE FUNCTION callgate.is_told(me text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    told boolean;
BEGIN
    SELECT is_told INTO told FROM callgate.listening WHERE replica = me AND backend = pg_backend_pid() FOR UPDATE;
    INSERT INTO callgate.listening VALUES (me, pg_backend_pid(), false)
    ON CONFLICT (replica) DO UPDATE SET backend = excluded.backend, is_told = false;
    RETURN coalesce(told, false);
END $$",
        changes: &[
            (
                COMMIT,
                "    IF at::bigint > coalesce(reached.clock, -1) THEN",
                "    UPDATE callgate.listening SET is_told = true WHERE writes::jsonb @> '[{\"k\": \"entry\"}]';
    IF at::bigint > coalesce(reached.clock, -1) THEN",
            ),
            (
                POLL,
                HEAD_READ,
                "IF callgate.is_told(me) THEN
        SELECT * INTO reached FROM callgate.head;
    ELSE
        SELECT * INTO reached FROM callgate.head;
        reached.revision := applied_revision::bigint;
    END IF;
    IF is_beat",
            ),
        ],
        // A replica that was away for longer than its lease, so that a change was acknowledged without it, is asked again.
        faults: Some((Duration::from_secs(9), Duration::from_secs(4))),
    },
];
