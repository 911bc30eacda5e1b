//! The write side through gRPC: the server, the policies and the requests that its tests share, and what
//! holds for every write.

pub mod approvals;
pub mod delegations;
pub mod entities;
pub mod entity_chains;
pub mod fuzz;
pub mod gone;
pub mod keys;
pub mod malformed;
pub mod narrowed;
pub mod pages;
pub mod sessions;
pub mod stops;
pub mod tasks;
pub mod verbs;
pub mod watches;

use std::sync::Arc;
use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use callgate::service::clock::Clock;
use prost::Message;
use prost_types::Timestamp;
use serde_json::{Value as Json, json};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::grpc::transport::digest;
use crate::support::bundle_dir::BundleDir;
use crate::support::clock::HandClock;
use crate::support::in_process::{Running, entity};
use crate::support::wire::structure;
use crate::support::worlds;

/// Staff delegate to agents, agents redelegate what a person delegated to them, and whoever delegated revokes.
/// Tasks are their person's. Writing needs the delegating person's yes. Security does the rest.
const POLICIES: &str = r#"
@id("delegate") @owner("security") @reason("staff delegate to agents")
permit (principal in Mcp::Group::"staff", action == Mcp::Action::"grant_delegation", resource);

@id("redelegate")
permit (principal is Mcp::Agent, action == Mcp::Action::"grant_delegation", resource)
when { context has delegation && context.delegation has root };

@id("never-admin") @owner("security") @reason("administration is not delegated")
forbid (principal, action == Mcp::Action::"grant_delegation", resource)
when { context has delegation && context.delegation has access && context.delegation.access == "admin" };

@id("revoke")
permit (principal, action == Mcp::Action::"revoke_delegation", resource)
when { context has delegation && context.delegation has root && context.delegation.root == principal };

@id("open")
permit (principal, action == Mcp::Action::"open_task", resource)
when { context has task && context.task.task.person == principal };

@id("own-task")
permit (principal, action in [Mcp::Action::"advance_task", Mcp::Action::"close_task"], resource)
when { resource.person == principal };

@id("approve")
permit (principal, action == Mcp::Action::"approve_call", resource)
when { context has delegation && context.delegation has root && context.delegation.root == principal };

@id("security")
permit (principal in Mcp::Group::"security",
  action in [Mcp::Action::"edit_entities", Mcp::Action::"end_session", Mcp::Action::"revoke_delegation",
    Mcp::Action::"stop_entity", Mcp::Action::"resume_entity", Mcp::Action::"repair_clock", Mcp::Action::"publish_bundle",
    Mcp::Action::"approve_call"], resource);

@id("read")
permit (principal, action == Mcp::Action::"call_read", resource);

@id("write-with-a-yes")
permit (principal, action == Mcp::Action::"call_write", resource)
when { context has approval };
"#;

