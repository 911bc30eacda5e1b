//! What a replica makes of its database: of its clock, of one that holds nothing any more, and how it appears in it.

use std::time::Duration;

use callgate::proto::v1;
use tonic::Code;

use crate::fleet::proxy::{Link, Proxy};
use crate::store::crash::company::{
    Doors, actor, agent, in_session, is_allow, moment_in, scope, user, why,
};
use crate::support::postgres::Cluster;
use crate::support::process::{Bundle, Server, wait_for};
use crate::support::worlds;

const SERVE: [&str; 6] = [
    "serve",
    "--without-callers",
    "--listen",
    "127.0.0.1:0",
    "--http",
    "127.0.0.1:0",
];

fn replica(cluster: &Cluster, database: &str, name: &str) -> Bundle {
    replica_at(&cluster.url(database), name)
}

fn replica_at(url: &str, name: &str) -> Bundle {
    let config = format!("[state]\nurl = \"{url}\"\nreplica = \"{name}\"\n");
    Bundle::of(&worlds::office().config(&config))
}

/// Puts a copy of a database aside, while nobody is connected to it.
fn copy(cluster: &Cluster, database: &str, to: &str) {
    for sql in [
        format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"),
        end_connections(database),
        format!("CREATE DATABASE {to} TEMPLATE {database}"),
        format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
    ] {
        cluster.query(&sql).unwrap();
    }
}

/// Puts a copy in the place of a database.
fn put_back(cluster: &Cluster, database: &str, copy: &str) {
    for sql in [
        format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"),
        end_connections(database),
        format!("ALTER DATABASE {database} RENAME TO {database}_of_before"),
        format!("ALTER DATABASE {copy} RENAME TO {database}"),
    ] {
        cluster.query(&sql).unwrap();
    }
}

fn end_connections(database: &str) -> String {
    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
}

async fn stop(doors: &Doors, uid: v1::EntityRef) {
    let request = v1::StopEntityRequest {
        actor: actor(user("ana")),
        uid: Some(uid),
        reason: "leaks".to_owned(),
        ..Default::default()
    };
    doors.control.clone().stop_entity(request).await.unwrap();
}

