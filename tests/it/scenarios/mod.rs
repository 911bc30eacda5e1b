//! Stories that a security person can read: what Callgate does, and what is heard of it.
//!
//! The stories are the TOML files in `scenarios/`, one for each part of live authority; how to read and
//! write them is told in `scenarios/README.md`. Start at [`story`] for their form. [`play`] plays a story
//! on a [`stage`]: the real service and both front doors in this process, a clock that is set by hand and
//! a store that can be made to fail.
//!
//! Invariant: whatever a story expects, an answer to an agent never names a policy or a delegation.

mod play;
mod scope;
mod stage;
mod standing;
mod story;
mod wire;
mod world;
mod writes;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use callgate::proto::v1;

use crate::scenarios::play::Player;
use crate::scenarios::story::{Act, Scenario, Step, Story};
use crate::support::postgres::Cluster;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios")
}

fn read(name: &str) -> Story {
    let text = fs::read_to_string(folder().join(name)).expect("a story");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What went another way than a scenario says: where, what was expected and what came. An attack that
/// `passes` does so at its last step.
async fn difference(file: &str, scenario: &Scenario) -> Option<String> {
    let (title, last) = (&scenario.title, scenario.steps.len());
    match (first_difference(file, scenario).await, &scenario.passes) {
        (Some((step, _)), Some(_)) if step == last => None,
        (None, Some(_)) => Some(format!("{file}: {title}\n  is stopped, and said to pass")),
        (found, _) => found.map(|(_, difference)| difference),
    }
}

/// The number of the first step that went another way, and how.
async fn first_difference(file: &str, scenario: &Scenario) -> Option<(usize, String)> {
    let mut player = match Player::enter(scenario) {
        Ok(player) => player,
        Err(fault) => return Some((0, format!("{file}: {}: {fault}", scenario.title))),
    };
    for (index, step) in scenario.steps.iter().enumerate() {
        if let Err(fault) = player.play(step).await {
            let what = step.story.as_deref().unwrap_or("");
            let number = index + 1;
            let title = &scenario.title;
            let difference = format!("{file}: {title}\n  step {number} {what}\n{fault}");
            return Some((number, difference));
        }
    }
    None
}

async fn goes_as_it_says(file: &str) {
    let story = read(file);
    assert!(!story.scenario.is_empty());
    let mut differences = Vec::new();
    for scenario in &story.scenario {
        differences.extend(difference(file, scenario).await);
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n\n"));
}

macro_rules! stories {
    ($($name:ident)+) => {
        /// Each is played by the test of its name.
        const STORIES: &[&str] = &[$(concat!(stringify!($name), ".toml")),+];
        $(
            #[tokio::test]
            async fn $name() {
                goes_as_it_says(concat!(stringify!($name), ".toml")).await;
            }
        )+
    };
}

stories! { approvals attacks control delegations reasons revisions sessions tasks time usage }

/// What goes another way among several servers, and why.
const ALONE: [(&str, &str); 3] = [
    (
        "An agent that waits until what it read is forgotten",
        "labels of pairs last up to a quarter longer on the servers that did not add them",
    ),
    (
        "A key is remembered across a restart",
        "time starts at the last write, not three seconds ahead: others may be running",
    ),
    (
        "Nor does it while the service is down",
        "a time that has not come by the database's clock is not written down, and a server with another clock does not start",
    ),
];

/// Every story goes as it says when three servers share a database and each call and each write goes to one that a dice
/// chooses. `CALLGATE_SEED` is what the dice begins with.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn every_story_goes_as_it_says_on_three_replicas() {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);
    let seed = std::env::var("CALLGATE_SEED").ok();
    let seed = seed.map_or(1, |seed| seed.parse().expect("a number"));
    println!("CALLGATE_SEED={seed}");
    stage::play_on(&CLUSTER, seed);
    let only = std::env::var("CALLGATE_STORY").unwrap_or_default();
    let (mut differences, mut played) = (Vec::new(), 0);
    for file in STORIES {
        for scenario in &read(file).scenario {
            // What only one server knows is no restriction among several: with a store that fails none is made.
            let fails = |step: &Step| matches!(step.act, Act::Store(_));
            // And what has room in memory has room on each of them.
            let is_alone = ALONE.iter().any(|(title, _)| *title == scenario.title);
            let has_room = scenario.limits.sessions.is_none();
            let is_left_out = scenario.steps.iter().any(fails) || !has_room || is_alone;
            if is_left_out || !scenario.title.contains(&only) {
                continue;
            }
            played += 1;
            differences.extend(difference(file, scenario).await);
        }
    }
    println!("{played} stories");
    let count = differences.len();
    assert!(
        differences.is_empty(),
        "{count}\n{}\n",
        differences.join("\n\n")
    );
}

#[test]
fn every_story_is_played() {
    let found: BTreeSet<String> = fs::read_dir(folder())
        .expect("the stories")
        .map(|entry| entry.expect("an entry").file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    let played: BTreeSet<String> = STORIES.iter().map(ToString::to_string).collect();
    assert_eq!(found, played);
}

#[test]
fn titles_are_told_once() {
    let mut told = BTreeSet::new();
    for file in STORIES {
        for scenario in read(file).scenario {
            assert!(told.insert(scenario.title.clone()), "{}", scenario.title);
        }
    }
    assert!(told.len() >= 60, "only {} scenarios were found", told.len());
}

#[test]
fn every_reason_code_shows_what_agents_and_administrators_see() {
    let mut shown = BTreeSet::new();
    for scenario in read("reasons.toml").scenario {
        let reason = scenario.reason.clone().expect("a reason");
        let name = format!("REASON_CODE_{reason}");
        let known = v1::ReasonCode::from_str_name(&name);
        assert!(known.is_some(), "{reason} is no reason code");
        assert!(
            scenario.shows_both_views_of(&reason),
            "{reason} is not shown as agents and administrators see it"
        );
        assert!(shown.insert(name), "{reason} is shown twice");
    }
    let all: BTreeSet<String> = (1..)
        .map_while(|number| v1::ReasonCode::try_from(number).ok())
        .map(|code| code.as_str_name().to_owned())
        .collect();
    assert_eq!(shown, all);
}

#[test]
fn attacks_have_an_aim_and_those_that_pass_are_told() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/attacks.md");
    let page = fs::read_to_string(page).expect("the page about attacks");
    for file in STORIES {
        for scenario in read(file).scenario {
            let (title, is_attack) = (&scenario.title, *file == "attacks.toml");
            let aim = scenario.aim.as_deref();
            let is_known =
                aim.is_some_and(|aim| ["exfiltrate", "destroy", "escalate"].contains(&aim));
            assert!(
                is_known == is_attack && aim.is_some() == is_attack,
                "{title}"
            );
            assert!(is_attack || scenario.passes.is_none(), "{title}");
            if let Some(why) = &scenario.passes {
                assert!(
                    page.contains(&format!("| {title} | {why} |")),
                    "{title} | {why}"
                );
            }
        }
    }
    assert!(read("attacks.toml").scenario.len() >= 20);
}

const WRONG: &str = r#"
[[scenario]]
title = "Nobody delegates to a stranger"
[[scenario.steps]]
do = "Ana calls"
call = { by = "user:ana", tool = "notes/read" }
expect = "allow"
[[scenario.steps]]
do = "and is wrongly expected not to"
call = { by = "user:ana", tool = "notes/read" }
expect = { deny = "NO_PERMIT" }
"#;

#[tokio::test]
async fn a_difference_names_its_place_and_both_sides() {
    let story: Story = toml::from_str(WRONG).expect("a story");
    let said = difference("wrong.toml", &story.scenario[0]).await;
    let said = said.expect("a difference");
    for part in [
        "wrong.toml: Nobody delegates to a stranger",
        "step 2 and is wrongly expected not to",
        "expected deny, NO_PERMIT",
        "came     allow",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_nobody_understands_is_refused() {
    for (from, to, said) in [
        ("tool =", "tol =", "unknown field `tol`"),
        ("title =", "titel =", "unknown field `titel`"),
        ("call =", "cal =", "unknown variant `cal`"),
        ("do =", "pass = '1h'\ndo =", "exactly 1"),
        ("call = {", "revoke = { id = 'g',", "unknown field `tool`"),
    ] {
        let wrong = WRONG.replace(from, to);
        let error = toml::from_str::<Story>(&wrong).err().expect("an error");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn an_expectation_that_nobody_understands_is_a_difference() {
    let wrong = WRONG.replace("deny = \"NO_PERMIT\"", "deni = \"NO_PERMIT\"");
    let story: Story = toml::from_str(&wrong).expect("a story");
    let said = difference("wrong.toml", &story.scenario[0]).await;
    assert!(said.is_some_and(|said| said.contains("unknown field `deni`")));
}
