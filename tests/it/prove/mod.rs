//! `callgate prove`, as a person sees it, and what is proven of the shipped policies.

use std::path::Path;
use std::process::Command;

use callgate::analysis::prove::revision::Revision;
use callgate::analysis::prove::{Answer, ProofRequest, QuestionKind, prove};

use crate::support::command::Workplace;

const BUNDLE: &[(&str, &str)] = &[
    (
        "policies/a.cedar",
        "@id(\"read\")\n@owner(\"it\")\npermit (principal, action in Mcp::Action::\"call_read\", resource);\n",
    ),
    (
        "policies/proofs/p.cedar",
        "@id(\"no_admin\")\nforbid (principal, action in Mcp::Action::\"call_admin\", resource);\n\
         @id(\"only_confirmed\")\nforbid (principal, action in Mcp::Action::\"call_tool\", resource)\nunless { resource.confirmed };\n",
    ),
];

#[test]
fn without_a_solver_the_error_says_how_to_get_one() {
    let workplace = Workplace::new(BUNDLE);
    let ran = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(["prove"])
        .current_dir(workplace.path())
        .env("CVC5", "/nonexistent/cvc5")
        .output()
        .expect("the binary runs");
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        said.contains("no solver") && said.contains("brew install cvc5"),
        "{said}"
    );
}

/// A program that answers whatever it is asked is found out, and a choice that chooses nothing is no proof.
#[test]
fn what_is_no_solver_is_refused_and_what_asks_nothing_proves_nothing() {
    let workplace = Workplace::new(BUNDLE);
    workplace.write(
        "liar",
        "#!/bin/sh\nwhile read -r line; do case $line in '(check-sat)') echo unsat ;; esac; done\n",
    );
    let liar = workplace.path().join("liar");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&liar, mode).expect("made a program");
    for (arguments, said) in [
        (
            &["prove"][..],
            "does not tell what is true from what is false",
        ),
        (
            &["prove", "--only", "elsewhere"],
            "nothing to prove: no property or policy has `elsewhere` in its id",
        ),
    ] {
        let ran = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args(arguments)
            .current_dir(workplace.path())
            .env("CVC5", &liar)
            .output()
            .expect("the binary runs");
        assert_eq!(ran.status.code(), Some(1));
        let found = String::from_utf8_lossy(&ran.stderr);
        assert!(found.contains(said), "{found}");
    }
}

