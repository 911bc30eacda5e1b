//! A second server of a kind that the shipped policies know: in the groups of the first it is held as the first is, and without
//! them `check` says so.

use std::fs;
use std::path::Path;

use callgate::analysis::check;
use callgate::analysis::lint::code::Code;

use crate::support::command::Workplace;

/// The shipped policies with a copy of a registration under another name, in these groups.
fn with_second(of: &str, name: &str, groups: &str) -> Workplace {
    let workplace = Workplace::new(&[]);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    copy(&shipped, &workplace.path().join("policies"));
    let text = workplace.read(&format!("policies/tools/{of}.json"));
    let mut registration: serde_json::Value = serde_json::from_str(&text).expect("a registration");
    registration["server"]["name"] = name.into();
    registration["server"]["groups"] = serde_json::from_str(groups).expect("groups");
    workplace.write(
        &format!("policies/tools/{name}.json"),
        registration.to_string(),
    );
    workplace
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).expect("copied")),
        }
    }
}

/// The kind of server, another name for it, the groups of the first, and a call that no policy of ours allows.
const SECOND: [(&str, &str, &str, &[&str]); 4] = [
    (
        "postgres",
        "pg-eu",
        "[\"customer-records\", \"sql\"]",
        &["--tool", "query", "--arg", "sql=DROP TABLE customers"],
    ),
    (
        "filesystem",
        "files",
        "[\"workspace\", \"files\"]",
        &["--tool", "read_text_file", "--arg", "path=/etc/passwd"],
    ),
    (
        "fetch",
        "web-reader",
        "[\"web\"]",
        &["--tool", "fetch", "--arg", "url=http://169.254.169.254/x"],
    ),
    (
        "git",
        "code",
        "[\"workspace\", \"git\"]",
        &[
            "--tool",
            "git_diff",
            "--arg",
            "repo_path=/srv/x",
            "--arg",
            "target=--output=/srv/y",
        ],
    ),
];

#[test]
fn a_second_server_of_a_kind_is_held_as_the_first_in_its_groups_and_told_without_them() {
    for (of, name, groups, call) in SECOND {
        let without = with_second(of, name, "[]");
        let lints = check::check(&without.path().join("policies"), None, false);
        let lints = lints
            .unwrap_or_else(|faults| panic!("{name}: {faults}"))
            .lints;
        let told: Vec<_> = lints.iter().map(|it| it.code).collect();
        assert_eq!(told, [Code::SiblingLeftOut], "{name}");
        let said = &lints[0].places[0].message;
        assert!(said.contains(of) && said.contains(name), "{said}");

        let within = with_second(of, name, groups);
        let lints = check::check(&within.path().join("policies"), None, false);
        let lints = lints
            .unwrap_or_else(|faults| panic!("{name}: {faults}"))
            .lints;
        assert!(lints.is_empty(), "{name}: {lints:?}");
        for server in [of, name] {
            let who = [
                "authorize",
                "--agent",
                "support",
                "--user",
                "tara",
                "--session",
                "s",
            ];
            let ran = within.run(&[&who[..], &["--server", server], call].concat());
            assert_eq!(ran.code, 2, "{server}: {}", ran.transcript());
        }
    }
}
