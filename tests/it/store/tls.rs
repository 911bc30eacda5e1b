//! PostgreSQL over TLS: what is checked of the server, and what proves the replica.

use std::path::Path;

use callgate::store::postgres::PostgresStore;

use crate::grpc::certificates::Authority;
use crate::support::postgres::{Cluster, Encrypted};

/// Who may connect how: administrators of the test as they like, to one database by certificate, to one by password,
/// and to none of the two without TLS.
const ACCESS: &str = "\
host    postgres     callgate 127.0.0.1/32 trust
hostssl by_cert      callgate 127.0.0.1/32 cert
hostssl by_password  callgate 127.0.0.1/32 scram-sha-256
";

struct World {
    cluster: Cluster,
    files: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let (ours, theirs) = (Authority::new(), Authority::new());
        let (certificate, key) = ours.server();
        let cluster = Cluster::encrypted(&Encrypted {
            certificate: &certificate,
            key: &key,
            clients: &ours.pem(),
            access: ACCESS,
        });
        let (replica, stranger) = (ours.named("callgate"), theirs.named("callgate"));
        for (name, text) in [
            ("ca.pem", &ours.pem()),
            ("other-ca.pem", &theirs.pem()),
            ("replica.pem", &replica.0),
            ("replica.key", &replica.1),
            ("somebody.pem", &ours.named("somebody").0),
            ("stranger.pem", &stranger.0),
            ("stranger.key", &stranger.1),
        ] {
            std::fs::write(files.path().join(name), text).expect("a file");
        }
        std::fs::write(files.path().join("password"), "secret\n").expect("a file");
        std::fs::write(files.path().join("wrong-password"), "Secret\n").expect("a file");
        for database in ["by_cert", "by_password"] {
            cluster.create(database);
        }
        let set = "ALTER ROLE callgate PASSWORD 'secret'";
        cluster.query(set).expect("a password");
        Self { cluster, files }
    }

    fn open(&self, host: &str, rest: &str, password: Option<&str>) -> Result<(), String> {
        let url = format!("postgres://callgate@{host}:{}/{rest}", self.cluster.port());
        let opened = PostgresStore::open(&url, self.files.path(), password.map(Path::new));
        opened.map(drop).map_err(|error| error.to_string())
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_database_over_tls_is_who_it_says_and_knows_its_replica() {
    let world = World::start();
    let by_password = |rest: &str| {
        let rest = format!("by_password?{rest}");
        world.open("localhost", &rest, Some("password"))
    };
    let by_cert = |rest: &str| world.open("localhost", &format!("by_cert?{rest}"), None);
    for mode in [
        "",
        "&sslmode=require",
        "&sslmode=verify-full",
        "&sslmode=prefer",
    ] {
        let opened = by_password(&format!("sslrootcert=ca.pem{mode}"));
        assert_eq!(opened, Ok(()), "{mode}");
    }
    let replica = "sslrootcert=ca.pem&sslcert=replica.pem&sslkey=replica.key";
    assert_eq!(by_cert(replica), Ok(()));

    let refused = [
        (
            "no TLS",
            by_password("sslmode=disable"),
            "no pg_hba.conf entry",
        ),
        (
            "another authority",
            by_password("sslrootcert=other-ca.pem"),
            "certificate",
        ),
        (
            "another name",
            world.open(
                "127.0.0.1",
                "by_password?sslrootcert=ca.pem",
                Some("password"),
            ),
            "certificate",
        ),
        (
            "a wrong password",
            world.open(
                "localhost",
                "by_password?sslrootcert=ca.pem",
                Some("wrong-password"),
            ),
            "password",
        ),
        (
            "no certificate",
            by_cert("sslrootcert=ca.pem"),
            "certificate",
        ),
        (
            "a certificate of another authority",
            by_cert("sslrootcert=ca.pem&sslcert=stranger.pem&sslkey=stranger.key"),
            "",
        ),
        (
            "a key of another certificate",
            by_cert("sslrootcert=ca.pem&sslcert=somebody.pem&sslkey=replica.key"),
            "sslcert",
        ),
        (
            "a certificate without its key",
            by_cert("sslrootcert=ca.pem&sslcert=replica.pem"),
            "go together",
        ),
    ];
    for (what, opened, why) in refused {
        let said = opened.expect_err(what);
        assert!(said.contains(why), "{what}: {said}");
        assert!(!said.contains("secret"), "{what}: {said}");
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_database_without_tls_is_not_used_where_tls_is_demanded() {
    let files = tempfile::tempdir().expect("a folder");
    std::fs::write(files.path().join("ca.pem"), Authority::new().pem()).expect("a file");
    let cluster = Cluster::start();
    let url = |rest: &str| format!("{}?{rest}", cluster.url("postgres"));
    let open = |url: &str| PostgresStore::open(url, files.path(), None).map(drop);
    assert!(open(&url("sslmode=prefer")).is_ok());
    let said = open(&url("sslrootcert=ca.pem"))
        .expect_err("it has no TLS")
        .to_string();
    assert!(said.contains("TLS"), "{said}");
}
