//! Loading never kills, never blocks, never stays behind: what a directory may hold, and what may fail while it is read.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::hold::attack::{self, Target};
use crate::support::process::{Bundle, Server, callgate, wait_for};

const FORBID: &str = "@id(\"kill-switch\") forbid (principal, action, resource);\n";

/// A directory with settings of its own, and a server over it.
fn serving(settings: &str) -> (Bundle, Server) {
    let bundle = Bundle::notes();
    let config = bundle.policies().join("callgate.toml");
    let before = fs::read_to_string(&config).unwrap_or_default();
    bundle.file("callgate.toml", &format!("{before}\n{settings}"));
    let server = Server::start(&bundle, &[]);
    (bundle, server)
}

/// Waits until the log has this, so many times.
fn told(server: &Server, what: &str, times: usize) {
    wait_for(what, || {
        (server.log().matches(what).count() >= times).then_some(())
    });
}

/// What a `forbid` needs to be in force, from the moment at which it is written.
fn kill_switch(bundle: &Bundle, server: &Server) -> Duration {
    let before = server.log().matches("the directory is in service").count();
    let begun = Instant::now();
    bundle.file("stop.cedar", FORBID);
    told(server, "the directory is in service", before + 1);
    begun.elapsed()
}

fn ends(server: Server) {
    let begun = Instant::now();
    let (status, log) = server.stop();
    assert!(status.success(), "{status}: {log}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{log}");
}

fn policy(condition: &str) -> String {
    format!("permit (principal, action, resource) when {{ {condition} }};\n")
}

/// Texts that made a parser, a checker or an evaluator overflow its stack, by the names of their files.
fn deep(levels: usize) -> Vec<(&'static str, String)> {
    let around = |open: &str, inner: &str, close: &str| {
        policy(&format!(
            "{}{inner}{}",
            open.repeat(levels),
            close.repeat(levels)
        ))
    };
    let types: String = (0..levels)
        .map(|at| format!("type T{at} = {{ a: T{} }};\n", at + 1))
        .collect();
    vec![
        ("a.cedar", around("(", "true", ")")),
        ("a.cedar", around("[", "1", "] == [1]")),
        ("a.cedar", around("{a: ", "1", "}")),
        ("a.cedar", around("-(", "1", ")")),
        ("a.cedar", around("if true then ", "true", " else false")),
        ("a.cedar", around("if false then false else ", "true", "")),
        (
            "a.cedar",
            policy(&format!("[1]{}", ".contains(1)".repeat(levels * 10))),
        ),
        (
            "a.cedar",
            policy(&vec!["context.x == 1"; levels * 10].join(" || ")),
        ),
        (
            "a.cedar",
            format!(
                "permit (principal, action, resource) {};",
                "when { true } ".repeat(levels * 10)
            ),
        ),
        (
            "a.cedarschema",
            format!(
                "entity A {{ a: {}Long{} }};",
                "Set<".repeat(levels),
                ">".repeat(levels)
            ),
        ),
        (
            "a.cedarschema",
            format!("{types} type T{levels} = Long; entity A {{ a: T0 }};"),
        ),
        (
            "entities/a.json",
            format!("[{}{}]", "[".repeat(levels), "]".repeat(levels)),
        ),
        (
            "tools/a.json",
            format!(
                "{{\"server\": {}{}}}",
                "[".repeat(levels),
                "]".repeat(levels)
            ),
        ),
        (
            "links/a.json",
            format!("[{}{}]", "{\"a\":[".repeat(levels), "]}".repeat(levels)),
        ),
    ]
}

#[test]
fn what_nests_too_deep_is_a_fault_and_no_end() {
    let (bundle, server) = serving("");
    let count = |what: &str| server.log().matches(what).count();
    let (faulty, mended) = (
        "the directory has faults and is not loaded",
        "the directory is again what is in service",
    );
    for (name, text) in deep(700) {
        let before = (count(faulty), count(mended));
        bundle.file(name, &text);
        told(&server, faulty, before.0 + 1);
        assert!(server.log().contains(name), "{}", server.log());
        let checked = bundle.run(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(3), "{name}: {said}");
        fs::remove_file(bundle.policies().join(name)).unwrap();
        told(&server, mended, before.1 + 1);
    }
    // A start says it as well.
    bundle.file("a.cedar", &deep(700)[0].1);
    let started = bundle.run(&["serve", "--without-callers", "--listen", "127.0.0.1:0"]);
    assert_eq!(started.status.code(), Some(3));
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(
        said.contains("a.cedar:1:") && said.contains("nests deeper"),
        "{said}"
    );
    ends(server);
}

