use super::*;
use crate::domain::request::operation::{ClientOperation, Listing, OperationKind};
use crate::domain::schema::{TYPES, entity_uid};

fn operation(initiator: Initiator) -> Operation {
    let kind = match initiator {
        Initiator::Server => OperationKind::OnClient(ClientOperation::ListRoots),
        Initiator::Client | Initiator::Ui => OperationKind::List(Listing::Tools),
    };
    Operation::new(initiator, "files", kind)
}

fn conversation(delegation: Option<ActorChain>) -> Conversation {
    Conversation {
        subject: Subject::verified(entity_uid(&TYPES.agent, "helper"), "jwt"),
        actor_chain: delegation,
        workflow: Workflow {
            session_id: Some("s".into()),
            ..Workflow::default()
        },
        approval_ids: vec!["yes".into()],
        environment: Environment::default(),
        trace: TraceContext::default(),
        peer: Identity::default(),
        expires_at: Some(SystemTime::UNIX_EPOCH),
    }
}

#[test]
fn the_client_asks_in_its_own_name() {
    let alice = entity_uid(&TYPES.user, "alice");
    let call =
        conversation(Some(ActorChain::verified_from(alice))).call(operation(Initiator::Client));
    assert_eq!(call.subject.entity, entity_uid(&TYPES.agent, "helper"));
    assert!(call.actor_chain.expect("as it was").actors.is_empty());
    assert_eq!(call.approval_ids, ["yes"]);
}

#[test]
fn a_server_asks_on_behalf_of_the_client_that_called_it() {
    let (alice, helper) = (
        entity_uid(&TYPES.user, "alice"),
        entity_uid(&TYPES.agent, "helper"),
    );
    let asked = conversation(Some(ActorChain::verified_from(alice.clone())))
        .call(operation(Initiator::Server));
    assert_eq!(asked.subject.entity, schema::server_uid(&"files".into()));
    assert!(
        !asked.subject.identity.verified,
        "nobody has said who the server is"
    );
    let delegation = asked.actor_chain.expect("the client's");
    assert_eq!(
        (delegation.root, delegation.actors),
        (Some(alice), vec![helper.clone()])
    );
    assert!(asked.approval_ids.is_empty());
    assert_eq!(asked.workflow.session_id, Some("s".into()));

    let alone = conversation(None).call(operation(Initiator::Server));
    let delegation = alone.actor_chain.expect("the client itself");
    assert_eq!(
        (delegation.root, delegation.actors),
        (Some(helper), Vec::new())
    );
    assert_eq!(delegation.expires_at, Some(SystemTime::UNIX_EPOCH));

    let by_delegation = conversation(Some(ActorChain::from_delegation_ids(vec!["g".into()])))
        .call(operation(Initiator::Server));
    let delegation = by_delegation.actor_chain.expect("the grant");
    assert_eq!((delegation.root, delegation.actors), (None, Vec::new()));
}
