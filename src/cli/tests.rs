use anyhow::anyhow;
use clap::{CommandFactory, Parser};

use super::Cli;
use super::output::with_causes;
use crate::cli::commands::authorize::request_instead;
use crate::proto::v1;

/// Everything a help text tells people to type. An explanation may stand to the right of it.
fn commands_in(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let line = line.trim();
        let command = line.strip_prefix("RUST_LOG=debug ").unwrap_or(line);
        let (part, more) = match command.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (command.split("  ").next().unwrap_or_default(), false),
        };
        match commands.last_mut() {
            Some(last) if goes_on => last.push_str(part),
            _ if command.starts_with("callgate ") => commands.push(part.to_owned()),
            _ => continue,
        }
        goes_on = more;
    }
    commands
}

fn every_help(command: &clap::Command) -> Vec<String> {
    let texts = [command.get_after_help(), command.get_long_about()];
    let own = texts.into_iter().flatten().map(|text| text.to_string());
    let below = command.get_subcommands().flat_map(every_help);
    own.chain(below).collect()
}

#[test]
fn what_help_tells_people_to_type_can_be_typed() {
    Cli::command().debug_assert();
    let commands: Vec<String> = every_help(&Cli::command())
        .iter()
        .flat_map(|text| commands_in(text))
        .collect();
    assert!(commands.len() >= 40, "{commands:#?}");
    for command in commands {
        // What stands behind `>` is the shell's.
        let words = command
            .split_whitespace()
            .take_while(|word| *word != ">" && *word != "|");
        let parsed = Cli::try_parse_from(words);
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
}

#[test]
fn every_verb_shows_how_it_is_typed() {
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, bool)>) {
        let has_example = command
            .get_after_help()
            .is_some_and(|text| text.to_string().contains("callgate "));
        if !command.has_subcommands() {
            found.push((path.to_owned(), has_example));
        }
        for below in command.get_subcommands() {
            leaves(below, &format!("{path} {}", below.get_name()), found);
        }
    }
    let mut found = Vec::new();
    leaves(&Cli::command(), "callgate", &mut found);
    assert!(found.len() > 20, "{found:?}");
    let silent: Vec<_> = found.iter().filter(|(_, has)| !has).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn a_cause_is_told_once() {
    let error = anyhow!("no route")
        .context("connect: no route")
        .context("`a` cannot be reached");
    assert_eq!(
        with_causes(&error),
        "`a` cannot be reached: connect: no route"
    );
}

#[test]
fn the_command_that_asks_for_an_approval_can_be_typed() {
    let typed = [
        "--endpoint",
        "http://127.0.0.1:1",
        "--token=secret",
        "--token",
        "authorize",
        "--agent=support",
        "--server",
        "github",
        "--tool",
        "close_issue",
        "--arg",
        "title=it's done",
        "--explain",
        "--output",
        "text",
        "--purpose",
        "authorize",
    ];
    let challenge = v1::ApprovalChallenge {
        digest: "sha256:00".to_owned(),
        valid_for: None,
        expires_at: Some(prost_types::Timestamp {
            seconds: 1_900_000_000,
            nanos: 0,
        }),
    };
    let command = request_instead(&typed.map(str::to_owned), &challenge);
    assert_eq!(
        command,
        "callgate approval request --endpoint http://127.0.0.1:1 --agent=support --server github \
         --tool close_issue --arg 'title=it'\\''s done' --purpose authorize \
         --challenge sha256:00 --expires 2030-03-17T17:46:40Z"
    );
    let words = command.replace("it'\\''s done", "it").replace('\'', "");
    let parsed = Cli::try_parse_from(words.split_whitespace());
    assert!(parsed.is_ok(), "{}", parsed.unwrap_err());
}

#[test]
fn a_word_can_be_typed_and_nothing_in_it_hides() {
    for (word, typed) in [
        ("plain", "plain"),
        ("", "''"),
        ("it's", "'it'\\''s'"),
        ("a\\b", "'a\\b'"),
        ("a\nb", "$'a\\012b'"),
        ("\u{1b}[2J", "$'\\033[2J'"),
        ("it's\u{202e}\\", "$'it\\'s\\u202e\\\\'"),
        ("\u{e0041}\u{9b}", "$'\\U000e0041\\u009b'"),
    ] {
        assert_eq!(crate::cli::render::quoted(word), typed);
    }
}

#[test]
fn where_the_server_is_may_be_said_before_or_after_the_verb() {
    for words in [
        &["callgate", "task", "--endpoint", "http://a:1", "list"][..],
        &["callgate", "task", "list", "--endpoint", "http://a:1"],
        &[
            "callgate",
            "status",
            "--endpoint",
            "unix:/a",
            "--output",
            "json",
        ],
    ] {
        let parsed = Cli::try_parse_from(words);
        assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
    }
}

#[test]
fn what_a_change_needs_is_asked_for() {
    const GRANT: &[&str] = &["delegation", "grant", "--to", "support", "--server", "git"];
    for (words, wanted) in [
        (&["task", "close", "task-1"][..], "--as"),
        (&["task", "close", "task-1", "--as", "sam"], "user:sam"),
        (&["task", "close", "--as", "user:sam"], "<ID>"),
        (&["session", "end", "--as", "user:sam"], "<ID>"),
        (
            &[
                "approval", "approve", "a", "--as", "user:sam", "--uses", "0",
            ],
            "--uses",
        ),
        (&["approval", "request", "--server", "git"], "--agent"),
        (
            &["tool", "pin", "git_log", "--as", "user:sam"],
            "SERVER/TOOL",
        ),
        (
            &["tool", "register", "git/a", "--owner", "agent:b"],
            "not a person",
        ),
        (&["entity", "get", "kim"], "user:sam"),
        (
            &["task", "list", "--status", "done"],
            "open, closed, overdue, agent-gone",
        ),
        (GRANT, "--until"),
        (&["status", "--cert", "a.pem"], "--cert-key"),
    ] {
        let words = [&["callgate"], words].concat();
        let said = Cli::try_parse_from(&words)
            .map(|_| ())
            .expect_err("a mistake");
        let said = said.to_string();
        assert!(said.contains(wanted), "{words:?}: {said}");
    }
}
