use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(flags: &[&str]) -> Args {
    let line = [&["init"][..], flags].concat();
    Line::try_parse_from(line).expect("flags").args
}

fn asked(flags: &[&str], said: &str) -> anyhow::Result<(InitOptions, String)> {
    let mut out = Vec::new();
    let options = ask(&args(flags), &mut said.as_bytes(), &mut out)?;
    Ok((options, String::from_utf8(out).expect("text")))
}

#[test]
fn what_no_flag_says_is_asked() {
    let (options, said) = asked(&[], "\n bot \ngit, notes,\n").expect("answers");
    assert_eq!((&*options.user, &*options.agent), ("ana", "bot"));
    let servers: Vec<_> = options.servers.into_iter().collect();
    assert_eq!(servers, ["git", "notes"]);
    assert!(said.contains("filesystem, git"), "{said}");

    let (options, said) = asked(&["--user", "lee", "--agent", "bot"], "").expect("no question");
    assert!(options.servers.is_empty() && said.is_empty());
}

#[test]
fn an_input_that_ends_or_never_ends_is_an_error() {
    assert!(asked(&[], "ana\n").is_err());
    assert!(asked(&[], &"a".repeat(100_000)).is_err());
}

#[test]
fn a_directory_is_made_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = dir.path().join("new/policies");
    let at = place.to_str().expect("a path");
    let output = ["--output", "json"];
    let make = |flags: &[&str]| run(&args(&[&[at][..], flags, &output[..]].concat()));
    assert!(make(&["--user", "ana"]).is_err(), "no agent");
    assert!(make(&["--user", "ana", "--agent", "b d"]).is_err());
    assert!(!place.exists());
    let flags = ["--user", "ana", "--agent", "helper", "--server", "git"];
    assert_eq!(make(&flags).expect("made"), Exit::Done);
    assert!(place.join("tools/git.json").is_file());
    assert!(make(&flags).is_err(), "it is there already");
    let beside = fs::read_dir(dir.path().join("new")).expect("the parent");
    assert_eq!(beside.count(), 1, "nothing is left over");
    assert!(run(&args(&[".", "--user", "a", "--agent", "b"])).is_err());
}
