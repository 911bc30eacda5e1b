use super::*;
use crate::domain::decide::observe::Hold;

#[test]
fn what_is_observed_is_what_the_configuration_names() {
    let config = |service, callers: &[&str], servers: &[&str]| ObserveConfig {
        service,
        callers: callers.iter().map(ToString::to_string).collect(),
        servers: servers.iter().map(ToString::to_string).collect(),
    };
    assert!(config(false, &[], &[]).is_off());
    assert!(config(true, &[], &[]).covers("any", None));
    let some = config(false, &["edge"], &["wiki"]);
    assert!(some.covers("edge", Some("git")) && some.covers("other", Some("wiki")));
    assert!(!some.covers("other", Some("git")) && !some.covers("other", None));
    assert_eq!(some.summary(), "caller edge, server wiki");
    assert_eq!(config(true, &["edge"], &[]).summary(), "the whole service");
}

#[test]
fn a_hold_lets_nothing_pass() {
    assert_eq!(passing(Ok(1)), Some(1));
    assert_eq!(passing::<u8>(Err(Hold::NotEvaluated)), None);
    assert_eq!(passing::<u8>(Err(Hold::AlwaysEnforced(None))), None);
}
