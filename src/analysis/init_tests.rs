use std::fs;

use super::*;
use crate::analysis::format::{Style, format};
use crate::analysis::policy_test::TestedBundle;
use crate::analysis::policy_test::mutate::mutate;

fn options(user: &str, agent: &str, servers: &[&str]) -> InitOptions {
    InitOptions {
        user: user.to_owned(),
        agent: agent.to_owned(),
        servers: servers.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn loaded(options: &InitOptions) -> TestedBundle {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (path, text) in files(options).expect("the files") {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }
    TestedBundle::load(dir.path(), None).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn what_is_made_is_in_order_tested_and_observed() {
    for options in [
        options("ana", "helper", &[]),
        options("a.b@c", "H-1", &["git", "unheard-of"]),
        options("1", "true", &["null", "filesystem"]),
    ] {
        let tested = loaded(&options);
        assert!(
            tested.bundle.warnings.is_empty(),
            "{:?}",
            tested.bundle.warnings
        );
        assert!(tested.bundle.config.observe.service);
        let ran = tested.run(None, true).expect("the tests run");
        let failed: Vec<_> = ran.failures().collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert_eq!(ran.coverage.expect("it was asked for").percent(), 100);
    }
}

#[test]
fn its_policies_are_as_the_formatter_writes_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = files(&options("ana", "helper", &[])).expect("the files");
    fs::write(dir.path().join("first.cedar"), &files["first.cedar"]).expect("written");
    let style = Style {
        line_width: 80,
        indent: 2,
    };
    let formatted = format(dir.path(), style).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(formatted[0].text, formatted[0].before);
}

#[test]
fn its_tests_notice_every_change_of_its_policies() {
    let tested = loaded(&options("ana", "helper", &["notes"]));
    let report = mutate(&tested, None, false).expect("the tests run");
    let survivors: Vec<_> = report.survivors().collect();
    assert!(survivors.is_empty(), "{survivors:#?}");
}

#[test]
fn a_server_of_the_catalogue_comes_with_its_reviewed_tools() {
    let files = files(&options("ana", "helper", &["git", "elsewhere"])).expect("the files");
    let tools = |name: &str| {
        let text = &files[&format!("tools/{name}.json")];
        let registration: Registration = serde_json::from_str(text).expect("a registration");
        assert_eq!(registration.server.owner, "ana");
        registration.tools.len()
    };
    assert!(tools("git") >= 10);
    assert_eq!(tools("elsewhere"), 0);
}

#[test]
fn names_that_mean_something_elsewhere_are_refused() {
    for bad in ["", "a b", "a\"b", "-a", "a\nb", "ü", &"a".repeat(65)] {
        assert!(files(&options(bad, "helper", &[])).is_err(), "{bad}");
        assert!(files(&options("ana", bad, &[])).is_err(), "{bad}");
        assert!(files(&options("ana", "helper", &[bad])).is_err(), "{bad}");
    }
    assert!(files(&options("ana", "helper", &["../x"])).is_err());
    assert!(files(&options("ana", "helper", &["example"])).is_err());
}
