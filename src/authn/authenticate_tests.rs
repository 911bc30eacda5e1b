use super::*;
use crate::authn::caller::Rights;

fn caller(id: &str) -> Caller {
    Caller {
        id: Arc::from(id),
        rights: Rights::default(),
        toolhive_agent: None,
        held: crate::authn::capacity::CallerUsage::default(),
    }
}

fn authenticator() -> Authenticator {
    Authenticator::new([
        (
            caller("edge"),
            CallerCredentials {
                tokens: vec![
                    TokenDigest::from_token(b"old"),
                    TokenDigest::from_token(b"new"),
                ],
                names: vec![PeerName::Uri("spiffe://example.org/edge".into())],
            },
        ),
        (
            caller("mesh"),
            CallerCredentials {
                tokens: vec![TokenDigest::from_token(b"mesh-token")],
                names: vec![PeerName::Dns("mesh.example.org".into())],
            },
        ),
    ])
}

fn ask(authorization: Option<&str>, names: &[PeerName]) -> Result<String, AuthenticationError> {
    let evidence = PresentedCredentials {
        authorization: authorization.map(str::as_bytes),
        names,
    };
    authenticator()
        .authenticate(evidence)
        .map(|caller| caller.id.to_string())
}

#[test]
fn any_token_of_a_caller_proves_it() {
    assert_eq!(ask(Some("Bearer old"), &[]), Ok("edge".into()));
    assert_eq!(ask(Some("bearer new"), &[]), Ok("edge".into()));
    assert_eq!(ask(Some("Bearer mesh-token"), &[]), Ok("mesh".into()));
}

#[test]
fn a_certificate_name_proves_its_caller() {
    assert_eq!(
        ask(None, &[PeerName::Uri("spiffe://example.org/edge".into())]),
        Ok("edge".into())
    );
    let names = [
        PeerName::Dns("other.example.org".into()),
        PeerName::Dns("mesh.example.org".into()),
    ];
    assert_eq!(ask(None, &names), Ok("mesh".into()));
}

#[test]
fn a_name_of_another_kind_does_not_count() {
    let names = [PeerName::Dns("spiffe://example.org/edge".into())];
    assert_eq!(
        ask(None, &names),
        Err(AuthenticationError::UnknownCertificate)
    );
}

#[test]
fn whatever_does_not_fit_is_refused() {
    let edge = [PeerName::Uri("spiffe://example.org/edge".into())];
    let both = [edge[0].clone(), PeerName::Dns("mesh.example.org".into())];
    for (authorization, names, refusal) in [
        (None, &[][..], AuthenticationError::NoCredentials),
        (
            Some("Bearer nobody"),
            &[],
            AuthenticationError::UnknownToken,
        ),
        (Some("Bearer ol"), &[], AuthenticationError::UnknownToken),
        (Some("Bearer old "), &[], AuthenticationError::UnknownToken),
        (Some("Bearer "), &[], AuthenticationError::NotBearer),
        (Some("Bearer"), &[], AuthenticationError::NotBearer),
        (Some("Basic b2xk"), &[], AuthenticationError::NotBearer),
        (Some(""), &[], AuthenticationError::NotBearer),
        (
            Some("Bearer nobody"),
            &edge,
            AuthenticationError::UnknownToken,
        ),
        (
            Some("Bearer mesh-token"),
            &edge,
            AuthenticationError::Conflict,
        ),
        (None, &both, AuthenticationError::Conflict),
    ] {
        assert_eq!(
            ask(authorization, names),
            Err(refusal),
            "{authorization:?} {names:?}"
        );
    }
}

#[test]
fn a_token_and_a_certificate_of_the_same_caller_agree() {
    assert_eq!(
        ask(
            Some("Bearer new"),
            &[PeerName::Uri("spiffe://example.org/edge".into())]
        ),
        Ok("edge".into())
    );
}

#[test]
fn without_callers_nobody_is_let_in_and_local_lets_everyone_in() {
    let evidence = PresentedCredentials {
        authorization: Some(b"Bearer old"),
        names: &[],
    };
    assert_eq!(
        Authenticator::new([]).authenticate(evidence).err(),
        Some(AuthenticationError::NoCallers)
    );
    let caller = Authenticator::local(Caller::local())
        .authenticate(PresentedCredentials::default())
        .expect("local");
    assert_eq!(&*caller.id, "local");
}

#[test]
fn a_digest_never_shows_itself() {
    assert_eq!(
        format!("{:?}", TokenDigest::from_token(b"secret")),
        "TokenDigest(..)"
    );
}
