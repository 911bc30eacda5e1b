use super::*;

#[test]
fn tools_that_were_shown_with_another_definition_are_told_with_what_differs() {
    let tool = |tool: &str, fields: &[&str]| v1::ChangedTool {
        server: "files".to_owned(),
        tool: tool.to_owned(),
        gateway: "edge".to_owned(),
        fields: fields.iter().map(|&it| it.to_owned()).collect(),
        shown_at: None,
    };
    let status = |changed_tools| v1::GetStatusResponse {
        changed_tools,
        ..Default::default()
    };
    let told = text(&status(vec![
        tool("read", &["title", "description"]),
        tool("\u{202e}list", &[]),
    ]));
    let told = told.to_string();
    let line =
        "changed   files/read through edge: title, description; files/\\u{202e}list through edge\n";
    assert!(told.contains(line), "{told}");
    let told = text(&status(Vec::new())).to_string();
    assert!(!told.contains("changed"), "{told}");
}
