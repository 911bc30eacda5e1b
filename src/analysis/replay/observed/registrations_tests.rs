use super::*;
use crate::analysis::replay::observed::world_tests::{by_helper, files, proposal, source, tool};

/// The text of a registration, extended for a call of `append_line`.
fn extended(text: &str) -> String {
    let mut files = files("");
    files.sources.retain(|it| *it.file != *"tools/notes.json");
    let file = "policies/tools/team/notes.json";
    files
        .sources
        .push(source(FileKind::Registration, file, text));
    files
        .digests
        .insert("tools/team/notes.json".into(), [0; 32]);
    let proposal = proposal(&files, &[by_helper(tool("notes", "append_line")).into()]);
    assert_eq!((proposal.tools, proposal.allowed), (1, 1), "{proposal:#?}");
    let names: Vec<_> = proposal.registrations.keys().collect();
    assert_eq!(names, ["tools/team/notes.json"]);
    proposal.registrations.into_values().next().expect("one")
}

const OWN: &str = r#""read": {"access":"read",   "status": "confirmed", "yields": [], "egress": false,
      "sensitivity": "internal"}"#;

#[test]
fn a_registration_is_extended_in_its_own_file_and_what_is_there_stays_as_it_is() {
    let server = r#"  "server": {"owner": "alice", "name" : "notes"}"#;
    let lines = format!("{{\n{server},\n\n  \"tools\": {{\n    {OWN}\n  }}\n}}");
    let one_line = format!("{{\n{server}, \"tools\": {{{OWN}}} }}\n");
    let tools_first = format!("{{ \"tools\": {{\n\t{OWN}\n}},\n{server} }}\n");
    let empty = format!("{{\n{server},\n  \"tools\": {{}}\n}}\n");
    for text in [lines, one_line, tools_first, empty] {
        let extended = extended(&text);
        // Taking away what was put in gives back the file, byte for byte.
        let start = extended
            .bytes()
            .zip(text.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let added = extended.len() - text.len();
        let end = text.len() - start;
        assert!(extended.ends_with(&text[start..]) && end + start + added == extended.len());
        let file: Arc<str> = "notes.json".into();
        let origin = SourceText {
            file: &file,
            text: &extended,
        };
        let mut faults = Vec::new();
        let parsed = registration::parse_text(origin, &mut faults).expect("it parses");
        assert!(parsed.tools.contains_key("append_line"), "{extended}");
    }
    insta::assert_snapshot!(extended(&format!(
        "{{\n{server},\n  \"tools\": {{\n    {OWN}\n  }}\n}}\n"
    )));
}

#[test]
fn a_server_that_is_registered_in_another_way_is_told_of() {
    let mut files = files("");
    let uid = |ty: &str, id: &str| json!({ "type": format!("Mcp::{ty}"), "id": id });
    let blog = json!([{ "uid": uid("Server", "blog"), "parents": [],
        "attrs": { "owner": { "__entity": uid("User", "alice") }, "active": true } }]);
    files.sources.push(source(
        FileKind::Entities,
        "entities/b.json",
        &blog.to_string(),
    ));
    let proposal = proposal(&files, &[by_helper(tool("blog", "post")).into()]);
    assert_eq!((proposal.tools, proposal.permits), (0, 0));
    let by_hand = &proposal.by_hand[0];
    assert_eq!(by_hand.what, "server `blog`");
    assert!(by_hand.why.contains("tools/blog.json"), "{by_hand:?}");
}
