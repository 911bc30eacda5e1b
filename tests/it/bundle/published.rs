//! Bundles as revisions of the store: published, rolled back and listed, on one server and on several.

use std::fs;
use std::time::Instant;

use serde_json::Value as Json;

use crate::bundle::archives::put_keys;
use crate::support::postgres::Cluster;
use crate::support::process::{Bundle, Server, wait_for};

const GOVERNING: &str = "@id(\"publishers\") permit (principal == Mcp::User::\"alice\", action == Mcp::Action::\"publish_bundle\", resource);\n";
const STOP: &str =
    "@id(\"stop\") forbid (principal, action in Mcp::Action::\"call_tool\", resource);\n";

/// A server's folder whose directory is its first bundle.
fn first(config: &str) -> Bundle {
    let bundle = Bundle::notes();
    bundle.file("governing.cedar", GOVERNING);
    bundle.file(
        "callgate.toml",
        &format!("[bundle]\npublished = true\n{config}"),
    );
    put_keys(bundle.folder());
    bundle
}

/// What is published: the same with another policy.
fn next() -> Bundle {
    let bundle = Bundle::notes();
    bundle.file("governing.cedar", GOVERNING);
    bundle.file("stop.cedar", STOP);
    put_keys(bundle.folder());
    bundle
}

struct Desk<'a> {
    folder: &'a Bundle,
    server: &'a Server,
}

impl Desk<'_> {
    /// What a command prints, that ends with this code.
    fn says(&self, code: i32, args: &str) -> String {
        let endpoint = format!("http://{}", self.server.target());
        let mut args: Vec<&str> = args.split(' ').collect();
        args.extend(["--endpoint", &endpoint]);
        let ran = self.folder.run(&args);
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(
            ran.status.code(),
            Some(code),
            "{args:?}: {said}\n{}",
            self.server.log()
        );
        said
    }

    fn json(&self, args: &str) -> Json {
        serde_json::from_str(&self.says(0, &format!("{args} --output json"))).unwrap()
    }

    fn allows(&self, is_allowed: bool) {
        let code = if is_allowed { 0 } else { 2 };
        self.says(
            code,
            "authorize --agent helper --server notes --tool list_notes",
        );
    }
}

#[test]
fn a_bundle_is_published_rolled_back_listed_and_there_after_a_restart() {
    let place = first("public_key_files = \"../bundle.pub\"\n");
    let other = next();
    let server = Server::start(&place, &[]);
    let desk = Desk {
        folder: &other,
        server: &server,
    };
    desk.allows(true);
    let said = desk.says(2, "publish --as user:bob --version 5 --sign bundle.key");
    assert!(said.contains("NO_PERMIT"), "{said}");
    let said = desk.says(1, "publish --as user:alice --version 5");
    assert!(said.contains("it is not signed"), "{said}");
    desk.allows(true);

    let made = desk.json("publish --as user:alice --version 5 --sign bundle.key");
    assert_eq!(
        (&made["revision"], &made["bundle"]["version"]),
        (&"2".into(), &"5".into()),
        "{made}"
    );
    desk.allows(false);
    for version in [4, 5] {
        let said = desk.says(
            1,
            &format!("publish --as user:alice --version {version} --sign bundle.key"),
        );
        assert!(
            said.contains(if version == 4 {
                "an older bundle"
            } else {
                "in service already"
            }),
            "{said}"
        );
    }
    // The directory that it started with is not looked at any more.
    place.file("stop.cedar", "permit (principal, action");
    fs::remove_file(other.policies().join("stop.cedar")).unwrap();
    desk.says(0, "publish --as user:alice --version 6 --sign bundle.key");
    desk.allows(true);
    desk.says(0, "rollback 2 --as user:alice");
    desk.allows(false);
    let said = desk.says(1, "rollback 1 --as user:alice");
    assert!(said.contains("no published bundle of revision 1"), "{said}");
    let said = desk.says(1, "publish --as user:alice --version 6 --sign bundle.key");
    assert!(said.contains("version 6 was published"), "{said}");
    let listed = desk.json("bundles");
    let listed: Vec<_> = listed["bundles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["revision"].as_str().unwrap().to_owned(),
                it["bundle"]["version"].as_str().unwrap().to_owned(),
                it["inService"] == true,
            )
        })
        .collect();
    let expected = [("4", "5", true), ("3", "6", false), ("2", "5", true)];
    let expected: Vec<_> = expected
        .iter()
        .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), *c))
        .collect();
    assert_eq!(listed, expected);
    let said = desk.says(0, "bundles");
    assert!(
        said.contains("version 5  by Mcp::User::\"alice\""),
        "{said}"
    );
    drop(server);

    let server = Server::start(&place, &[]);
    let desk = Desk {
        folder: &other,
        server: &server,
    };
    desk.allows(false);
    // Callers and limits are still those of the configuration.
    place.file("callgate.toml", "[bundle]\npublished = true\npublic_key_files = \"../bundle.pub\"\n[limits]\nid_bytes = 17\n");
    server.signal("-HUP");
    wait_for("the new limit", || {
        let long = "authorize --agent helper --server notes --tool a-name-that-is-too-long-for-it";
        let endpoint = format!("http://{}", server.target());
        let mut args: Vec<&str> = long.split(' ').collect();
        args.extend(["--endpoint", &endpoint]);
        (other.run(&args).status.code() == Some(1)).then_some(())
    });
}

