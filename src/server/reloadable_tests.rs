use prost_reflect::DescriptorPool;

use super::*;
use crate::authn::authenticate::{AuthenticationError, PresentedCredentials};
use crate::authn::rights::{Rpc, RpcSet};
use crate::proto::v1;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn config(text: &str) -> Config {
    Config::from_toml(text, "callgate.toml").unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn who(doors: &ReloadableConfig, token: &str) -> Result<String, AuthenticationError> {
    let header = format!("Bearer {token}");
    let evidence = PresentedCredentials {
        authorization: Some(header.as_bytes()),
        names: &[],
    };
    doors
        .authenticator
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
    let doors = ReloadableConfig::new(&config(&text));
    let evidence = PresentedCredentials {
        authorization: Some(b"Bearer abc"),
        names: &[],
    };
    let caller = doors
        .authenticator
        .current()
        .authenticate(evidence)
        .expect("a caller");
    assert_eq!(&*caller.id, "edge");
    let rpcs: Vec<_> = Rpc::AUTHORIZATION
        .into_iter()
        .chain(Rpc::CONTROL)
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
fn a_person_has_to_be_named_where_the_configuration_says_so() {
    let demanded = |text: &str| {
        let doors = ReloadableConfig::new(&config(text));
        let evidence = PresentedCredentials {
            authorization: Some(b"Bearer abc"),
            names: &[],
        };
        let caller = doors.authenticator.current().authenticate(evidence);
        caller.expect("a caller").rights.require_delegation
    };
    let caller =
        |more: &str| format!("[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{ABC}\"]\n{more}\n");
    const ALL: &str = "require_delegation = true\n";
    assert!(!demanded(""));
    assert!(demanded(ALL), "of everyone on the machine, too");
    assert!(!demanded(&caller("")));
    assert!(demanded(&caller(ALL)));
    assert!(demanded(&(ALL.to_owned() + &caller(""))));
    assert!(!demanded(
        &(ALL.to_owned() + &caller("require_delegation = false"))
    ));

    let doors = ReloadableConfig::new(&config(""));
    doors.apply(&config(ALL));
    let local = doors
        .authenticator
        .current()
        .authenticate(PresentedCredentials::default());
    let rights = local.expect("the local caller").rights.clone();
    assert!(rights.require_delegation, "a reload reaches it");
}

/// The methods of a service, as the protocol has them.
fn methods(service: &str) -> Vec<String> {
    let pool = DescriptorPool::decode(v1::DESCRIPTOR).expect("descriptors");
    let found = pool
        .get_service_by_name(&format!("callgate.v1.{service}"))
        .expect("a service");
    found.methods().map(|it| it.name().to_owned()).collect()
}

fn allowed(names: &[&str]) -> RpcSet {
    let names = names
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>();
    let text = format!(
        "[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{ABC}\"]\nrights = {{ rpcs = [{}] }}\n",
        names.join(", ")
    );
    rights(&config(&text).callers[0].rights, false).rpcs
}

#[test]
fn every_rpc_of_the_protocol_can_be_allowed_by_its_name() {
    for (service, rpcs) in [
        ("Authorization", &Rpc::AUTHORIZATION[..]),
        ("Control", &Rpc::CONTROL),
    ] {
        let names: Vec<_> = rpcs.iter().map(|rpc| rpc.name()).collect();
        assert_eq!(names, methods(service));
        for rpc in rpcs {
            let alone = RpcSet::from_iter([*rpc]);
            assert_eq!(allowed(&[rpc.name()]), alone, "{}", rpc.name());
            assert_ne!(alone, RpcSet::default(), "{}", rpc.name());
        }
    }
}

#[test]
fn a_star_means_every_question_and_control_has_a_star_of_its_own() {
    let questions = RpcSet::from_iter(Rpc::AUTHORIZATION);
    let control = RpcSet::from_iter(Rpc::CONTROL);
    assert_eq!(allowed(&["*"]), questions);
    assert!(Rpc::CONTROL.iter().all(|rpc| !questions.contains(*rpc)));
    assert_eq!(allowed(&["Control/*"]), control);
    assert!(Rpc::AUTHORIZATION.iter().all(|rpc| !control.contains(*rpc)));
    let both = allowed(&["*", "Control/*"]);
    let native = Rpc::AUTHORIZATION.into_iter().chain(Rpc::CONTROL);
    assert_eq!(both, native.collect());
    assert!(
        Rpc::ADAPTERS.iter().all(|rpc| !both.contains(*rpc)),
        "a door is opened by its name alone"
    );
    let envoy = RpcSet::from_iter([Rpc::ExtAuthzCheck, Rpc::ExtProcProcess]);
    assert_eq!(allowed(&["ext_authz.Check", "ext_proc.Process"]), envoy);
    let agentgateway = RpcSet::from_iter([Rpc::ExtMcpCheck]);
    assert_eq!(allowed(&["ext_mcp.Check"]), agentgateway);
    assert_eq!(allowed(&[]), RpcSet::default());
    assert_eq!(Caller::local().rights.rpcs, RpcSet::all());
}

#[test]
fn every_protocol_over_grpc_can_be_looked_up() {
    let pool = DescriptorPool::decode(v1::DESCRIPTOR).expect("descriptors");
    for service in [
        "callgate.v1.Authorization",
        "callgate.v1.Control",
        "envoy.service.auth.v3.Authorization",
        "agentgateway.dev.ext_mcp.ExtMcp",
    ] {
        assert!(pool.get_service_by_name(service).is_some(), "{service}");
    }
}

#[test]
fn other_protocols_are_allowed_by_their_names_alone() {
    for rpc in Rpc::ADAPTERS {
        assert!(
            !allowed(&["*", "Control/*"]).contains(rpc),
            "{}",
            rpc.name()
        );
        assert_eq!(allowed(&[rpc.name()]), RpcSet::from_iter([rpc]));
        assert!(Caller::local().rights.rpcs.contains(rpc));
    }
}

#[test]
fn a_reload_may_close_doors_but_never_opens_them_to_everyone() {
    let callers = format!("[[callers]]\nid = \"edge\"\ntoken_sha256 = [\"{ABC}\"]\n");
    let doors = ReloadableConfig::new(&config(""));
    assert_eq!(who(&doors, "anything"), Ok("local".into()));
    doors.apply(&config("[limits]\nbatch = 7\n"));
    assert_eq!(who(&doors, "anything"), Ok("local".into()));
    assert_eq!(doors.limits.load().batch, 7);
    doors.apply(&config(&callers));
    assert_eq!(
        who(&doors, "anything"),
        Err(AuthenticationError::UnknownToken)
    );
    assert_eq!(who(&doors, "abc"), Ok("edge".into()));
    doors.apply(&config(""));
    assert_eq!(who(&doors, "abc"), Err(AuthenticationError::NoCallers));
}
