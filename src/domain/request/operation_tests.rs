use std::collections::BTreeSet;

use super::*;

#[test]
fn every_operation_has_a_number_and_a_name_of_its_own() {
    let all: Vec<OperationType> = OperationType::all().collect();
    for operation in &all {
        let described = operation.description();
        assert_eq!(
            OperationType::from_number(described.number),
            Some(*operation)
        );
        assert_eq!(OperationType::from_name(described.name), Some(*operation));
    }
    // Numbers are used up without gaps, so the next free one is known.
    let numbers: BTreeSet<u8> = all.iter().map(|it| it.description().number).collect();
    let expected = 0..u8::try_from(all.len()).expect("few operations");
    assert_eq!(numbers, expected.collect());
    assert_eq!(OperationType::from_number(u8::MAX), None);
    assert_eq!(OperationType::from_name("reverse_call"), None);
}

#[test]
fn an_operation_that_alone_has_its_shape_is_listed() {
    for operation in SINGLE {
        // A new shape belongs into `SINGLE`, or has a table that `all` reads.
        match operation {
            OperationType::Connect | OperationType::CallTool | OperationType::GetPrompt => {}
            OperationType::Sample | OperationType::ElicitForm | OperationType::ElicitUrl => {}
            OperationType::List(_)
            | OperationType::OnResource(_)
            | OperationType::OnPrompt(_)
            | OperationType::OnClient(_) => panic!("{operation:?} has a table"),
        }
    }
}

#[test]
fn what_lists_has_a_name_for_the_filtered_list_and_nothing_else_has() {
    for operation in OperationType::all() {
        let is_listing = matches!(operation, OperationType::List(_));
        assert_eq!(
            operation.description().filter.is_some(),
            is_listing,
            "{operation:?}"
        );
    }
}

#[test]
fn only_what_looks_or_keeps_a_connection_is_incidental_and_uses_no_budget() {
    let connect = |method| OperationKind::Connect { method };
    let name = || SmolStr::new_static("x");
    let looking = Listing::ALL.iter().copied().map(OperationKind::List);
    let looking = looking.chain(BRINGING_NOTHING.map(connect));
    for kind in looking {
        assert!(kind.is_incidental() && !kind.uses_budget(), "{kind:?}");
        assert_eq!(kind.access(), AccessLevel::Read, "{kind:?}");
    }
    let of_servers = [
        OperationKind::Sample(Sampling::default()),
        OperationKind::ElicitUrl { url: String::new() },
        OperationKind::OnClient(ClientOperation::ListRoots),
    ];
    for kind in of_servers {
        assert!(kind.is_incidental() && kind.uses_budget(), "{kind:?}");
    }
    let on_resources = ResourceOperation::ALL.iter().copied();
    let on_resources = on_resources.map(|operation| OperationKind::OnResource {
        operation,
        uri: name(),
    });
    let on_prompts = PromptOperation::ALL.iter().copied();
    let on_prompts = on_prompts.map(|operation| OperationKind::OnPrompt {
        operation,
        name: name(),
    });
    let results = ["tasks/get", "tasks/result", "tasks/list", RESUME].map(connect);
    let bringing =
        on_resources
            .chain(on_prompts)
            .chain(results)
            .chain([OperationKind::GetPrompt {
                name: name(),
                arguments: Vec::new(),
            }]);
    for kind in bringing {
        assert!(!kind.is_incidental() && kind.uses_budget(), "{kind:?}");
        assert!(!kind.is_unasked(), "{kind:?}");
        assert_eq!(kind.access(), AccessLevel::Read, "{kind:?}");
    }
    // As often as a server likes: it uses up no call, and what it brings takes the authority that it took.
    for kind in [UNAWAITED, "notifications/tasks"].map(connect) {
        assert!(kind.is_unasked(), "{kind:?}");
        assert!(!kind.is_incidental() && !kind.uses_budget(), "{kind:?}");
        assert_eq!(kind.brings(), ResultLabels::OfAnyCall, "{kind:?}");
    }
    for kind in ["tasks/update", "tasks/cancel"].map(connect) {
        assert!(!kind.is_incidental() && kind.uses_budget(), "{kind:?}");
        assert_eq!(kind.access(), AccessLevel::Write, "{kind:?}");
    }
}
