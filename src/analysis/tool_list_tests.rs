use std::sync::Arc;

use super::*;

fn parse_text(text: &str) -> Result<Vec<ListedTool>, Vec<BundleDiagnostic>> {
    parse(SourceText {
        file: &Arc::from("list.json"),
        text,
    })
}

#[test]
fn every_wrapping_of_a_list_is_read() {
    let bare = r#"{"tools": [{"name": "a"}]}"#;
    let named = r#"{"serverInfo": {"name": "x"}, "tools": [{"name": "a"}]}"#;
    let response = r#"{"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "a"}]}}"#;
    for text in [bare, named, response] {
        let tools = parse_text(text).expect("a list");
        assert_eq!(tools[0].name, "a");
        assert_eq!(tools[0].shape, json!({}));
    }
}

#[test]
fn every_tool_that_cannot_be_read_is_told_with_its_place() {
    let text = "{\"tools\": [\n {\"name\": \"a\"},\n {\"name\": \"a\"},\n {\"name\": 3},\n {},\n \"b\",\n {\"name\": \"\"}\n]}";
    let faults = parse_text(text).expect_err("faults");
    let told: Vec<_> = faults
        .iter()
        .map(|fault| (fault.line.unwrap_or(0), fault.message.as_str()))
        .collect();
    let expected = [
        (3, "the tool `a` is listed twice"),
        (4, "a tool's `name` is text"),
        (5, "a tool without `name`"),
        (6, "a tool is an object"),
        (7, "a tool without a name"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_page_is_not_a_list() {
    let faults =
        parse_text(r#"{"result": {"tools": [], "nextCursor": "abc"}}"#).expect_err("a page");
    assert!(faults[0].message.contains("goes on at cursor `abc`"));
}

#[test]
fn other_documents_are_faults() {
    for text in [
        "",
        "[]",
        "{}",
        "{\"tools\": {}}",
        "{\"error\": {\"code\": 1}}",
        "{\"tools\": [{\"name\": \"a\", \"name\": \"b\"}]}",
    ] {
        assert!(parse_text(text).is_err(), "{text}");
    }
}

#[test]
fn the_digest_covers_the_whole_definition_and_not_how_it_is_written() {
    let digest = |tool: &str| {
        let tools = parse_text(&format!("{{\"tools\": [{tool}]}}")).expect("a list");
        tools[0].digest.clone()
    };
    let base = digest(r#"{"name": "a", "description": "é", "inputSchema": {"x": 1.0, "y": [1]}}"#);
    assert_eq!(
        base,
        digest(
            "{ \"inputSchema\": {\"y\":[1],\"x\":1}, \"description\": \"\\u00e9\",\n\"name\": \"a\"}"
        )
    );
    assert_ne!(
        base,
        digest(r#"{"name": "a", "description": "e", "inputSchema": {"x": 1, "y": [1]}}"#)
    );
    assert_ne!(
        base,
        digest(
            r#"{"name": "a", "description": "é", "inputSchema": {"x": 1, "y": [1]}, "title": ""}"#
        )
    );
    // As `sha256sum` has it.
    let known = "sha256:d9d719b27480b55cd4918020e7473e716ed3569c8adafe926cf9b10b4f8ef064";
    assert_eq!(digest(r#"{"name": "a"}"#), known);
}

#[test]
fn the_shape_keeps_what_typing_needs() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "title": "T", "additionalProperties": false,
        "properties": {
            "description": {"type": "string", "description": "long", "default": "x"},
            "kind": {"enum": ["a", "b"]},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "list": {"type": "array", "items": {"type": "string", "maxLength": 5}},
            "file": {"$ref": "#/$defs/file"},
        },
        "$defs": {"file": {"type": "object", "required": ["path"], "properties": {"path": {"type": "string", "title": "P"}}}},
        "required": ["description", "ghost", 3],
    });
    let expected = json!({
        "type": "object", "additionalProperties": false,
        "required": ["description", "ghost"],
        "properties": {
            "description": {"type": "string"},
            "kind": {"type": "string"},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "file": {"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}},
            "list": {"type": "array", "items": {"type": "string"}},
        },
    });
    let shape = |schema: &Json| {
        let left = Cell::new(MAX_SHAPES);
        let shaper = SchemaReducer { root: schema, left };
        shaper.shape(schema, 0)
    };
    assert_eq!(shape(&schema), expected);
    for strange in [
        json!(null),
        json!(true),
        json!([]),
        json!("x"),
        json!({"$ref": "#"}),
        json!({"$ref": "https://example.com/schema"}),
    ] {
        assert_eq!(shape(&strange), json!({}));
    }
    // What refers to itself again and again ends before it fills the memory.
    let names: Map<String, Json> = (0..20)
        .map(|n| (format!("p{n}"), json!({"$ref": "#"})))
        .collect();
    let endless = shape(&json!({"properties": names}));
    assert!(endless.to_string().len() < 1_000_000);
    let choices = vec![json!({"$ref": "#"}); 20];
    assert!(shape(&json!({"anyOf": choices})).to_string().len() < 1_000_000);
}

#[test]
fn a_schema_that_is_none_is_a_fault_of_its_tool() {
    for (schema, said) in [
        ("\"x\"", "the tool `log`: `inputSchema` is not an object"),
        (
            r#"{"type": "object", "required": "path"}"#,
            "the tool `log`: `inputSchema`: `required` is not a list of names",
        ),
        (
            r#"{"properties": {"path": {"type": "strng"}}}"#,
            "`properties.path.type` is `strng`",
        ),
    ] {
        let text = format!(r#"{{"tools": [{{"name": "log", "inputSchema": {schema}}}]}}"#);
        let file = std::sync::Arc::from("list.json");
        let origin = SourceText {
            file: &file,
            text: &text,
        };
        let faults = parse(origin).expect_err(&text);
        assert!(faults[0].message.contains(said), "{faults:?}");
    }
}

#[test]
fn a_member_that_would_not_count_is_a_fault() {
    for (tool, said) in [
        (
            r#""input_schema": {"type": "object"}"#,
            "`input_schema` is no way to spell `inputSchema`",
        ),
        (
            r#""InputSchema": {}"#,
            "`InputSchema` is no way to spell `inputSchema`",
        ),
        (
            r#""output-schema": {}"#,
            "`output-schema` is no way to spell `outputSchema`",
        ),
        (
            r#""parameters": {"type": "object"}"#,
            "there is no `inputSchema`, and `parameters` looks like one",
        ),
        (r#""args": {"properties": {}}"#, "`args` looks like one"),
        (r#""description": ["x"]"#, "`description` is not text"),
        (r#""title": 1"#, "`title` is not text"),
        (r#""annotations": []"#, "`annotations` is not an object"),
        (
            r#""annotations": {"destructive_hint": true}"#,
            "`destructive_hint` is no way to spell `destructiveHint`",
        ),
    ] {
        let faults = parse_text(&format!(r#"{{"tools": [{{"name": "a", {tool}}}]}}"#));
        let faults = faults.expect_err(tool);
        assert!(
            faults[0].message.starts_with("the tool `a`: "),
            "{faults:?}"
        );
        assert!(faults[0].message.contains(said), "{faults:?}");
    }
    for tool in [
        r#""inputSchema": {}, "parameters": {"type": "object"}"#,
        r#""inputSchema": {}, "title": null, "annotations": null"#,
        r#""inputSchema": {}, "input_schema": null, "output_schema": null"#,
        r#""annotations": {"readOnlyHint": null, "x-vendor": 1}, "_meta": {"a": 1}"#,
        r#""execution": {"taskSupport": "forbidden"}"#,
    ] {
        let text = format!(r#"{{"tools": [{{"name": "a", {tool}}}]}}"#);
        assert!(parse_text(&text).is_ok(), "{tool}");
    }
    for cursor in [
        r#""next_cursor": "abc""#,
        r#""nextCursor": 3"#,
        r#""NextCursor": """#,
    ] {
        let text = format!(r#"{{"result": {{"tools": [], {cursor}}}}}"#);
        let faults = parse_text(&text).expect_err(cursor);
        assert!(
            faults[0].message.contains("goes on at cursor"),
            "{faults:?}"
        );
    }
    assert!(parse_text(r#"{"tools": [], "nextCursor": null}"#).is_ok());
}

#[test]
fn a_hint_that_is_neither_true_nor_false_counts_as_the_worse() {
    let hints = |hint: &str| {
        let text = format!(
            r#"{{"tools": [{{"name": "a", "annotations": {{"readOnlyHint": {hint}, "destructiveHint": {hint}, "openWorldHint": {hint}}}}}]}}"#
        );
        let tools = parse_text(&text).expect(hint);
        let tool = &tools[0];
        (
            tool.read_only_hint,
            tool.destructive_hint,
            tool.open_world_hint,
        )
    };
    for hint in ["\"true\"", "1", "[]", "\"false\""] {
        assert_eq!(hints(hint), (Some(false), Some(true), Some(true)), "{hint}");
    }
    assert_eq!(hints("null"), (None, None, None));
    assert_eq!(hints("true"), (Some(true), Some(true), Some(true)));
}

#[test]
fn unpaired_surrogates_stay_different() {
    let digest = |text: &str| {
        let text = format!(r#"{{"tools": [{{"name": "a", "description": "{text}"}}]}}"#);
        parse_text(&text).expect("a list").remove(0).digest
    };
    assert_ne!(digest(r"\ud800"), digest(r"\ud801"));
    assert_ne!(digest(r"\ud800"), digest(r"\ufffd"));
    assert_eq!(digest(r"\ud800"), digest(r"\uD800"));
    let two = r#"{"tools": [{"name": "\ud800"}, {"name": "\ud801"}]}"#;
    assert_eq!(parse_text(two).expect("two tools").len(), 2);
}
