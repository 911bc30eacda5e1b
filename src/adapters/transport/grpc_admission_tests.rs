use super::*;
use crate::authn::authenticate::{AuthenticationError as Unknown, CallerCredentials, TokenDigest};
use crate::authn::caller::Rights;
use crate::service::deadline::Deadline;

fn reloadable(rpcs: &[Rpc]) -> ReloadableAuthenticator {
    let caller = Caller {
        id: Arc::from("edge"),
        rights: Rights {
            rpcs: rpcs.iter().copied().collect(),
            ..Rights::default()
        },
        toolhive_agent: None,
        held: CallerUsage::default(),
    };
    let credentials = CallerCredentials {
        tokens: vec![TokenDigest::from_token(b"t")],
        names: Vec::new(),
    };
    ReloadableAuthenticator::new(Authenticator::new([(caller, credentials)]))
}

fn admitted(
    reloadable: &Arc<ReloadableAuthenticator>,
    path: &str,
    headers: &[(&'static str, &'static str)],
) -> Result<Admitted, GrpcRejection> {
    let request = http::Request::builder().uri(path);
    let add = |request: http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    let request = headers.iter().fold(request, add).body(());
    let (parts, ()) = request.expect("a request").into_parts();
    let head = ReceivedHead {
        parts: &parts,
        peer: &Peer::default(),
        deadline: Deadline::NONE,
    };
    admit(reloadable, head)
}

const AUTHORIZE: &str = "/callgate.v1.Authorization/Authorize";
const STREAM: &str = "/callgate.v1.Authorization/AuthorizeStream";
const TOKEN: (&str, &str) = ("authorization", "Bearer t");

fn refusal(path: &str, headers: &[(&'static str, &'static str)]) -> Option<GrpcRejection> {
    let reloadable = Arc::new(reloadable(&[Rpc::Authorize]));
    admitted(&reloadable, path, headers).err()
}

#[test]
fn every_method_has_its_right() {
    let native = |service: &str, rpc: Rpc| format!("/callgate.v1.{service}/{}", rpc.name());
    for it in Rpc::AUTHORIZATION {
        assert_eq!(rpc(&native("Authorization", it)), Some(it));
        assert_eq!(rpc(&native("Control", it)), None);
    }
    for it in Rpc::CONTROL {
        assert_eq!(rpc(&native("Control", it)), Some(it));
    }
    for (path, wanted) in [
        (
            "/envoy.service.auth.v3.Authorization/Check",
            Rpc::ExtAuthzCheck,
        ),
        (
            "/envoy.service.ext_proc.v3.ExternalProcessor/Process",
            Rpc::ExtProcProcess,
        ),
        (
            "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest",
            Rpc::ExtMcpCheck,
        ),
        (
            "/agentgateway.dev.ext_mcp.ExtMcp/CheckResponse",
            Rpc::ExtMcpCheck,
        ),
    ] {
        assert_eq!(rpc(path), Some(wanted), "{path}");
    }
    for path in [
        "",
        "/",
        "/callgate.v1.Authorization",
        "/callgate.v1.Authorization/authorize",
    ] {
        assert_eq!(rpc(path), None, "{path}");
    }
}

#[test]
fn the_head_alone_says_who_may_ask() {
    assert_eq!(refusal(AUTHORIZE, &[TOKEN]), None);
    assert_eq!(refusal(AUTHORIZE, &[]), Some(Unknown::NoCredentials.into()));
    assert_eq!(
        refusal(AUTHORIZE, &[("authorization", "Bearer x")]),
        Some(Unknown::UnknownToken.into())
    );
    assert!(matches!(
        refusal("/callgate.v1.Control/GetStatus", &[TOKEN]),
        Some(GrpcRejection::NotAllowed { .. })
    ));
    assert_eq!(
        refusal("/callgate.v1.Authorization/Nothing", &[TOKEN]),
        Some(GrpcRejection::NoSuchMethod)
    );
}