#[test]
fn a_repeated_rollback_is_answered_as_at_first_also_where_nothing_of_it_is_kept() {
    let place = first("");
    let other = next();
    let server = Server::start(&place, &[]);
    let desk = Desk {
        folder: &other,
        server: &server,
    };
    desk.says(0, "publish --as user:alice --version 5");
    fs::remove_file(other.policies().join("stop.cedar")).unwrap();
    desk.says(0, "publish --as user:alice --version 6");
    let rollback = "rollback 2 --as user:alice --key k-1";
    let made = desk.json(rollback);
    assert_eq!(made["bundle"]["backToRevision"], "2", "{made}");
    desk.says(0, "rollback 3 --as user:alice");
    let store = place.folder().join("callgate.db");
    server.stop();
    // As after fifty more: neither the revision that it went back to is kept, nor its own.
    let database = rusqlite::Connection::open(store).unwrap();
    let pruned = database.execute("DELETE FROM published WHERE revision IN (2, 4)", []);
    assert_eq!(pruned.unwrap(), 2);
    drop(database);
    let server = Server::start(&place, &[]);
    let desk = Desk {
        folder: &other,
        server: &server,
    };
    assert_eq!(desk.json(rollback), made);
    // Of another request under the key nothing is told, and a new one finds nothing.
    let said = desk.says(1, "rollback 3 --as user:alice --key k-1");
    assert!(said.contains("was used for another request"), "{said}");
    let said = desk.says(1, "rollback 2 --as user:alice --key k-2");
    assert!(said.contains("no published bundle of revision 2"), "{said}");
}

#[test]
fn a_bundle_that_does_not_compile_or_that_nobody_expects_is_refused() {
    let place = first("");
    let server = Server::start(&place, &[]);
    let other = next();
    let desk = Desk {
        folder: &other,
        server: &server,
    };
    other.file("more.cedar", "permit (principal, action");
    desk.says(3, "publish --as user:alice");
    // An archive that was packed elsewhere, for a schema that is not there.
    other.file(
        "more.cedar",
        "@id(\"m\") permit (principal, action, resource) when { principal has nick };",
    );
    let said = desk.says(3, "publish --as user:alice");
    assert!(said.contains("more.cedar"), "{said}");
    fs::write(other.folder().join("no.tar.zst"), "nothing").unwrap();
    let said = desk.says(1, "publish no.tar.zst --as user:alice");
    assert!(
        said.contains("`archive` bundle: it is no archive"),
        "{said}"
    );
    drop(server);

    let unset = Bundle::notes();
    unset.file("governing.cedar", GOVERNING);
    fs::remove_file(other.policies().join("more.cedar")).unwrap();
    let server = Server::start(&unset, &[]);
    let desk = Desk {
        folder: &other,
        server: &server,
    };
    let said = desk.says(1, "publish --as user:alice");
    assert!(said.contains("`[bundle] published = true`"), "{said}");
}

/// Three servers: once the publication is acknowledged, every one decides by it, and none was without an answer meanwhile.
#[test]
#[ignore = "needs PostgreSQL"]
fn every_replica_switches_at_the_same_revision() {
    let cluster = Cluster::start();
    cluster.create("published");
    let config = format!("[state]\nurl = \"{}\"\n", cluster.url("published"));
    let places = [first(&config), first(&config), first(&config)];
    let servers: Vec<Server> = places
        .iter()
        .map(|place| Server::start(place, &[]))
        .collect();
    let other = next();
    let desks: Vec<Desk<'_>> = servers
        .iter()
        .map(|server| Desk {
            folder: &other,
            server,
        })
        .collect();
    for desk in &desks {
        desk.allows(true);
    }
    let begun = Instant::now();
    let made = desks[0].json("publish --as user:alice --version 5");
    println!("published to three replicas in {:?}", begun.elapsed());
    let revision: u64 = made["revision"].as_str().unwrap().parse().unwrap();
    for desk in &desks {
        desk.allows(false);
        let listed = desk.json("bundles");
        assert_eq!(
            listed["bundles"][0]["revision"],
            revision.to_string(),
            "{listed}"
        );
    }
    // Another server takes over, publishes the next one and goes back again; a server that comes later is where they are.
    fs::remove_file(other.policies().join("stop.cedar")).unwrap();
    desks[1].says(0, "publish --as user:alice --version 6");
    for desk in &desks {
        desk.allows(true);
    }
    desks[2].says(0, &format!("rollback {revision} --as user:alice"));
    for desk in &desks {
        desk.allows(false);
    }
    let late = first(&config);
    let server = Server::start(&late, &[]);
    Desk {
        folder: &other,
        server: &server,
    }
    .allows(false);
    for server in &servers {
        assert!(
            !server.log().contains("is not confirmed"),
            "{}",
            server.log()
        );
    }
}

/// A server to which no bundles are published would not follow: nothing is published beside it.
#[test]
#[ignore = "needs PostgreSQL"]
fn nothing_is_published_beside_a_replica_that_would_not_follow() {
    let cluster = Cluster::start();
    cluster.create("beside");
    let state = format!("[state]\nurl = \"{}\"\n", cluster.url("beside"));
    let place = first(&state);
    let unset = first("");
    unset.file("callgate.toml", &state);
    let servers = [Server::start(&place, &[]), Server::start(&unset, &[])];
    let other = next();
    let desk = Desk {
        folder: &other,
        server: &servers[0],
    };
    let said = desk.says(1, "publish --as user:alice --wait 10s");
    assert!(said.contains("or cannot compile the bundle"), "{said}");
    desk.allows(true);
}