#[test]
fn chains_without_end_take_no_time() {
    let bundle = Bundle::notes();
    let chain = |each: fn(usize) -> String| (0..10_000).map(each).collect::<String>();
    let schemas = [
        chain(|at| format!("entity E{at} in [E{}];\n", at + 1)) + "entity E10000;",
        chain(|at| format!("action \"a{at}\" in [\"a{}\"];\n", at + 1)) + "action \"a10000\";",
        chain(|at| format!("type T{at} = T{};\n", at + 1)) + "type T10000 = Long;",
        // Each holds the next one twice.
        (0..40)
            .map(|at| format!("type T{at} = {{ a: T{0}, b: T{0} }};\n", at + 1))
            .collect::<String>()
            + "type T40 = Long; entity E { a: T0 };",
    ];
    for schema in schemas {
        bundle.file("more.cedarschema", &schema);
        let begun = Instant::now();
        let checked = bundle.run(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(3), "{said}");
        assert!(said.contains("more.cedarschema"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{said}");
    }
}

#[test]
fn a_pipe_among_the_files_is_a_fault_with_its_name() {
    let (bundle, server) = serving("");
    for name in [
        "pipe.cedar",
        "pipe.cedarschema",
        "entities/pipe.json",
        "manifest.sha256",
    ] {
        let pipe = bundle.policies().join(name);
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        wait_for("a fault that names the pipe", || {
            let log = server.log();
            (log.contains(name) && log.contains("not a regular file")).then_some(())
        });
        fs::remove_file(&pipe).unwrap();
    }
    assert!(kill_switch(&bundle, &server) < Duration::from_secs(10));
    let pipe = bundle.policies().join("pipe.cedar");
    Command::new("mkfifo").arg(&pipe).status().unwrap();
    ends(server);
    // A start does not wait for it either.
    let started = bundle.run(&["serve", "--without-callers", "--listen", "127.0.0.1:0"]);
    assert_eq!(started.status.code(), Some(3));
}

#[test]
fn idle_connections_keep_no_forbid_out() {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", attack::SETTINGS);
    let server = Server::limited(&bundle, 256);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let target = Target {
        grpc: server.target().to_owned(),
        http: server.http_target().to_owned(),
    };
    let connection = runtime.block_on(attack::connected(&target));
    let held = runtime.block_on(attack::silent(server.target(), 1_104, b""));
    let begun = Instant::now();
    bundle.file("stop.cedar", FORBID);
    assert!(runtime.block_on(attack::denied(&connection)));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}: {}", server.log());
    let log = server.log();
    assert!(log.contains("allows fewer connections than"), "{log}");
    drop(held);
    ends(server);
}

#[test]
fn a_read_that_fails_once_is_tried_again() {
    let (bundle, server) = serving("");
    let pid = Pid::from_raw(server.pid().cast_signed());
    let open = |most: u64| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(1_024),
        };
        prlimit(pid, Resource::Nofile, limit).unwrap()
    };
    // No file can be opened any more.
    let before = open(4);
    bundle.file("stop.cedar", FORBID);
    told(&server, "the directory has faults and is not loaded", 1);
    assert!(
        server.log().contains("too many open files"),
        "{}",
        server.log()
    );
    assert!(!server.log().contains("the directory is in service"));
    let begun = Instant::now();
    open(before.current.unwrap_or(1_024).min(1_024));
    told(&server, "the directory is in service", 1);
    assert!(begun.elapsed() < Duration::from_secs(35));
    ends(server);
}

#[test]
fn a_load_that_takes_too_long_is_given_up_and_ends_with_the_server() {
    let (bundle, server) = serving("[reload]\ndeadline_ms = 1000\n");
    let many: String = (0..60_000)
        .map(|at| format!("@id(\"p{at}\") {}", policy("context.identity.verified")))
        .collect();
    bundle.file("many.cedar", &many);
    told(&server, "took longer than `reload.deadline_ms`", 1);
    fs::remove_file(bundle.policies().join("many.cedar")).unwrap();
    told(&server, "the directory is again what is in service", 1);
    assert!(kill_switch(&bundle, &server) < Duration::from_secs(20));
    // One that is under way does not hold up the end.
    bundle.file("many.cedar", &many);
    std::thread::sleep(Duration::from_millis(700));
    ends(server);
}

#[test]
fn a_trial_has_no_more_memory_than_it_may_have() {
    let bundle = Bundle::notes();
    let numbers = "0,".repeat(20_000_000);
    let sources = serde_json::json!([
        {"kind": "Entities", "file": "entities/a.json", "stem": "a", "text": format!("[{numbers}0]")}
    ]);
    for (text, is_good) in [("[]".to_owned(), true), (sources.to_string(), false)] {
        let input = bundle.folder().join("input");
        fs::write(&input, text).unwrap();
        let ended = callgate(bundle.folder())
            .args(["try-compiling", "--memory-mib", "512", "--seconds", "60"])
            .stdin(fs::File::open(&input).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(ended.success(), is_good, "{ended}");
    }
}
