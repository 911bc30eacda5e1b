//! Bundles as one signed archive: built, verified, served from a file, and the last good one kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::command::Workplace;
use crate::support::process::{Bundle, Server, wait_for};

/// The keys of RFC 8032, section 7.1, test 1, as OpenSSL writes them.
pub const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
pub const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
/// Those of test 2.
const OTHER_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n-----END PUBLIC KEY-----\n";

/// Puts the keys into a folder, as `bundle.key` and `bundle.pub`.
pub fn put_keys(folder: &Path) {
    fs::write(folder.join("bundle.key"), KEY).unwrap();
    fs::write(folder.join("bundle.pub"), PUBLIC).unwrap();
    fs::write(folder.join("other.pub"), OTHER_PUBLIC).unwrap();
    let only_owner = fs::Permissions::from_mode(0o600);
    fs::set_permissions(folder.join("bundle.key"), only_owner).unwrap();
}

#[test]
fn an_archive_is_built_and_verified_as_it_says() {
    let place = Workplace::new(&[
        (
            "policies/a.cedar",
            "@id(\"a\") permit (principal, action, resource);\n",
        ),
        ("policies/callgate.toml", "without_callers = true\n"),
        ("broken/a.cedar", "permit (principal, action"),
    ]);
    put_keys(place.path());
    let mut said = String::new();
    for (args, code) in [
        ("bundle build --sign bundle.key --version 7", 0),
        ("bundle verify --key other.pub --key bundle.pub", 0),
        ("bundle verify --key bundle.pub --output json", 0),
        ("bundle verify", 0),
        ("bundle verify --key other.pub", 3),
        ("bundle build --version 8 -o plain.tar.zst", 0),
        ("bundle verify plain.tar.zst --key bundle.pub", 3),
        ("bundle build broken", 3),
        ("bundle build --sign bundle.pub", 1),
        ("bundle verify nowhere", 1),
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        let ran = place.run(&args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
        said += &format!(
            "$ callgate {}\n{}{}\n",
            args.join(" "),
            ran.stdout,
            ran.stderr
        );
    }
    // Sizes differ with the version of the library that compresses.
    let said: String = said
        .lines()
        .filter(|line| !line.starts_with("  size "))
        .map(|line| format!("{line}\n"))
        .collect();
    insta::assert_snapshot!("archive", said);
}

fn allows(bundle: &Bundle, server: &Server) -> bool {
    let endpoint = format!("http://{}", server.target());
    let ran = bundle.run(&[
        "authorize",
        "--endpoint",
        &endpoint,
        "--agent",
        "helper",
        "--server",
        "notes",
        "--tool",
        "list_notes",
    ]);
    match ran.status.code() {
        Some(0) => true,
        Some(2) => false,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&ran.stderr)),
    }
}

fn ok(bundle: &Bundle, args: &str) -> String {
    let ran = bundle.run(&args.split(' ').collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{args}: {said}");
    String::from_utf8(ran.stdout).unwrap()
}

/// The server's own directory holds its configuration alone; what decides is in the archive.
#[test]
fn a_server_takes_newer_archives_from_a_file_and_starts_with_the_last_good_one() {
    let author = Bundle::notes();
    put_keys(author.folder());
    let runner = Bundle::empty();
    runner.file(
        "callgate.toml",
        "[bundle]\nfile = \"../bundle.tar.zst\"\npublic_key_files = \"../bundle.pub\"\npoll_seconds = 1\n",
    );
    put_keys(runner.folder());
    let archive = runner.folder().join("bundle.tar.zst");
    let built = archive.display().to_string();
    let build = |version: u64, sign: &str| {
        ok(
            &author,
            &format!("bundle build --version {version} -o {built}{sign}"),
        )
    };
    let none = runner.run(&["serve", "--without-callers"]);
    assert_eq!(
        none.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&none.stderr)
    );

    build(2, " --sign bundle.key");
    let server = Server::start(&runner, &[]);
    assert!(allows(&author, &server));

    author.file(
        "stop.cedar",
        "@id(\"stop\") forbid (principal, action, resource);",
    );
    build(3, " --sign bundle.key");
    wait_for("the newer bundle", || {
        (!allows(&author, &server)).then_some(())
    });

    // Neither the one before nor one that nobody has signed: told, and nothing changes.
    for (version, sign, expected) in [
        (2, " --sign bundle.key", "an older bundle is refused"),
        (4, "", "it is not signed"),
    ] {
        fs::remove_file(author.policies().join("stop.cedar")).ok();
        build(version, sign);
        wait_for(expected, || server.log().contains(expected).then_some(()));
        assert!(!allows(&author, &server));
    }
    drop(server);

    // Across a restart, too, with what is no good and with nothing at all.
    for _ in 0..2 {
        let server = Server::listening(&runner, &[]);
        assert!(!allows(&author, &server));
        assert!(
            server
                .log()
                .contains("the last good bundle that was kept is in service"),
            "{}",
            server.log()
        );
        drop(server);
        fs::remove_file(&archive).ok();
    }
    build(5, " --sign bundle.key");
    let server = Server::start(&runner, &[]);
    assert!(allows(&author, &server));
}
