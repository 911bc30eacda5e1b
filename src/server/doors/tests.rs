use super::*;
use crate::identity::authenticate::{Evidence, Refusal};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn config(text: &str) -> Config {
    Config::from_toml(text, "callgate.toml").unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn who(doors: &Doors, token: &str) -> Result<String, Refusal> {
    let header = format!("Bearer {token}");
    let evidence = Evidence {
        authorization: Some(header.as_bytes()),
        names: &[],
    };
    doors
        .doorkeeper
        .current()
        .authenticate(evidence)
        .map(|caller| caller.id.to_string())
}

#[test]
fn every_right_of_the_configuration_becomes_one_of_the_caller() {
    let text = format!(
        "[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{}\"]\n\
         rights = {{ rpcs = [\"FilterTools\", \"IsAuthorized\"], assert_delegation = true, assert_claims = true }}\n",
        ABC.to_uppercase()
    );
    let doors = Doors::open(&config(&text));
    let evidence = Evidence {
        authorization: Some(b"Bearer abc"),
        names: &[],
    };
    let caller = doors
        .doorkeeper
        .current()
        .authenticate(evidence)
        .expect("a caller");
    assert_eq!(&*caller.id, "edge");
    let rpcs: Vec<_> = Rpc::ALL
        .into_iter()
        .filter(|rpc| caller.rights.rpcs.contains(*rpc))
        .collect();
    assert_eq!(rpcs, [Rpc::FilterTools, Rpc::IsAuthorized]);
    let rights = &caller.rights;
    assert!(
        rights.assert_delegation
            && rights.assert_claims
            && !rights.assert_identity
            && !rights.explain
    );
}

#[test]
fn a_star_means_every_rpc_and_no_list_means_none() {
    let rights = |rpcs: Vec<RpcName>| {
        rights(&RightsEntry {
            rpcs,
            ..RightsEntry::default()
        })
        .rpcs
    };
    assert_eq!(rights(vec![RpcName::All]), RpcSet::all());
    assert_eq!(rights(vec![]), RpcSet::default());
}

#[test]
fn a_reload_may_close_doors_but_never_opens_them_to_everyone() {
    let callers = format!("[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{ABC}\"]\n");
    let doors = Doors::open(&config(""));
    assert_eq!(who(&doors, "anything"), Ok("local".into()));
    doors.apply(&config("[limits]\nbatch = 7\n"));
    assert_eq!(who(&doors, "anything"), Ok("local".into()));
    assert_eq!(doors.limits.load().batch, 7);
    doors.apply(&config(&callers));
    assert_eq!(who(&doors, "anything"), Err(Refusal::UnknownToken));
    assert_eq!(who(&doors, "abc"), Ok("edge".into()));
    doors.apply(&config(""));
    assert_eq!(who(&doors, "abc"), Err(Refusal::NoCallers));
}
