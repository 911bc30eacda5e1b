//! `callgate prove`, as a person sees it, and what is proven of the shipped policies.

use std::path::Path;
use std::process::Command;

use callgate::analysis::prove::{Answer, FindingKind, ProofRequest, prove};

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

#[test]
#[ignore = "needs the solver cvc5 and a long time"]
fn the_shipped_policies_are_proven() {
    let request = ProofRequest {
        dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"),
        with_policies: true,
        ..ProofRequest::default()
    };
    let report = prove(&request).unwrap_or_else(|error| panic!("{error}"));
    assert!(report.properties.len() >= 5);
    for property in &report.properties {
        assert_eq!(
            property.answer,
            Answer::Holds { vacuous: false },
            "{property:#?}"
        );
    }
    let bad = |kind| {
        matches!(
            kind,
            FindingKind::NeverApplies | FindingKind::CanErr | FindingKind::Unproven
        )
    };
    let found: Vec<_> = report.findings.iter().filter(|it| bad(it.kind)).collect();
    assert!(found.is_empty(), "{found:#?}");
}
