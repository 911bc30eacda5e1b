use serde_json::json;

use crate::analysis::propose::tests::with;

#[test]
fn a_text_beside_the_name_of_a_file_is_its_content() {
    let text = || json!({"type": "string"});
    let file = || json!({"type": "object", "properties": {"path": text(), "content": text()}});
    let edit = || json!({"type": "object", "properties": {"newText": text()}});
    let list = |items| json!({"type": "array", "items": items});
    for (name, properties, contents) in [
        (
            "write_file",
            json!({"path": text(), "content": text()}),
            vec!["content"],
        ),
        (
            "create_file",
            json!({"filename": text(), "fileText": text()}),
            vec!["fileText"],
        ),
        (
            "push_files",
            json!({"files": list(file()), "message": text()}),
            vec!["files[].content"],
        ),
        (
            "edit_file",
            json!({"path": text(), "edits": list(edit())}),
            vec!["edits[].newText"],
        ),
        // Not beside a file, not about files, not a text that is free.
        ("write_file", json!({"content": text()}), vec![]),
        (
            "create_page",
            json!({"path": text(), "content": text()}),
            vec![],
        ),
        (
            "write_file",
            json!({"path": text(), "content": {"enum": ["a", "b"]}}),
            vec![],
        ),
        (
            "write_file",
            json!({"path": text(), "content": {"type": "number"}}),
            vec![],
        ),
        (
            "write_file",
            json!({"path": text(), "message": text()}),
            vec![],
        ),
    ] {
        let entry = with(name, properties.clone());
        assert_eq!(entry.file_contents, contents, "{name} {properties}");
        assert_eq!(
            entry.why.contains_key("file_contents"),
            !contents.is_empty()
        );
    }
}