#[test]
fn what_counts_comes_once() {
    assert_eq!(
        refusal(AUTHORIZE, &[TOKEN, TOKEN]),
        Some(Unknown::Repeated.into())
    );
    let timeout = ("grpc-timeout", "1S");
    assert_eq!(
        refusal(AUTHORIZE, &[TOKEN, timeout, timeout]),
        Some(GrpcRejection::Repeated {
            name: "grpc-timeout"
        })
    );
    // Who may not ask is not told what else is wrong.
    assert_eq!(
        refusal(AUTHORIZE, &[timeout, timeout]),
        Some(Unknown::NoCredentials.into())
    );
}

#[test]
fn what_has_not_been_let_in_is_nobodys() {
    let mut extensions = Extensions::default();
    let mut take = |rpc| take_admission(&mut extensions, rpc).map(|it| it.caller.id.to_string());
    assert_eq!(take(Rpc::Authorize), Err(GrpcRejection::NotAdmitted));
    let reloadable = Arc::new(reloadable(&[Rpc::Authorize]));
    let in_process = |rpc| {
        let mut request = Request::new(());
        let header = TOKEN.1.parse().expect("a header");
        request.metadata_mut().insert(TOKEN.0, header);
        admit_in_process(&reloadable, &mut request)?;
        take_admission(request.extensions_mut(), rpc).map(|it| it.caller.id.to_string())
    };
    assert_eq!(in_process(Rpc::Authorize), Ok("edge".to_owned()));
    assert!(matches!(
        in_process(Rpc::GetStatus),
        Err(GrpcRejection::NotAllowed { .. })
    ));
}

#[test]
fn what_goes_on_is_authenticated_again_and_keeps_its_connection_busy() {
    let all = Rpc::AUTHORIZATION.iter().chain(&Rpc::CONTROL).copied();
    let reloadable = Arc::new(reloadable(&all.collect::<Vec<_>>()));
    let service = |rpc| match Rpc::CONTROL.contains(&rpc) {
        true => "Control",
        false => "Authorization",
    };
    for rpc in Rpc::AUTHORIZATION.into_iter().chain(Rpc::CONTROL) {
        let path = format!("/callgate.v1.{}/{}", service(rpc), rpc.name());
        let admitted = admitted(&reloadable, &path, &[TOKEN]);
        let Some(Admitted { mut caller, .. }) = admitted.ok() else {
            panic!("{path}")
        };
        let goes_on = rpc.name().starts_with("Watch") || rpc == Rpc::AuthorizeStream;
        let peer = caller.credentials.as_ref().map(|it| it.peer.as_ref());
        let busy = peer.map(|it| it.is_some_and(|it| it.standing().is_busy()));
        assert_eq!(busy, goes_on.then_some(true), "{path}");
        assert_eq!(caller.reauthenticate(rpc).is_ok(), goes_on, "{path}");
    }
}

#[test]
fn a_reload_is_noticed_and_keeps_what_is_held() {
    let reloadable = Arc::new(reloadable(&[Rpc::AuthorizeStream]));
    let admitted = admitted(&reloadable, STREAM, &[TOKEN]);
    let Ok(Admitted {
        caller: mut entrance,
        ..
    }) = admitted
    else {
        panic!("let in")
    };
    entrance.caller().held.requests.add(3);
    reloadable.replace(Authenticator::new([(
        Caller {
            id: Arc::from("edge"),
            rights: Rights {
                rpcs: [Rpc::AuthorizeStream].into_iter().collect(),
                ..Rights::default()
            },
            toolhive_agent: None,
            held: CallerUsage::default(),
        },
        CallerCredentials {
            tokens: vec![TokenDigest::from_token(b"t")],
            names: Vec::new(),
        },
    )]));
    let again = entrance.reauthenticate(Rpc::AuthorizeStream);
    assert_eq!(again.expect("still may").held.requests.get(), 3);
    reloadable.replace(Authenticator::new([]));
    assert!(entrance.reauthenticate(Rpc::AuthorizeStream).is_err());
}