/// `edge` may do everything, `blind` the same but not see policies, `deaf` is not believed, and `asking`
/// may not write.
pub fn callers() -> String {
    let caller = |id: &str, rights: &str| {
        let token = digest(id);
        format!(
            "[[callers]]\nid = \"{id}\"\ntoken_sha256 = [\"{token}\"]\nrights = {{ {rights} }}\n"
        )
    };
    let all = r#"rpcs = ["*", "Control/*"]"#;
    let believed = "assert_identity = true, assert_delegation = true, assert_claims = true";
    [
        caller("edge", &format!("{all}, {believed}, explain = true")),
        caller("blind", &format!("{all}, {believed}")),
        caller("deaf", all),
        caller(
            "asking",
            &format!(r#"rpcs = ["*", "GetStatus"], {believed}"#),
        ),
    ]
    .concat()
}

/// A server, a client of it, and its clock.
pub struct World {
    pub server: Running,
    pub client: ControlClient<Channel>,
    pub clock: Arc<HandClock>,
}

impl World {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// With further configuration in front of the callers, e.g. limits.
    pub async fn with(config: &str) -> Self {
        let clock = Arc::new(HandClock::new());
        let config = format!("{config}\n{}", callers());
        let server = directory().start_at(&config, clock.clone()).await;
        let client = ControlClient::new(server.channel().await);
        Self {
            server,
            client,
            clock,
        }
    }

    /// So many seconds from now.
    pub fn after(&self, seconds: u64) -> Option<Timestamp> {
        Some(Timestamp::from(
            self.clock.now() + Duration::from_secs(seconds),
        ))
    }

    /// `sam` delegates reading `git` to `helper` for an hour; it may be redelegated twice.
    pub fn grant(&self) -> v1::GrantDelegationRequest {
        v1::GrantDelegationRequest {
            actor: person("sam"),
            to: entity("Agent", "helper"),
            scope: scope(&["git"], v1::AccessLevel::Write),
            max_redelegations: 2,
            expires_at: self.after(3_600),
            ..Default::default()
        }
    }

    pub async fn granted(&mut self, request: v1::GrantDelegationRequest) -> v1::StoredDelegation {
        let answer = self.client.grant_delegation(by("edge", request)).await;
        answer
            .expect("a delegation")
            .into_inner()
            .delegation
            .unwrap()
    }

    /// `sam` opens a task for `helper`, in two steps.
    pub fn task(&self) -> v1::OpenTaskRequest {
        let step = |name: &str, access| v1::TaskStep {
            name: name.into(),
            scope: scope(&["git"], access),
        };
        v1::OpenTaskRequest {
            actor: person("sam"),
            agent: entity("Agent", "helper"),
            person: entity("User", "sam"),
            purpose: "release 1.2".into(),
            scope: scope(&["git"], v1::AccessLevel::Write),
            steps: vec![
                step("look", v1::AccessLevel::Read),
                step("change", v1::AccessLevel::Write),
            ],
            deadline: self.after(3_600),
            ..Default::default()
        }
    }

    pub async fn opened(&mut self, request: v1::OpenTaskRequest) -> v1::Task {
        let answer = self.client.open_task(by("edge", request)).await;
        answer.expect("a task").into_inner().task.unwrap()
    }
}

/// The office under these policies.
pub fn directory() -> BundleDir {
    worlds::office().policies(POLICIES)
}

/// A request with the token of a caller.
pub fn by<T>(caller: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("Bearer {caller}").parse().expect("a header");
    request.metadata_mut().insert("authorization", header);
    request
}

pub fn actor(of_type: &str, id: &str) -> Option<v1::Actor> {
    Some(v1::Actor {
        entity: entity(of_type, id),
        identity: Some(v1::Identity {
            method: "test".into(),
            verified: true,
        }),
        claims: None,
    })
}

pub fn person(id: &str) -> Option<v1::Actor> {
    actor("User", id)
}

pub fn scope(servers: &[&str], access: v1::AccessLevel) -> Option<v1::Scope> {
    Some(v1::Scope {
        servers: servers.iter().map(ToString::to_string).collect(),
        access: access.into(),
        ..v1::Scope::default()
    })
}

/// The status of a refusal: its code and whether it says so.
pub fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    said: &str,
) -> Status {
    let status = answer.expect_err(said);
    assert_eq!(status.code(), code, "{status:?}");
    assert!(
        status.message().contains(said),
        "`{}` does not say `{said}`",
        status.message()
    );
    status
}

/// The reasons that came with a deny.
pub fn reasons(status: &Status) -> Vec<v1::Reason> {
    let details = tonic_types::pb::Status::decode(status.details()).expect("details");
    assert_eq!(details.code, Code::PermissionDenied as i32);
    assert_eq!(details.message, status.message());
    let reason = |any: &prost_types::Any| {
        assert_eq!(any.type_url, "type.googleapis.com/callgate.v1.Reason");
        v1::Reason::decode(&*any.value).expect("a reason")
    };
    details.details.iter().map(reason).collect()
}

/// Who changes authority has a token like everybody, and it counts within its times and for whom it is about.
#[tokio::test]
async fn the_token_of_who_changes_authority_counts_within_its_times() {
    const NOW: u64 = 1_800_000_000;
    let mut world = World::start().await;
    let grant = world.grant();
    let mut with = async |claims: Json| {
        let mut request = grant.clone();
        request.actor.as_mut().expect("an actor").claims = Some(structure(&claims));
        world.client.grant_delegation(by("edge", request)).await
    };
    for good in [
        json!({"groups": ["x"]}),
        json!({"exp": NOW - 59, "nbf": NOW + 60}),
        json!({"exp": NOW + 1, "nbf": NOW - 1}),
    ] {
        let answer = with(good.clone()).await;
        assert!(answer.is_ok(), "{good}: {answer:?}");
    }
    for (claims, code) in [
        (json!({"exp": NOW - 60}), v1::ReasonCode::DelegationExpired),
        (
            json!({"nbf": NOW + 61}),
            v1::ReasonCode::DelegationOutOfScope,
        ),
    ] {
        let status = with(claims.clone()).await.expect_err("out of its time");
        assert_eq!(reasons(&status)[0].code(), code, "{claims}");
    }
    let odd = with(json!({"exp": "soon"})).await;
    assert_refused(
        odd,
        Code::InvalidArgument,
        "`actor.claims.exp` must be a time",
    );
    let acting = with(json!({"act": {"sub": "helper"}})).await;
    assert_refused(acting, Code::InvalidArgument, "`actor.claims.act` is there");
}

