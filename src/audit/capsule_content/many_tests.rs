use std::collections::BTreeMap;
use std::time::SystemTime;

use callgate_engine::cedar::Value;

use super::*;
use crate::audit::capsule_content::entities::ReachableEntities;
use crate::audit::capsule_content::{Capsule, CapsuleRequest};
use crate::authn::caller::Caller;
use crate::domain::authority::state::Authority;
use crate::domain::fixtures::{agent, get_issue, person};
use crate::domain::reason::ReasonCode;

/// Calls something with what a decision was made from.
fn with<T>(encode: impl FnOnce(DecidedWith<'_>) -> T) -> T {
    let (caller, authority, entities) = (
        Caller::local(),
        Authority::default(),
        ReachableEntities::default(),
    );
    encode(DecidedWith {
        policy_set_digest: "sha256:0",
        caller: &caller,
        now: SystemTime::UNIX_EPOCH,
        authority: &authority,
        entities: &entities,
    })
}

/// The capsule of a list of so many entries, each with a name of so many bytes.
fn list(count: usize, bytes: usize) -> Option<Vec<u8>> {
    let prompt = |number| ListedItem::Prompt(format!("{number:0bytes$}").into());
    let items: Vec<ListedItem> = (0..count).map(prompt).collect();
    let hidden: Vec<HiddenReason> = (0..count)
        .map(|number| (number % 2 == 1).then_some(ReasonCode::NoPermit))
        .collect();
    let call = get_issue();
    with(|with| {
        let capsule = ListCapsule {
            with,
            call: &call,
            history: History::default(),
            missing: MissingFacts::default(),
            items: &items,
            hidden: &hidden,
        };
        capsule.encode()
    })
}

/// The capsule of a search with so many candidates, each with a context of its own or all with the same one.
fn search(count: usize, bytes: usize, is_same: bool) -> Option<Vec<u8>> {
    let candidate = |number: usize| {
        let number = if is_same { 0 } else { number };
        let text = SmolStr::from(format!("{number:0bytes$}"));
        let context = BTreeMap::from([("text".into(), Value::from(text))]);
        SearchedCandidate {
            request: ParcRequest {
                principal: agent("helper"),
                action: schema::entity_uid(&schema::TYPES.action, "call_read"),
                resource: person("alice"),
                context: Context::Value(Arc::new(context)),
                asserted: Vec::new(),
                denied: None,
                trace: TraceContext::default(),
            },
            is_allow: false,
            code: Some("NO_PERMIT".into()),
        }
    };
    let candidates: Vec<SearchedCandidate> = (0..count).map(candidate).collect();
    with(|with| {
        let capsule = SearchCapsule {
            with,
            candidates: &candidates,
        };
        capsule.encode()
    })
}

fn decoded(bytes: &[u8]) -> CapsuleRequest {
    Capsule::decode(bytes).expect("its own encoding").request
}

#[test]
fn a_list_is_there_up_to_the_most_entries_and_not_beyond() {
    let bytes = list(MAX_ENTRIES, 8).expect("as many as there may be");
    let CapsuleRequest::List(_, _, entries) = decoded(&bytes) else {
        panic!("no list");
    };
    assert_eq!(entries.len(), MAX_ENTRIES);
    let hidden = entries.iter().filter(|entry| entry.hidden.is_some());
    assert_eq!(hidden.count(), MAX_ENTRIES / 2);
    assert_eq!(list(MAX_ENTRIES + 1, 8), None);
}

#[test]
fn a_list_is_there_up_to_the_most_bytes_and_not_beyond() {
    let of_each = 1_024;
    let fit = MAX_BYTES / (of_each + 16);
    let bytes = list(fit, of_each).expect("they fit");
    assert!(bytes.len() <= MAX_BYTES && bytes.len() > MAX_BYTES / 10 * 9);
    assert_eq!(list(MAX_BYTES / of_each, of_each), None);
}

#[test]
fn a_search_is_there_up_to_the_most_candidates_and_bytes() {
    let bytes = search(MAX_ENTRIES, 8, false).expect("as many as there may be");
    let CapsuleRequest::Search(candidates) = decoded(&bytes) else {
        panic!("no search");
    };
    assert_eq!(candidates.len(), MAX_ENTRIES);
    assert!(search(MAX_ENTRIES + 1, 8, false).is_none());
    assert!(search(MAX_ENTRIES, 1_024, false).is_none());
    // What all have in common is there once, however much it is.
    let common = search(MAX_ENTRIES, 1_024, true).expect("once");
    assert!(common.len() < bytes.len() + 2 * 1_024);
}

#[test]
fn a_capsule_with_more_bytes_than_there_may_be_is_not_read() {
    let mut bytes = list(1, 8).expect("small");
    bytes.resize(MAX_BYTES + 1, 0);
    assert!(matches!(
        Capsule::decode(&bytes),
        Err(CapsuleContentError::TooLarge(count)) if count == MAX_BYTES + 1
    ));
}
