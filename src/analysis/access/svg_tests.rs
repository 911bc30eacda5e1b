use super::*;

#[test]
fn names_cannot_break_the_document() {
    assert_eq!(
        escaped("<a href=\"x\">&\u{1}\n"),
        "&lt;a href=&quot;x&quot;&gt;&amp;\u{fffd} "
    );
    assert_eq!(label("a".repeat(60)).chars().count(), MAX_LABEL);
    assert_eq!(short("Mcp::Agent::\"support\""), "agent:support");
    assert_eq!(short("Team::Bot::\"x\""), "Team::Bot::\"x\"");
}

#[test]
fn servers_stand_apart() {
    let tools = ["a/x", "a/y", "b/x"].map(str::to_owned);
    let places = places(&tools, 100);
    assert_eq!(places, [100, 100 + CELL.1, 100 + 2 * CELL.1 + GAP]);
}
