//! Tokens of pages: each is good for the list that gave it.

use callgate::proto::v1;
use tonic::Code;

use crate::control::{World, assert_refused, by};
use crate::support::in_process::entity;

const REFUSED: &str = "`page_token` is not a token of this list";

#[tokio::test]
async fn a_token_is_good_for_the_list_that_gave_it() {
    let mut world = World::start().await;
    for _ in 0..3 {
        world.granted(world.grant()).await;
        world.opened(world.task()).await;
    }
    let first = v1::ListDelegationsRequest {
        to: entity("Agent", "helper"),
        page_size: 1,
        ..Default::default()
    };
    let page = world.client.list_delegations(by("edge", first.clone()));
    let token = page.await.expect("a page").into_inner().next_page_token;
    // The same list, spelt otherwise and with another size.
    let second = v1::ListDelegationsRequest {
        to: entity("Mcp::Agent", "helper"),
        page_size: 2,
        page_token: token.clone(),
        ..Default::default()
    };
    let page = world.client.list_delegations(by("edge", second));
    let page = page.await.expect("a page").into_inner();
    assert_eq!(
        (page.delegations.len(), page.next_page_token),
        (2, String::new())
    );
    // With another filter, and of another list.
    let other = v1::ListDelegationsRequest {
        from: entity("User", "sam"),
        page_token: token.clone(),
        ..Default::default()
    };
    let answer = world.client.list_delegations(by("edge", other)).await;
    assert_refused(answer, Code::InvalidArgument, REFUSED);
    for odd in [token.as_str(), "zzzz", "a\nb", "delegation-0"] {
        let tasks = v1::ListTasksRequest {
            page_token: odd.into(),
            ..Default::default()
        };
        let answer = world.client.list_tasks(by("edge", tasks)).await;
        assert_refused(answer, Code::InvalidArgument, REFUSED);
        let approvals = v1::ListApprovalsRequest {
            page_token: odd.into(),
            ..Default::default()
        };
        let answer = world.client.list_approvals(by("edge", approvals)).await;
        assert_refused(answer, Code::InvalidArgument, REFUSED);
    }
}

#[tokio::test]
async fn entities_are_listed_of_a_type_that_there_is() {
    let mut world = World::start().await;
    for (of_type, said) in [
        (
            "Bogus",
            "`type` `Mcp::Bogus` is no type that the schema declares",
        ),
        ("Other::Bogus", "`type` `Other::Bogus` is no type"),
        ("::", "`type` `::` is not an entity type"),
        ("no type", "`type` `no type` is not an entity type"),
    ] {
        let request = v1::ListEntitiesRequest {
            r#type: of_type.into(),
            ..Default::default()
        };
        let answer = world.client.list_entities(by("edge", request)).await;
        assert_refused(answer, Code::InvalidArgument, said);
    }
    for of_type in ["User", "Mcp::User"] {
        let request = v1::ListEntitiesRequest {
            r#type: of_type.into(),
            ..Default::default()
        };
        let answer = world.client.list_entities(by("edge", request)).await;
        answer.expect("a list");
    }
}
