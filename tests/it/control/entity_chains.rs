//! How far the hierarchy of entities goes that is put through the control API: as far as that of a directory, in whatever
//! order it is put.

use callgate::proto::v1;
use tonic::{Code, Status};

use crate::control::{World, assert_refused, by, person};
use crate::support::in_process::entity;

/// The most entities one above the other, as in a directory.
const MOST: usize = 64;

async fn put(world: &World, id: &str, parents: &[String]) -> Result<(), Status> {
    let parents = parents.iter().filter_map(|id| entity("Mcp::Group", id));
    let request = v1::PutEntityRequest {
        actor: person("sec"),
        entity: Some(v1::Entity {
            uid: entity("Mcp::Group", id),
            parents: parents.collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut client = world.client.clone();
    client.put_entity(by("edge", request)).await.map(|_| ())
}

fn name(at: usize) -> String {
    format!("chain-{at}")
}

/// `chain-0` in `chain-1` in `chain-2`, each put by itself.
async fn link(world: &World, at: usize) -> Result<(), Status> {
    put(world, &name(at), &[name(at + 1)]).await
}

fn refused(answer: Result<(), Status>) {
    let said = "`entity` cannot be used: with these `parents`, more than 64 generations";
    assert_refused(answer, Code::InvalidArgument, said);
}

#[tokio::test]
async fn a_chain_grows_to_the_limit_from_above_from_below_and_in_the_middle() {
    let world = World::start().await;
    // From below.
    for at in 0..MOST {
        link(&world, at).await.expect("put");
    }
    refused(link(&world, MOST).await);
    put(&world, "under", &[name(1)])
        .await
        .expect("as deep as that");
    refused(put(&world, "under", &[name(0)]).await);
    // What is as it was is put again, whatever is below it.
    link(&world, MOST / 2).await.expect("put again");
    // From above.
    put(&world, "top", &[]).await.expect("put");
    let mut before = "top".to_owned();
    for at in 0..MOST {
        let id = format!("down-{at}");
        put(&world, &id, &[before]).await.expect("put");
        before = id;
    }
    refused(put(&world, "lower", &[before.clone()]).await);
    // Two halves that come to more together.
    put(&world, "middle", &["down-20".to_owned()])
        .await
        .expect("put");
    refused(put(&world, &name(MOST), &["down-20".to_owned()]).await);
    let parents = vec![name(MOST - 10), "down-5".to_owned()];
    put(&world, "middle", &parents).await.expect("put");
}

#[tokio::test]
async fn what_is_taken_away_is_no_longer_counted() {
    let world = World::start().await;
    for at in 0..MOST {
        link(&world, at).await.expect("put");
    }
    refused(link(&world, MOST).await);
    let request = v1::DeleteEntityRequest {
        actor: person("sec"),
        uid: entity("Mcp::Group", &name(0)),
        ..Default::default()
    };
    let mut client = world.client.clone();
    client
        .delete_entity(by("edge", request))
        .await
        .expect("gone");
    link(&world, MOST)
        .await
        .expect("there is room for one more");
    refused(link(&world, 0).await);
}

#[tokio::test]
async fn parents_of_one_entity_are_bounded() {
    let world = World::start().await;
    let parents: Vec<String> = (0..257).map(name).collect();
    put(&world, "wide", &parents[..256]).await.expect("put");
    let said = "`entity.parents` has 257 items, but at most 256 are allowed";
    let answer = put(&world, "wide", &parents).await;
    assert_refused(answer, Code::InvalidArgument, said);
}