/// A start that has to be refused, and what it says.
fn refused(bundle: &Bundle, more: &[&str]) -> String {
    let output = bundle.run(&[&SERVE[..], more].concat());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

async fn status_of(server: &Server) -> v1::GetStatusResponse {
    let mut control = Doors::of(server).await.control;
    let answer = control.get_status(v1::GetStatusRequest {}).await;
    answer.unwrap().into_inner()
}

/// Waits until a call is decided as wanted.
async fn until(doors: &Doors, what: &str, wanted: impl Fn(&v1::AuthorizeResponse) -> bool) {
    for _ in 0..200 {
        let answer = doors.decide(in_session("mail/list", "any")).await;
        if answer.is_ok_and(|it| wanted(&it)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}");
}

fn is_stale(answer: &v1::AuthorizeResponse) -> bool {
    !is_allow(answer) && why(answer) == v1::ReasonCode::Stale
}

/// Sets the clock of the database ahead by so many seconds: to the database, every replica's is behind by them.
fn set_clock(cluster: &Cluster, database: &str, seconds: i64) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION callgate.wall_clock() RETURNS bigint LANGUAGE sql VOLATILE AS
         $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + {seconds} * 1000::bigint $$"
    );
    cluster.query_in(database, &sql).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn where_the_clocks_differ_nothing_is_decided_given_forgotten_or_written_down() {
    let cluster = Cluster::start();
    cluster.create("clocks");
    let bundle = replica(&cluster, "clocks", "one");
    let server = tokio::task::block_in_place(|| Server::start(&bundle, &[]));
    let doors = Doors::of(&server).await;
    until(&doors, "it decides", is_allow).await;
    let grant = || v1::GrantDelegationRequest {
        actor: actor(user("ana")),
        to: Some(agent("one")),
        scope: Some(scope(&["mail/list"], v1::AccessLevel::Read)),
        expires_at: Some(moment_in(3_600)),
        ..Default::default()
    };
    let mut control = doors.control.clone();
    control.grant_delegation(grant()).await.unwrap();
    for (seconds, how) in [(-3 * 3_600, "ahead of"), (9 * 86_400, "behind")] {
        set_clock(&cluster, "clocks", seconds);
        until(&doors, how, is_stale).await;
        let status = status_of(&server).await;
        assert!(status.clock_fault.contains(how), "{status:?}");
        assert!(status.store_fault.contains(how), "{status:?}");
        let error = control.grant_delegation(grant()).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
        assert!(error.message().contains(how), "{error:?}");
        // What takes something away still does.
        let ended = v1::EndSessionRequest {
            actor: actor(user("ana")),
            session_id: format!("ended {how}"),
            ..Default::default()
        };
        control.end_session(ended).await.unwrap();
        let listed = bundle.run(&["fleet", "status", "policies"]);
        let said = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(listed.status.code(), Some(1), "{said}");
        assert!(said.contains("THE DATABASE'S"), "{said}");
        let other = replica(&cluster, "clocks", "two");
        let said = refused(&other, &[]);
        assert!(said.contains(how), "{said}");
        let members = "SELECT count(*) FROM callgate.replicas";
        assert_eq!(cluster.query_in("clocks", members).unwrap(), "1", "{how}");
        set_clock(&cluster, "clocks", 0);
        until(&doors, "they agree again", is_allow).await;
        assert_eq!(status_of(&server).await.clock_fault, "");
    }
    // What a server of an older version sends: it believes its own clock.
    let future = "(callgate.wall_clock() + 86400000)::text";
    let clock = format!(
        "SELECT callgate.commit((SELECT id FROM callgate.replicas), {future}, '[]');
         SELECT (clock <= callgate.latest_moment())::text FROM callgate.head"
    );
    let said = cluster.query_in("clocks", &clock).unwrap();
    assert_eq!(said.lines().last(), Some("true"), "{said}");
    let prune = format!("SELECT callgate.prune('0', '0', {future}, '0', '10')");
    let said = cluster.query_in("clocks", &prune).unwrap_err();
    assert!(said.contains("nothing is removed"), "{said}");
    let kept = cluster.query_in("clocks", "SELECT count(*) FROM callgate.grants");
    assert_eq!(kept.unwrap(), "1");
}

/// A watch goes on at another replica from a revision that this one may have yet to apply.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn a_watch_goes_on_at_a_replica_that_has_to_catch_up() {
    let cluster = Cluster::start();
    cluster.create("watches");
    let (one, two) = (
        replica(&cluster, "watches", "one"),
        replica(&cluster, "watches", "two"),
    );
    let started = |bundle| tokio::task::block_in_place(|| Server::start(bundle, &[]));
    let (one, two) = (started(&one), started(&two));
    let (mut one, mut two) = (Doors::of(&one).await.control, Doors::of(&two).await.control);
    let mut newest = 0;
    for number in 0..20 {
        let ended = v1::EndSessionRequest {
            actor: actor(user("ana")),
            session_id: format!("{number}"),
            ..Default::default()
        };
        let granted = v1::GrantDelegationRequest {
            actor: actor(user("ana")),
            to: Some(agent("one")),
            scope: Some(scope(&["mail/list"], v1::AccessLevel::Read)),
            expires_at: Some(moment_in(3_600)),
            ..Default::default()
        };
        // What gives is acknowledged before every replica knows of it.
        let granted = one.grant_delegation(granted).await.unwrap().into_inner();
        newest = granted.revision;
        let after_revision = newest;
        let request = v1::WatchChangesRequest { after_revision };
        let mut told = two.watch_changes(request).await.unwrap().into_inner();
        newest = one.end_session(ended).await.unwrap().into_inner().revision;
        let next = told.message().await.unwrap().unwrap();
        assert_eq!(next.revision, newest, "{number}");
    }
    let after_revision = newest + 1_000;
    let nowhere = v1::WatchChangesRequest { after_revision };
    let error = two.watch_changes(nowhere).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn a_time_in_the_database_that_has_not_come_is_not_believed() {
    let cluster = Cluster::start();
    cluster.create("future");
    let bundle = replica(&cluster, "future", "one");
    drop(tokio::task::block_in_place(|| Server::start(&bundle, &[])));
    let wrong = "UPDATE callgate.head SET clock = callgate.wall_clock() + 9 * 86400000::bigint";
    cluster.query_in("future", wrong).unwrap();
    let server = tokio::task::block_in_place(|| Server::start(&bundle, &[]));
    assert!(server.log().contains("has not come"), "{}", server.log());
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(status_of(&server).await.clock_fault, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn an_emptied_database_is_no_beginning_to_who_has_decided_from_it() {
    let cluster = Cluster::start();
    cluster.create("emptied");
    let bundles = ["one", "two"].map(|name| replica(&cluster, "emptied", name));
    let [one, two] = bundles
        .each_ref()
        .map(|bundle| tokio::task::block_in_place(|| Server::start(bundle, &[])));
    let said = [one.log(), two.log()];
    let begun = said.iter().filter(|it| it.contains("a new one begins"));
    assert_eq!(begun.count(), 1, "{said:?}");
    let doors = Doors::of(&one).await;
    until(&doors, "it decides", is_allow).await;
    cluster
        .query_in("emptied", "DROP SCHEMA callgate CASCADE")
        .unwrap();
    until(&doors, "nothing is there", is_stale).await;
    drop(two);
    let said = refused(&bundles[1], &[]);
    assert!(
        said.contains("it is empty, and this replica has decided"),
        "{said}"
    );
    assert!(said.contains("--new-store"), "{said}");
    // Somebody who has known none begins one: the other does not take it for its own.
    let third = replica(&cluster, "emptied", "three");
    let third = tokio::task::block_in_place(|| Server::start(&third, &[]));
    let said = refused(&bundles[1], &[]);
    assert!(said.contains("it holds another store"), "{said}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    until(&doors, "it is another store", is_stale).await;
    assert!(
        one.log().contains("the database holds another store"),
        "{}",
        one.log()
    );
    let members = "SELECT count(*) FROM callgate.replicas";
    assert_eq!(cluster.query_in("emptied", members).unwrap(), "1");
    drop((one, third));
    // Said once, it is the store that this replica knows.
    let mut begun = std::process::Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args([&SERVE[..], &["--new-store"]].concat())
        .current_dir(bundles[1].folder())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("a member", || {
        let two = "SELECT count(*) FROM callgate.replicas WHERE name = 'two' AND revision > 0";
        (cluster.query_in("emptied", two).unwrap() == "1").then_some(())
    });
    begun.kill().unwrap();
    begun.wait().unwrap();
    drop(tokio::task::block_in_place(|| {
        Server::start(&bundles[1], &[])
    }));
}

/// What others have changed in an older copy has the numbers of what a replica knows. It is not taken for the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn an_older_copy_is_noticed_also_once_others_have_come_further_in_it() {
    for is_taken_for_dead in [true, false] {
        let cluster = Cluster::start();
        cluster.create("kept");
        let link = Proxy::before(cluster.port());
        let url = format!("postgres://callgate@127.0.0.1:{}/kept", link.port());
        let first = replica_at(&url, "first");
        let one = tokio::task::block_in_place(|| Server::start(&first, &[]));
        let at_one = Doors::of(&one).await;
        until(&at_one, "it decides", is_allow).await;
        copy(&cluster, "kept", "older");
        until(&at_one, "it is confirmed again", is_allow).await;
        stop(&at_one, user("bob")).await;
        link.set(Link::Cut);
        put_back(&cluster, "kept", "older");
        if !is_taken_for_dead {
            let sql = "UPDATE callgate.replicas SET staleness_ms = 60000";
            cluster.query_in("kept", sql).unwrap();
        }
        let second = replica(&cluster, "kept", "second");
        let two = tokio::task::block_in_place(|| Server::start(&second, &[]));
        let at_two = Doors::of(&two).await;
        until(&at_two, "it decides", is_allow).await;
        // The calls of `until` are this agent's.
        let stopping = tokio::spawn(async move {
            stop(&at_two, agent("one")).await;
            stop(&at_two, agent("two")).await;
            stop(&at_two, agent("three")).await;
        });
        if is_taken_for_dead {
            stopping.await.unwrap();
            link.set(Link::Whole);
        } else {
            // The first of them waits for the one that is away.
            tokio::time::sleep(Duration::from_millis(500)).await;
            link.set(Link::Whole);
            stopping.await.unwrap();
        }
        let is_stopped = |answer: &v1::AuthorizeResponse| {
            !is_allow(answer) && why(answer) == v1::ReasonCode::Stopped
        };
        until(
            &at_one,
            "what is stopped in the copy is stopped",
            is_stopped,
        )
        .await;
        for log in [one.log(), two.log()] {
            assert!(log.contains("holds an older state than before"), "{log}");
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_start_that_fails_is_in_no_list() {
    let cluster = Cluster::start();
    cluster.create("failing");
    let bundle = replica(&cluster, "failing", "one");
    let _server = Server::start(&bundle, &[]);
    let members = || {
        let sql = "SELECT string_agg(name, ' ') FROM callgate.replicas";
        cluster.query_in("failing", sql).unwrap()
    };
    assert_eq!(members(), "one");
    // Its decision log belongs to the other one.
    let said = refused(&bundle, &["--replica", "two"]);
    assert!(said.contains("audit"), "{said}");
    assert_eq!(members(), "one");
    // What fails later: an entity in the store that is none.
    let wrong = "INSERT INTO callgate.entities VALUES ('Mcp::User', 'x', 'nothing')";
    cluster.query_in("failing", wrong).unwrap();
    refused(&replica(&cluster, "failing", "three"), &[]);
    assert_eq!(members(), "one");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn the_published_bundle_is_the_one_in_service_and_two_of_one_name_are_told() {
    let cluster = Cluster::start();
    cluster.create("listed");
    let bundle = replica(&cluster, "listed", "one");
    let _server = Server::start(&bundle, &[]);
    let published = "INSERT INTO callgate.published (revision, at, verb, caller, bundle, body)
        VALUES (7, 0, 'PublishBundle', 'x', 'x', '{\"digest\": \"sha256:published\"}');
        INSERT INTO callgate.replicas (id, name, version, staleness_ms, revision, facts, bundle_digest)
        VALUES ('twin', 'one', '0', 2000, 1, 0, 'sha256:published')";
    cluster.query_in("listed", published).unwrap();
    let listed = bundle.run(&["fleet", "status", "policies"]);
    let said = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.status.code(), Some(1), "{said}");
    assert!(
        said.contains("bundle    sha256:published\ndatabase"),
        "{said}"
    );
    assert_eq!(
        said.matches("NOT THE ONE PUT INTO SERVICE LAST").count(),
        1,
        "{said}"
    );
    assert_eq!(
        said.matches("ANOTHER ONE HAS THIS NAME").count(),
        2,
        "{said}"
    );
}

#[test]
fn a_file_on_the_command_line_is_not_taken_in_the_place_of_a_database() {
    let config = "[state]\nurl = \"postgres://callgate@127.0.0.1:1/callgate\"\n";
    let bundle = Bundle::of(&worlds::office().config(config));
    let said = refused(&bundle, &["--state", "own.db"]);
    assert!(
        said.contains("`--state own.db` names a file, and `[state] url`"),
        "{said}"
    );
    assert!(!bundle.folder().join("own.db").exists());
    for url in [
        "mysql://callgate@localhost/callgate",
        "postgres:/localhost/callgate",
    ] {
        let said = refused(&bundle, &["--state", url]);
        assert!(said.contains("does not begin with `postgres://`"), "{said}");
    }
    let asked = bundle.run(&["fleet", "status", "--state", "own.db"]);
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(said.contains("does not begin with `postgres://`"), "{said}");
}

#[test]
fn a_store_whose_marker_is_gone_is_told() {
    let bundle = Bundle::of(&worlds::office());
    let log = Server::start(&bundle, &[]).stop().1;
    assert!(!log.contains("the marker of the store is gone"), "{log}");
    std::fs::remove_file(bundle.folder().join("callgate.db.id")).unwrap();
    let log = Server::start(&bundle, &[]).stop().1;
    assert!(log.contains("the marker of the store is gone"), "{log}");
}
