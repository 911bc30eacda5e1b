//! What a person's own words name: the only thing besides its tools that an opened task is told.
//!
//! It is found without looking at the calls that fulfil the task, and by one rule for all suites. A *name* is
//! what stands in quotes, and every word that holds a capital letter, a digit, a dot or an `@`, without the
//! punctuation around it. The target arguments of the task's tools say what a name can be: with kind `email`
//! only what holds an `@` is an address, with any other kind every name is an id of the server. Such a place
//! is one to read from if the tool reads, one to send to if it writes. And a tool that changes how somebody
//! signs in (group `credentials`) is for the values that are named, if there is one that is no plain word.
//!
//! A tool that invites somebody by their mail address (group `invitations`), where the prompt names no address:
//! the person leaves the address open, for as many invitations as they are, one, and says the rest of it. Which
//! address it is, no prompt tells and no call is looked at.

use callgate::domain::authority::terms::{AllowedValues, KnownResource, TaskTerms, ToolUse};
use serde_json::{Value as Json, json};

use crate::agentdojo::suite::Suite;
use crate::policies::rows::uid;

/// Punctuation around a word that is no part of its name.
const AROUND: [char; 13] = [
    '\'', '"', ',', ';', ':', '!', '?', '(', ')', '.', '{', '}', '/',
];

/// What stands in quotes. An apostrophe within a word opens none.
fn quoted(prompt: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(char, usize)> = None;
    let mut before = ' ';
    let mut places = prompt.char_indices().peekable();
    while let Some((at, letter)) = places.next() {
        let after = places.peek().map_or(' ', |(_, letter)| *letter);
        match open {
            Some((quote, from)) if letter == quote && !after.is_alphanumeric() => {
                found.push(prompt[from..at].to_owned());
                open = None;
            }
            None if ['\'', '"'].contains(&letter) && !before.is_alphanumeric() => {
                open = Some((letter, at + 1));
            }
            _ => {}
        }
        before = letter;
    }
    found
}

fn is_name(word: &str) -> bool {
    word.contains(|letter: char| {
        letter.is_uppercase() || letter.is_ascii_digit() || ['.', '@'].contains(&letter)
    })
}

/// The names of a prompt, each once.
pub fn names(prompt: &str) -> Vec<String> {
    let words = prompt.split_whitespace().map(|word| {
        let word = word.trim_matches(AROUND);
        word.strip_suffix("'s").unwrap_or(word).to_owned()
    });
    let mut names = quoted(prompt);
    names.extend(words.filter(|word| is_name(word)));
    names.retain(|name| !name.is_empty() && name.len() <= 100);
    names.sort();
    names.dedup();
    names
}

/// Whether a name is more than a word: what is told of a secret is, and so are ids.
fn is_no_word(name: &str) -> bool {
    name.contains(|letter: char| letter.is_ascii_digit())
}

/// What a target argument of a registration makes of a name.
fn place(server: &str, target: &Json, name: &str) -> Option<String> {
    match target["kind"].as_str() {
        Some("email") => name
            .contains('@')
            .then(|| format!("mailto:{}", name.to_lowercase())),
        Some("path" | "url") => None,
        _ => Some(format!("{server}:{name}")),
    }
}

fn places(suite: &Suite, tools: &[&str], names: &[String]) -> Vec<KnownResource> {
    let mut places: Vec<KnownResource> = Vec::new();
    for tool in tools {
        let entry = &suite.registration["tools"][tool];
        let reads = entry["access"] == "read";
        for target in entry["target_arguments"].as_array().into_iter().flatten() {
            let found = names
                .iter()
                .filter_map(|name| place(&suite.server, target, name));
            for place in found.map(|id| uid("Resource", &id)) {
                match places.iter_mut().find(|known| known.place == place) {
                    Some(known) if reads => known.read = true,
                    Some(known) => known.send = true,
                    None => places.push(KnownResource {
                        place,
                        read: reads,
                        send: !reads,
                    }),
                }
            }
        }
    }
    places
}

fn credentials(suite: &Suite, tools: &[&str], names: &[String]) -> Vec<ToolUse> {
    let values: Vec<_> = names.iter().filter(|name| is_no_word(name)).collect();
    let changes_sign_in = |tool: &&&str| is_in(suite, tool, "credentials");
    let bound = tools.iter().filter(changes_sign_in).map(|tool| {
        let schema = &suite.registration["tools"][*tool]["input_schema"];
        let arguments = schema["properties"].as_object().into_iter().flatten();
        ToolUse {
            tool: uid("Tool", &format!("{}/{tool}", suite.server)),
            targets: Vec::new(),
            arguments: arguments
                .map(|(argument, _)| any_of(argument, values.iter().copied()))
                .collect(),
            max_calls: None,
            any_target: false,
        }
    });
    if values.is_empty() {
        return Vec::new();
    }
    bound.collect()
}

/// Whether a tool of the suite is in a group.
fn is_in(suite: &Suite, tool: &str, group: &str) -> bool {
    let groups = suite.registration["tools"][tool]["groups"].as_array();
    groups.is_some_and(|groups| groups.contains(&json!(group)))
}

/// Invitations of somebody who is named, to whichever address.
fn invitations(suite: &Suite, tools: &[&str], names: &[String]) -> Vec<ToolUse> {
    if names.iter().any(|name| name.contains('@')) {
        return Vec::new();
    }
    let invites = |tool: &&&str| is_in(suite, tool, "invitations");
    let uses = tools.iter().filter(invites).map(|tool| {
        let entry = &suite.registration["tools"][*tool];
        let targets = entry["target_arguments"].as_array().into_iter().flatten();
        let targets: Vec<_> = targets.map(|it| it["argument"].as_str()).collect();
        let arguments = entry["input_schema"]["properties"].as_object();
        let others = arguments.into_iter().flatten().map(|(name, _)| name);
        let others = others.filter(|name| !targets.contains(&Some(name.as_str())));
        ToolUse {
            tool: uid("Tool", &format!("{}/{tool}", suite.server)),
            targets: Vec::new(),
            arguments: others.map(|name| any_of(name, names.iter())).collect(),
            max_calls: Some(1),
            any_target: true,
        }
    });
    uses.collect()
}

/// An argument that has one of these values.
fn any_of<'n>(argument: &str, values: impl Iterator<Item = &'n String>) -> AllowedValues {
    AllowedValues {
        argument: argument.into(),
        values: values.map(|name| json!(name).to_string().into()).collect(),
    }
}

/// What the prompt says of the tools of its task.
pub fn terms(suite: &Suite, tools: &[&str], prompt: &str) -> TaskTerms {
    let names = names(prompt);
    TaskTerms {
        uses: [
            credentials(suite, tools, &names),
            invitations(suite, tools, &names),
        ]
        .concat(),
        places: places(suite, tools, &names),
    }
}

#[test]
fn names_are_quoted_or_look_like_names() {
    let prompt = "Invite Dora's team to 'general chat'. It's on www.dora.com/x! Write to a@b.org, not to us.";
    let expected = [
        "Dora",
        "Invite",
        "It",
        "Write",
        "a@b.org",
        "general chat",
        "www.dora.com/x",
    ];
    assert_eq!(names(prompt), expected);
}
