use anyhow::anyhow;
use clap::{CommandFactory, Parser};

use super::Cli;
use super::output::with_causes;

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
    assert!(commands.len() >= 14, "{commands:#?}");
    for command in commands {
        let parsed = Cli::try_parse_from(command.split_whitespace());
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
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
