use super::*;

#[test]
fn only_what_differs_is_kept_and_until_it_no_longer_does() {
    let definitions = Definitions::default();
    let tool: EntityUID = r#"Mcp::Tool::"github/get_issue""#.parse().expect("a name");
    definitions.shown(&tool, &"pinned".into(), true);
    assert!(definitions.is_empty());
    definitions.shown(&tool, &"other".into(), false);
    definitions.shown(&tool, &"another".into(), false);
    assert_eq!(definitions.of(&tool), Some("another".into()));
    definitions.shown(&tool, &"pinned".into(), true);
    assert!(definitions.is_empty() && definitions.of(&tool).is_none());
}