#[test]
#[ignore = "needs the solver cvc5"]
fn a_counterexample_runs_as_it_is_printed() {
    let workplace = Workplace::new(BUNDLE);
    let ran = workplace.run(&["prove", "--counterexamples", "found"]);
    assert_eq!(ran.code, 2, "{}", ran.transcript());
    assert!(
        ran.stdout.contains("PROVEN    no_admin (never allowed"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("BROKEN    only_confirmed"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("confirmed by the engine: ALLOW by read"),
        "{}",
        ran.stdout
    );
    let command = "callgate authorize --policies ./policies --cedar found/1-only_confirmed.json";
    assert!(ran.stdout.contains(command), "{}", ran.stdout);
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let again = workplace.run(&arguments);
    assert_eq!(again.code, 0, "{}", again.transcript());
    insta::assert_snapshot!("authorize_cedar", again.transcript());
}

#[test]
#[ignore = "needs the solver cvc5"]
fn a_directory_is_compared_with_its_past() {
    let workplace = Workplace::new(BUNDLE);
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let ran = Command::new("git")
            .args(identity)
            .args(arguments)
            .current_dir(workplace.path())
            .output()
            .expect("git runs");
        assert!(ran.status.success(), "{ran:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    let arguments = [
        "prove",
        "--skip-policies",
        "--only",
        "no_admin",
        "--against",
        "git:HEAD",
    ];
    let ran = workplace.run(&arguments);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    assert!(ran.stdout.contains("EQUAL"), "{}", ran.stdout);
    let narrower = "@id(\"read\")\npermit (principal is Mcp::User, action in Mcp::Action::\"call_read\", resource);\n";
    workplace.write("policies/a.cedar", narrower);
    let ran = workplace.run(&arguments);
    assert_eq!(ran.code, 4, "{}", ran.transcript());
    assert!(
        ran.stdout
            .contains("NARROWER  1 request type: less is allowed than before"),
        "{}",
        ran.stdout
    );
    let ran = workplace.run(&["prove", "--against", "git:--output=x"]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
    assert!(
        ran.stderr.contains("there is no revision"),
        "{}",
        ran.stderr
    );
}

/// The files of a revision are those that it stores: no attribute leaves one out or changes it.
#[test]
fn a_revision_is_read_as_it_is_stored() {
    const FORBID: &str = "forbid (principal, action, resource);\n";
    let workplace = Workplace::new(BUNDLE);
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let local = ["-c", "protocol.file.allow=always"];
        let ran = Command::new("git")
            .args(identity)
            .args(local)
            .args(arguments)
            .current_dir(workplace.path())
            .output()
            .expect("git runs");
        assert!(ran.status.success(), "{ran:?}");
    };
    let policies = workplace.path().join("policies");
    let attributes =
        "left_out.cedar export-ignore\n*.cedar export-subst filter=away text eol=crlf\n";
    workplace.write("policies/.gitattributes", attributes);
    workplace.write("policies/left_out.cedar", FORBID);
    workplace.write("policies/sub/a.cedar", "// $Format:%H$\n");
    std::os::unix::fs::symlink("left_out.cedar", policies.join("link.cedar")).expect("a link");
    git(&["init", "--quiet"]);
    git(&["config", "filter.away.smudge", "true"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    git(&["tag", "first"]);
    let found = Revision::checkout(&policies, "first").expect("it is there");
    let read = |name: &str| std::fs::read_to_string(found.path().join(name)).expect(name);
    assert_eq!(read("left_out.cedar"), FORBID);
    assert_eq!(read("sub/a.cedar"), "// $Format:%H$\n");
    let link = std::fs::read_link(found.path().join("link.cedar"));
    assert_eq!(link.expect("a link"), Path::new("left_out.cedar"));
    assert_eq!(read("proofs/p.cedar"), BUNDLE[1].1);
    drop(found);
    // What a submodule held is not here.
    workplace.write("other/b.cedar", FORBID);
    let other = workplace.path().join("other").display().to_string();
    git(&["init", "--quiet", &other]);
    git(&["-C", &other, "add", "."]);
    git(&["-C", &other, "commit", "--quiet", "-m", "other"]);
    git(&["submodule", "--quiet", "add", &other, "policies/team"]);
    git(&["commit", "--quiet", "-m", "second"]);
    let said = Revision::checkout(&policies, "HEAD").expect_err("it has a submodule");
    assert!(said.contains("`team` is a submodule"), "{said}");
    let said = Revision::checkout(&workplace.path().join("other"), "first");
    assert!(
        said.expect_err("another repository")
            .contains("there is no revision")
    );
    workplace.write("later/c.cedar", FORBID);
    let said = Revision::checkout(&workplace.path().join("later"), "first");
    assert!(
        said.expect_err("it came later")
            .contains("no such directory")
    );
}

#[test]
#[ignore = "needs the solver cvc5"]
fn what_an_attribute_leaves_out_of_archives_is_compared_with() {
    let workplace = Workplace::new(BUNDLE);
    workplace.write(
        "policies/f.cedar",
        "forbid (principal, action, resource);\n",
    );
    workplace.write("policies/.gitattributes", "f.cedar export-ignore\n");
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "."],
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "commit",
            "--quiet",
            "-m",
            "first",
        ],
    ] {
        let ran = Command::new("git")
            .args(arguments)
            .current_dir(workplace.path())
            .status();
        assert!(ran.expect("git runs").success());
    }
    std::fs::remove_file(workplace.path().join("policies/f.cedar")).expect("it was there");
    let arguments = [
        "prove",
        "--skip-policies",
        "--only",
        "no_admin",
        "--against",
        "git:HEAD",
    ];
    let ran = workplace.run(&arguments);
    assert_eq!(ran.code, 4, "{}", ran.transcript());
    assert!(ran.stdout.contains("WIDER"), "{}", ran.stdout);
}

/// Every property holds, and of no policy is anything found: each applies to some request, none to every one within its scope
/// whatever its conditions say, none can fail, none is made pointless by others.
#[test]
#[ignore = "needs the solver cvc5 and a long time"]
fn the_shipped_policies_are_proven() {
    let request = ProofRequest {
        dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"),
        with_policies: true,
        ..ProofRequest::default()
    };
    let report = prove(&request).unwrap_or_else(|error| panic!("{error}"));
    for it in &report.questions {
        let (name, seconds) = (it.kind.as_str(), it.millis as f64 / 1e3);
        println!(
            "METRIC prove.{name} {seconds:.3} s ({} questions)",
            it.asked
        );
    }
    println!("METRIC prove.whole {:.3} s", report.millis as f64 / 1e3);
    assert!(report.properties.len() >= 5);
    for property in &report.properties {
        assert_eq!(
            property.answer,
            Answer::Holds { vacuous: false },
            "{property:#?}"
        );
    }
    assert!(report.policies >= 70, "{} policies", report.policies);
    assert_eq!(report.policies_left_out, 0);
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    let asked = |kind| {
        report
            .questions
            .iter()
            .any(|it| it.kind == kind && it.asked >= report.policies)
    };
    for kind in [
        QuestionKind::CanErr,
        QuestionKind::NeverApplies,
        QuestionKind::AlwaysApplies,
        QuestionKind::Others,
    ] {
        assert!(asked(kind), "{kind:?}: {:?}", report.questions);
    }
}
