use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::adapters::transport::grpc_admission;
use crate::adapters::transport::request::ReceivedHead;
use crate::audit::reader::LogReader;
use crate::audit::record::schema::notice::Kind;
use crate::authn::authenticate::{Authenticator, CallerCredentials, TokenDigest};
use crate::authn::caller::Caller;
use crate::authn::certificate::Peer;
use crate::authn::rights::RpcSet;
use crate::config::audit::AuditConfig;
use crate::service::deadline::Deadline;

#[test]
fn requests_without_the_right_to_them_are_on_record_by_caller_and_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AuditLog::open(
        folder.path(),
        &folder.path().join("key"),
        &AuditConfig::default(),
    );
    let log = log.expect("a log").expect("a log");
    let caller = |id: &str| {
        let mut caller = Caller::local();
        caller.id = Arc::from(id);
        caller.rights.rpcs = RpcSet::default();
        let credentials = CallerCredentials {
            tokens: vec![TokenDigest::from_token(id.as_bytes())],
            names: Vec::new(),
        };
        (caller, credentials)
    };
    let of = || Authenticator::new([caller("edge"), caller("ops")]);
    let authenticator = Arc::new(ReloadableAuthenticator::new(of()));
    let ask = |id: &str, path: &str| {
        let request = http::Request::post(path).header("authorization", format!("Bearer {id}"));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let head = ReceivedHead {
            parts: &parts,
            peer: &Peer::default(),
            arrived: Instant::now(),
            deadline: Deadline::NONE,
        };
        assert!(grpc_admission::admit(&authenticator, head).is_err());
    };
    for _ in 0..3 {
        ask("edge", "/callgate.v1.Authorization/Authorize");
    }
    ask("edge", "/callgate.v1.Control/GrantDelegation");
    // Whose rights are loaded anew keeps its counts.
    authenticator.replace(of());
    ask("ops", "/callgate.v1.Control/GrantDelegation");
    // Who is nobody is counted nowhere.
    ask("nobody", "/callgate.v1.Control/GrantDelegation");
    put_on_record(&authenticator, &log);
    put_on_record(&authenticator, &log);
    log.close();
    let reader = LogReader::open(folder.path()).expect("a log");
    let notices = reader.iter_from(0).flatten().filter_map(|it| it.notice());
    let refused = notices.filter(|it| it.kind() == Kind::Refused);
    let told: Vec<_> = refused
        .map(|it| (it.text, it.source, it.count, it.since > 0))
        .collect();
    let wanted = [
        ("edge", "Authorize", 3),
        ("edge", "GrantDelegation", 1),
        ("ops", "GrantDelegation", 1),
    ];
    let wanted = wanted.map(|(caller, right, count)| (caller.into(), right.into(), count, true));
    assert_eq!(told, wanted);
}