#[tokio::test]
async fn a_write_repeated_under_its_key_is_one_write() {
    let mut world = World::start().await;
    let request = v1::GrantDelegationRequest {
        idempotency_key: "first".into(),
        ..world.grant()
    };
    let once = world
        .client
        .grant_delegation(by("edge", request.clone()))
        .await;
    let once = once.expect("a delegation").into_inner();
    // Something else happens in between.
    world.granted(world.grant()).await;
    let again = world
        .client
        .grant_delegation(by("edge", request.clone()))
        .await;
    let again = again.expect("the same").into_inner();
    assert_eq!(once, again);

    let other = v1::GrantDelegationRequest {
        max_redelegations: 1,
        ..request.clone()
    };
    let answer = world.client.grant_delegation(by("edge", other)).await;
    assert_refused(
        answer,
        Code::AlreadyExists,
        "`idempotency_key` was used for another request",
    );
    let revoked = v1::RevokeDelegationRequest {
        actor: person("sam"),
        idempotency_key: "first".into(),
        id: once.delegation.as_ref().unwrap().id.clone(),
    };
    let answer = world.client.revoke_delegation(by("edge", revoked)).await;
    assert_refused(answer, Code::AlreadyExists, "another request");

    // A key belongs to its caller, and a request without one is always a new one.
    let theirs = world.client.grant_delegation(by("blind", request)).await;
    let theirs = theirs.expect("a delegation").into_inner();
    assert_ne!(theirs.delegation.unwrap().id, once.delegation.unwrap().id);
    let listed = v1::ListDelegationsRequest::default();
    let listed = world
        .client
        .list_delegations(by("edge", listed))
        .await
        .unwrap();
    assert_eq!(listed.into_inner().delegations.len(), 3);
}

#[tokio::test]
async fn what_cedar_denies_comes_with_its_reasons() {
    let mut world = World::start().await;
    let request = v1::GrantDelegationRequest {
        scope: scope(&["git"], v1::AccessLevel::Admin),
        ..world.grant()
    };
    let answer = world
        .client
        .grant_delegation(by("edge", request.clone()))
        .await;
    let status = assert_refused(
        answer,
        Code::PermissionDenied,
        "administration is not delegated",
    );
    let told = reasons(&status);
    assert_eq!(told[0].code(), v1::ReasonCode::Forbidden);
    assert_eq!(told[0].principal, entity("Mcp::User", "sam"));
    assert_eq!(told[0].policy_ids, ["never-admin"]);

    // Who may not see policies hears the rest.
    let answer = world.client.grant_delegation(by("blind", request)).await;
    let status = assert_refused(
        answer,
        Code::PermissionDenied,
        "administration is not delegated",
    );
    let told = reasons(&status);
    assert_eq!(told[0].code(), v1::ReasonCode::Forbidden);
    assert!(told[0].policy_ids.is_empty() && told[0].detail.is_empty());

    let stranger = v1::GrantDelegationRequest {
        actor: person("stranger"),
        ..world.grant()
    };
    let answer = world.client.grant_delegation(by("edge", stranger)).await;
    let status = assert_refused(answer, Code::PermissionDenied, "");
    assert_eq!(reasons(&status)[0].code(), v1::ReasonCode::NoPermit);
}

#[tokio::test]
async fn only_those_who_are_believed_write() {
    let mut world = World::start().await;
    let answer = world
        .client
        .grant_delegation(by("deaf", world.grant()))
        .await;
    let status = assert_refused(
        answer,
        Code::PermissionDenied,
        "not trusted to state who is asking",
    );
    assert_eq!(reasons(&status)[0].code(), v1::ReasonCode::CallerNotTrusted);
    let answer = world
        .client
        .grant_delegation(by("asking", world.grant()))
        .await;
    assert_refused(
        answer,
        Code::PermissionDenied,
        "has no right to use `GrantDelegation`",
    );
    let answer = world
        .client
        .grant_delegation(by("nobody", world.grant()))
        .await;
    assert_refused(answer, Code::Unauthenticated, "no configured caller");
    let unknown = v1::GrantDelegationRequest {
        actor: actor("Agent", "unheard-of"),
        ..world.grant()
    };
    let answer = world.client.grant_delegation(by("edge", unknown)).await;
    let status = assert_refused(answer, Code::PermissionDenied, "is not known");
    assert_eq!(reasons(&status)[0].code(), v1::ReasonCode::SubjectUnknown);
    let status = world
        .client
        .get_status(by("edge", v1::GetStatusRequest {}))
        .await;
    let status = status.unwrap().into_inner();
    assert_eq!((status.delegations, status.revision), (0, 1));
}

#[tokio::test]
async fn status_counts_what_there_is() {
    let mut world = World::start().await;
    world.granted(world.grant()).await;
    let task = world.opened(world.task()).await;
    let status = world
        .client
        .get_status(by("asking", v1::GetStatusRequest {}))
        .await;
    let status = status.expect("a status").into_inner();
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((status.revision, status.policies), (3, 10));
    assert_eq!((status.delegations, status.open_tasks), (1, 1));
    assert_eq!((status.pending_approvals, status.sessions), (0, 0));
    assert_eq!(status.now, world.after(0));
    assert!(status.policy_set_digest.starts_with("sha256:"));
    assert!(status.store_fault.is_empty() && status.shadowed_entities.is_empty());
    let close = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task.id,
        ..Default::default()
    };
    world
        .client
        .close_task(by("edge", close))
        .await
        .expect("closed");
    let status = world
        .client
        .get_status(by("edge", v1::GetStatusRequest {}))
        .await;
    assert_eq!(status.unwrap().into_inner().open_tasks, 0);
}
