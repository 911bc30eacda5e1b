use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::analysis::prove::findings;
use crate::analysis::prove::properties::Properties;
use crate::analysis::prove::question::QuestionBundle;
use crate::analysis::prove::solver::{Prover, Subject};
use crate::analysis::prove::{Answer, FindingKind};

const PATIENCE: Duration = Duration::from_millis(1_500);

/// A program that answers the probe as a solver does, and whatever is checked after that with a piece of shell.
fn solver(dir: &tempfile::TempDir, then: &str) -> PathBuf {
    program(
        dir,
        &format!(
            "said=0\nwhile read -r line; do case $line in\n'(check-sat)') said=$((said + 1))\n\
             case $said in 1) echo sat ;; 2) echo unsat ;; *) {then} ;; esac ;;\nesac; done\n"
        ),
    )
}

fn program(dir: &tempfile::TempDir, script: &str) -> PathBuf {
    let path = dir.path().join("solver");
    fs::write(&path, format!("#!/bin/sh\n{script}")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made a program");
    path
}

fn refused(script: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let started = Process::start_program(program(&dir, script).into(), PATIENCE);
    match started {
        Ok(_) => panic!("it was taken for a solver: {script}"),
        Err(said) => said,
    }
}

#[test]
fn what_is_no_solver_is_not_asked() {
    for (script, said) in [
        (
            "while read -r line; do case $line in *check-sat*) echo unsat ;; esac; done",
            "does not tell what is true",
        ),
        (
            "while read -r line; do case $line in *check-sat*) echo sat ;; esac; done",
            "does not tell what is true",
        ),
        (
            "while read -r line; do case $line in *check-sat*) echo unknown ;; esac; done",
            "does not tell what is true",
        ),
        ("exit 0", "does not answer as a solver does"),
        (
            "echo 'usage: solver FILE'; cat >/dev/null",
            "does not answer as a solver does (unrecognized solver output: usage",
        ),
        (
            "echo '(error \"Parse Error: no\")'; cat >/dev/null",
            "does not answer as a solver does",
        ),
        ("exec sleep 60", "gave no answer within 1.5 s"),
        ("yes >&2", "gave no answer within 1.5 s"),
    ] {
        let found = refused(script);
        assert!(found.contains(said), "{script}: {found}");
        assert!(found.contains("cvc5.github.io"), "{found}");
    }
    let missing = Process::start_program("/nowhere/cvc5".into(), PATIENCE);
    let said = missing.err().expect("no solver");
    assert!(
        said.contains("no solver") && said.contains("No such file"),
        "{said}"
    );
}

#[test]
fn a_solver_that_says_an_old_version_is_refused_with_it() {
    let says = |version: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let script = format!(
            "if [ \"$1\" = --version ]; then echo 'This is cvc5 version {version} [git f4cf1d9]'; exit; fi\nsaid=0\n\
             while read -r line; do case $line in\n'(check-sat)') said=$((said + 1))\n\
             case $said in 1) echo sat ;; *) echo unsat ;; esac ;;\nesac; done\n"
        );
        Process::start_program(program(&dir, &script).into(), PATIENCE).err()
    };
    let said = says("1.0.3").expect("refused");
    assert!(
        said.contains("is cvc5 1.0.3, and 1.1 or later is needed"),
        "{said}"
    );
    assert!(said.contains("cvc5.github.io"), "{said}");
    for taken in ["1.1.0", "1.1.0-dev.12", "1.4.2", "2.0", "next"] {
        assert_eq!(says(taken), None, "{taken}");
    }
}

/// The properties and findings of a small directory with such a solver.
fn looked_at(then: &str) -> (Vec<Answer>, Vec<FindingKind>, usize) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("a.cedar"), "@id(\"read\")\npermit (principal, action == Mcp::Action::\"call_read\", resource) when { resource.confirmed };").expect("written");
    let loaded = QuestionBundle::load(dir.path()).expect("a bundle");
    let proofs = Properties::read(&dir.path().join("a.cedar"), &loaded).expect("properties");
    let subject = Subject::new(&loaded).expect("a subject");
    let process = Process::start_program(solver(&dir, then).into(), PATIENCE).expect("a solver");
    let mut prover = Prover::with(process);
    let properties = prover
        .properties(&subject, &proofs, &|_| true)
        .expect("answers");
    let found = findings::find(&mut prover, &subject, &|_| true, None).expect("findings");
    let asked = prover.asked().iter().map(|it| it.asked).sum();
    (
        properties.into_iter().map(|it| it.answer).collect(),
        found.findings.into_iter().map(|it| it.kind).collect(),
        asked,
    )
}

#[test]
fn nothing_is_proven_by_a_solver_that_dies_hangs_or_talks_nonsense() {
    for then in [
        "exit 3",
        "kill -9 $$",
        "echo nonsense",
        "echo '(error \"out of memory\")'",
        "echo unknown",
        "sleep 60",
        // What can be true has to be shown.
        "echo sat; exit 0",
        "echo sat; echo nonsense",
        "echo sat; echo '('; exit 0",
        "echo sat; echo '('; echo '(define-fun x () Bool'; echo ')'",
    ] {
        let (properties, findings, _) = looked_at(then);
        for answer in &properties {
            assert!(
                !matches!(answer, Answer::Holds { vacuous: false }),
                "{then}: {answer:?}"
            );
        }
        assert!(
            findings.contains(&FindingKind::Unproven),
            "{then}: {findings:?}"
        );
        assert!(
            !findings.contains(&FindingKind::NeverApplies),
            "{then}: {findings:?}"
        );
    }
}

#[test]
fn a_solver_that_never_answers_is_soon_not_asked_any_more() {
    let began = Instant::now();
    let (_, _, asked) = looked_at("sleep 60");
    // Some questions are answered without the solver.
    assert!(asked < 20, "{asked} questions");
    assert!(
        began.elapsed() < PATIENCE * (MAX_HUNG + 3),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_model_that_shows_nothing_is_not_confirmed() {
    let (properties, ..) = looked_at("echo sat; echo '('; echo ')'");
    for answer in properties {
        match answer {
            Answer::Broken { counterexample } => {
                assert!(!counterexample.confirmed, "{counterexample:?}")
            }
            Answer::Unproven { .. } => {}
            Answer::Holds { vacuous } => assert!(vacuous),
        }
    }
}
