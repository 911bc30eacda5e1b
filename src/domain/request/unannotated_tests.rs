use serde_json::json;

use super::*;

/// What the SDK (mcp 1.30.0 and 2.3.0) advertises of `def read(path, a_b, note="x", URL="", depth: Any = None, p2: str = "y", …)`.
fn of_sdk() -> Json {
    json!({"title": "readArguments", "type": "object", "required": ["path", "a_b"], "properties": {
        "path": {"title": "path", "type": "string"},
        "a_b": {"title": "a_b", "type": "string"},
        "note": {"default": "x", "title": "note", "type": "string"},
        "h": {"description": "with a description", "title": "h", "type": "string"},
        "URL": {"default": "", "title": "URL", "type": "string"},
        "depth": {"default": null, "title": "Depth"},
        "count": {"title": "count", "type": "integer"},
        "p2": {"default": "y", "title": "P2", "type": "string"},
        "URL2": {"default": "", "title": "Url2", "type": "string"},
        "A": {"title": "A", "type": "string"},
        "Path": {"title": "Path", "type": "string"},
        "路径": {"title": "路径", "type": "string"},
    }})
}

#[test]
fn a_parameter_without_an_annotation_is_known_by_its_title() {
    let names = |schema: &Json| {
        let names = unannotated(schema).map(str::to_owned);
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let certain = ["URL", "a_b", "h", "note", "path"];
    let own_titles = ["A", "Path", "路径"];
    let expected = certain.into_iter().chain(own_titles).map(str::to_owned);
    assert_eq!(names(&of_sdk()), expected.collect());
    let mut of_others = of_sdk();
    of_others["title"] = json!("Read a file");
    assert!(names(&of_others).is_empty());
    assert!(
        names(&json!({"properties": {"path": {"title": "path", "type": "string"}}})).is_empty()
    );
    assert!(names(&json!({"title": "readArguments", "properties": []})).is_empty());
    assert!(names(&json!(true)).is_empty());
}
