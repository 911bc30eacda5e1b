use super::*;

const KEEP: Duration = Duration::from_secs(900);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + KEEP
}

fn place(gateway: &str, tool: &str) -> GatewayTool {
    GatewayTool {
        gateway: gateway.into(),
        tool: crate::domain::schema::tool_uid("github", tool),
    }
}

fn changed(digest: &str, at: SystemTime) -> Option<ChangedDefinition> {
    Some(ChangedDefinition {
        digests: DefinitionDigests::from_digest(digest.into()),
        fields: vec!["description"],
        at,
    })
}

#[test]
fn only_what_differs_is_kept_and_until_it_no_longer_does() {
    let definitions = ShownDefinitions::new(KEEP);
    let tool = place("edge", "get_issue");
    let show = |changed| definitions.record(&[(tool.clone(), changed)], start());
    show(None);
    assert!(definitions.is_empty());
    show(changed("other", start()));
    show(changed("another", start()));
    let shown = definitions.get(&tool, start());
    assert!(shown.is_some_and(|it| it.are("another")));
    show(None);
    assert!(definitions.is_empty() && definitions.get(&tool, start()).is_none());
}

#[test]
fn what_one_gateway_shows_is_nothing_to_another_and_is_forgotten_in_time() {
    let definitions = ShownDefinitions::new(KEEP);
    let tool = place("edge", "get_issue");
    definitions.record(&[(tool.clone(), changed("other", start()))], start());
    let elsewhere = place("other", "get_issue");
    assert_eq!(definitions.get(&elsewhere, start()), None);
    assert!(definitions.get(&tool, start() + KEEP / 2).is_some());
    assert_eq!(definitions.all(start() + KEEP / 2).len(), 1);
    assert_eq!(definitions.get(&tool, start() + KEEP), None);
    assert!(definitions.all(start() + KEEP).is_empty());
    let earlier = start() - KEEP;
    assert!(definitions.get(&tool, earlier).is_some(), "no time passed");
}

#[test]
fn a_tool_that_one_list_shows_twice_is_what_differs() {
    let definitions = ShownDefinitions::new(KEEP);
    let tool = place("edge", "get_issue");
    let both = [
        (tool.clone(), changed("other", start())),
        (tool.clone(), None),
    ];
    definitions.record(&both, start());
    assert!(definitions.get(&tool, start()).is_some());
}

#[test]
fn there_is_room_for_so_many_and_the_oldest_make_room() {
    let definitions = ShownDefinitions::new(KEEP);
    let later = start() + Duration::from_secs(1);
    let tools = |from: usize, at| -> Vec<_> {
        (from..from + MOST / 2 + 1)
            .map(|index| (place("edge", &format!("t{index}")), changed("other", at)))
            .collect()
    };
    definitions.record(&tools(0, start()), start());
    definitions.record(&tools(MOST, later), later);
    let all = definitions.all(later);
    assert_eq!(all.len(), MOST);
    let newer = all.iter().filter(|(_, changed)| changed.at == later);
    assert_eq!(newer.count(), MOST / 2 + 1);
}
