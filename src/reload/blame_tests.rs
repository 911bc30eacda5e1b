use std::cell::Cell;

use super::*;
use crate::bundle::files::FileKind;

fn files(count: usize) -> BundleFiles {
    let source = |at: usize| SourceFile {
        kind: FileKind::Policies,
        file: format!("policies/{at:03}.cedar").into(),
        stem: "a".into(),
        text: "".into(),
        digest: None,
    };
    BundleFiles {
        digests: (0..count)
            .map(|at| (Arc::from(format!("{at:03}.cedar")), [at as u8; 32]))
            .collect(),
        ..BundleFiles::from_sources((0..count).map(source).collect())
    }
}

fn suspects(count: usize, live: Option<&FileDigests>) -> Suspects {
    Suspects::of(&files(count), Path::new("policies"), live)
}

fn has(tried: &[SourceFile], name: &str) -> bool {
    tried.iter().any(|source| &*source.file == name)
}

#[test]
fn whichever_file_it_is_is_found_in_few_trials() {
    for count in [1, 2, 3, 7, 100] {
        for at in 0..count {
            let bad = format!("policies/{at:03}.cedar");
            let trials = Cell::new(0);
            let found = suspects(count, None).found(|tried| {
                trials.set(trials.get() + 1);
                Some(!has(tried, &bad))
            });
            assert_eq!(found, [Arc::from(bad)]);
            assert!(trials.get() <= 8, "{count}: {}", trials.get());
        }
    }
}

#[test]
fn only_what_is_not_in_service_is_in_question() {
    let mut live = files(10).digests;
    live.insert("003.cedar".into(), [99; 32]);
    live.remove("007.cedar");
    let suspects = suspects(10, Some(&live));
    let names = suspects.names();
    assert_eq!(listed(&names), "policies/003.cedar, policies/007.cedar");
    let found = suspects.found(|tried| {
        assert!(has(tried, "policies/009.cedar"), "what is known is there");
        Some(!has(tried, "policies/007.cedar"))
    });
    assert_eq!(listed(&found), "policies/007.cedar");
}

#[test]
fn what_fails_once_names_nothing_and_what_there_is_no_time_for_names_all_that_it_can_be() {
    assert!(suspects(8, None).found(|_| Some(true)).is_empty());
    let left = Cell::new(2);
    let found = suspects(8, None).found(|tried| {
        left.set(left.get() - 1);
        (left.get() >= 0).then(|| !has(tried, "policies/006.cedar"))
    });
    assert_eq!(listed(&found), "policies/006.cedar, policies/007.cedar");
    assert_eq!(
        listed(&suspects(8, None).names()),
        "policies/000.cedar, policies/001.cedar, policies/002.cedar, policies/003.cedar, policies/004.cedar and 3 more"
    );
}
