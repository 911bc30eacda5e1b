use clap::{CommandFactory, Parser, error::ErrorKind};

use super::*;
use crate::cli::Cli;

/// Words that give a flag, each with what it demands beside it.
fn given(flag: &clap::Arg) -> Vec<String> {
    let long = format!("--{}", flag.get_long().expect("a flag"));
    match flag.get_action().takes_values() {
        true => vec![long, "a=1".to_owned()],
        false => vec![long],
    }
}

#[test]
fn a_flag_about_the_call_goes_with_nothing_that_brings_a_call_of_its_own() {
    let flags = CallFlags::augment_args(clap::Command::new("call"));
    let flags: Vec<&clap::Arg> = flags.get_arguments().collect();
    assert!(flags.len() >= 16, "{flags:?}");
    const ID: &str = "01a1fd8a-65ac-7365-ba26-e6ba1e14d1c3";
    for start in [
        &["authorize", "--file", "x"][..],
        &["authorize", "--cedar", "x"],
        &["explain", "--file", "x"],
        &["explain", ID],
        &["approval", "request", "--file", "x"],
    ] {
        for flag in &flags {
            let words = ["callgate"].iter().chain(start);
            let words = words.map(|it| (*it).to_owned()).chain(given(flag));
            let error = Cli::try_parse_from(words).expect_err("a conflict");
            let place = format!("{start:?} {}", flag.get_id());
            assert_eq!(
                error.kind(),
                ErrorKind::ArgumentConflict,
                "{place}: {error}"
            );
        }
        assert!(Cli::try_parse_from(["callgate"].iter().chain(start)).is_ok());
    }
}

#[test]
fn a_call_comes_from_one_place() {
    for words in [
        &["authorize", "--file", "x", "--cedar", "y"][..],
        &[
            "explain",
            "01a1fd8a-65ac-7365-ba26-e6ba1e14d1c3",
            "--file",
            "x",
        ],
    ] {
        let error = Cli::try_parse_from(["callgate"].iter().chain(words)).expect_err("a conflict");
        assert_eq!(
            error.kind(),
            ErrorKind::ArgumentConflict,
            "{words:?}: {error}"
        );
    }
}

/// Only `callgate authorize` answers Cedar's own question, so no other verb offers it.
#[test]
fn cedars_own_question_is_offered_where_it_is_answered() {
    let mut offered = Vec::new();
    fn look(command: &clap::Command, path: &str, offered: &mut Vec<String>) {
        let shows = |it: &clap::Arg| it.get_id() == "cedar" && !it.is_hide_set();
        if command.get_arguments().any(shows) {
            offered.push(path.to_owned());
        }
        for below in command.get_subcommands() {
            look(below, &format!("{path} {}", below.get_name()), offered);
        }
    }
    look(&Cli::command(), "callgate", &mut offered);
    assert_eq!(offered, ["callgate authorize"]);
    for verb in [&["explain"][..], &["approval", "request"]] {
        let mut words = vec!["callgate"];
        words.extend(verb);
        words.push("--help");
        let help = Cli::try_parse_from(words).expect_err("help").to_string();
        assert!(!help.contains("--cedar"), "{help}");
        let words = ["callgate"].iter().chain(verb).chain(&["--cedar", "x"]);
        let error = Cli::try_parse_from(words).expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::ValueValidation, "{error}");
        assert!(
            error.to_string().contains("`callgate authorize`"),
            "{error}"
        );
    }
}
