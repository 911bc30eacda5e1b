use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use super::Address;
use crate::store::backend::StoreError;
use crate::store::postgres::PostgresStore;

fn parse(url: &str) -> Result<String, String> {
    let address = Address::parse(url, Path::new("/etc/callgate"), None);
    address
        .map(|it| it.place())
        .map_err(|error| error.to_string())
}

#[test]
fn a_url_names_its_place_without_its_password() {
    let place = parse("postgres://ana:secret@127.0.0.1:5433/facts");
    assert_eq!(place.as_deref(), Ok("postgres://127.0.0.1:5433/facts"));
    let place = parse("postgresql://ana@localhost/facts?application_name=x");
    assert_eq!(place.as_deref(), Ok("postgres://localhost:5432/facts"));
}

#[test]
fn another_machine_is_reached_over_tls_unless_the_url_says_otherwise() {
    let said = parse("postgres://ana@db.example.com/facts").unwrap_err();
    assert!(said.contains("demand TLS"), "{said}");
    assert!(parse("postgres://ana@db.example.com/facts?sslmode=disable").is_ok());
    let said = parse("postgres://ana@db.example.com/facts?sslmode=require").unwrap_err();
    assert!(said.contains("needs `sslrootcert=FILE`"), "{said}");
    let said = parse("postgres://ana@db.example.com/facts?sslrootcert=no.pem").unwrap_err();
    assert!(said.contains("`/etc/callgate/no.pem`"), "{said}");
    for (url, why) in [
        (
            "postgres://db.example.com/facts?sslmode=prefer",
            "demand TLS",
        ),
        (
            "postgres://db.example.com/facts?sslmode=allow",
            "demand TLS",
        ),
        (
            "postgres://sslmode=disable@db.example.com/facts",
            "demand TLS",
        ),
        ("postgres://db.example.com/sslmode=disable", "demand TLS"),
        ("postgres://127.0.0.1,db.example.com/facts", "demand TLS"),
        (
            "postgres://localhost/facts?host=db.example.com",
            "demand TLS",
        ),
        (
            "postgres://localhost/facts?hostaddr=192.0.2.1",
            "demand TLS",
        ),
        ("postgres:///facts?hostaddr=192.0.2.1", "demand TLS"),
        (
            "postgres://db.example.com/facts?sslmode=verify-full",
            "needs `sslrootcert=FILE`",
        ),
        (
            "postgres://db.example.com/facts?sslcert=a&sslkey=b",
            "needs `sslrootcert=FILE`",
        ),
        (
            "postgres://127.0.0.1/facts?sslmode=require",
            "needs `sslrootcert=FILE`",
        ),
        (
            "postgres://db.example.com/facts?sslmode=disable&sslrootcert=a",
            "contradict",
        ),
        (
            "postgres://db.example.com/facts?sslmode=disable&sslmode=require",
            "twice",
        ),
        (
            "postgres://db.example.com/facts?sslmode=Disable",
            "is not one of",
        ),
    ] {
        let said = parse(url).unwrap_err();
        assert!(said.contains(why), "{url}: {said}");
    }
    let prefers = parse("postgres://ana@127.0.0.1/facts?sslmode=prefer");
    assert!(prefers.is_ok(), "{prefers:?}");
    let said =
        parse("postgres://ana@127.0.0.1/facts?sslmode=verify-full&sslrootcert=no.pem").unwrap_err();
    assert!(said.contains("`/etc/callgate/no.pem`"), "{said}");
}

#[test]
fn what_is_no_url_of_postgresql_is_refused() {
    for url in ["mysql://x/y", "callgate.db", "postgres://x/y?nosuch=1"] {
        assert!(parse(url).is_err(), "{url}");
    }
}

#[test]
fn what_is_no_url_of_postgresql_is_told() {
    for text in [
        "mysql://ana@localhost/facts",
        "postgres:/localhost/facts",
        "facts.db",
        "",
    ] {
        let said = parse(text).unwrap_err();
        assert!(said.contains("does not begin with `postgres://`"), "{said}");
    }
}

/// What a start says of a server that answers so to whoever connects.
fn opened(answer: Vec<u8>) -> StoreError {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let limit = Some(Duration::from_secs(5));
        client.set_read_timeout(limit).expect("a limit");
        // Whatever it begins with.
        let _ = client.read(&mut [0; 1_024]);
        let _ = client.write_all(&answer);
    });
    open(port)
}

/// A connection that is refused with this SQLSTATE.
fn refusal(code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0C{code}\0Mno\0\0");
    let length = u32::try_from(4 + fields.len()).expect("short");
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}

fn open(port: u16) -> StoreError {
    let url = format!("postgres://callgate@127.0.0.1:{port}/callgate");
    PostgresStore::open(&url, Path::new("."), None).expect_err("no database")
}

#[test]
fn a_database_that_may_come_is_away_and_another_fault_is_none_to_wait_for() {
    let port = {
        let bound = TcpListener::bind("127.0.0.1:0").expect("a port");
        bound.local_addr().expect("an address").port()
    };
    let nobody = open(port);
    let StoreError::Away { place, why } = &nobody else {
        panic!("{nobody:?}");
    };
    assert!(place.contains(&port.to_string()), "{place}");
    assert!(why.contains("refused"), "{why}");
    for (answer, is_away) in [
        // It ends, or a proxy has nobody behind it.
        (Vec::new(), true),
        // The database system is starting up.
        (refusal("57P03"), true),
        (refusal("53300"), true),
        // It ends once a client is there: `AuthenticationOk`, `ReadyForQuery`, and the reason.
        (
            [b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", &refusal("57P01")[..]].concat(),
            true,
        ),
        // The password, and a database of another name.
        (refusal("28P01"), false),
        (refusal("3D000"), false),
    ] {
        let error = opened(answer);
        let found = matches!(error, StoreError::Away { .. });
        assert_eq!(found, is_away, "{error:?}");
    }
}
