use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    put: Put,
}

fn read(words: &[&str]) -> anyhow::Result<Json> {
    let words = ["put"].iter().chain(words).chain(&["--as", "user:ines"]);
    let entity = Line::try_parse_from(words)?.put.entity()?;
    Ok(crate::proto::json::write("Entity", &entity)?)
}

#[test]
fn flags_and_cedar_json_say_the_same() {
    let flags = read(&[
        "agent:scout",
        "--attr",
        "active=true",
        "--ref",
        "owner=user:kim",
        "--parent",
        "group:staff",
        "--tag",
        "team=a",
        "--tag",
        "team=b",
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scout.json");
    let text = r#"{"uid": {"__entity": {"type": "Mcp::Agent", "id": "scout"}},
        "attrs": {"active": true, "owner": {"__entity": {"type": "Mcp::User", "id": "kim"}}},
        "parents": [{"type": "Mcp::Group", "id": "staff"}], "tags": {"team": ["a", "b"]}}"#;
    std::fs::write(&path, text).expect("a file");
    let file = read(&["--file", &path.display().to_string()]);
    let flags = flags.expect("an entity");
    assert_eq!(flags, file.expect("an entity"));
    assert_eq!(flags["attributes"]["owner"]["__entity"]["id"], "kim");

    for (other, wanted) in [
        (
            text.replace("\"tags\"", "\"attrs\": {}, \"tags\""),
            "the key `attrs` occurs twice",
        ),
        (
            text.replace("\"tags\"", "\"attributes\": {}, \"tags\""),
            "both `attrs` and `attributes`",
        ),
        (
            text.replace("true", "true, \"active\": false"),
            "the key `active` occurs twice",
        ),
    ] {
        std::fs::write(&path, other).expect("a file");
        let wrong = read(&["--file", &path.display().to_string()]).expect_err(wanted);
        assert!(format!("{wrong:#}").contains(wanted), "{wrong:#}");
    }

    std::fs::write(&path, text.replace("attrs", "atrs")).expect("a file");
    let wrong = read(&["--file", &path.display().to_string()]).expect_err("a wrong field");
    assert!(format!("{wrong:#}").contains("atrs"), "{wrong:#}");
}

#[test]
fn an_attribute_has_one_value_and_an_entity_one_source() {
    for words in [
        &["user:kim", "--attr", "a=1", "--attr", "a=2"][..],
        &["user:kim", "--attr", "a=1", "--ref", "a=user:sam"],
        &["user:kim", "--file", "x"],
        &["--file", "x", "--attr", "a=1"],
        &[],
    ] {
        assert!(read(words).is_err(), "{words:?}");
    }
}
