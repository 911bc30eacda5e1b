//! TLS: who may connect, and whom a certificate proves.

use std::sync::Arc;

use callgate::proto::v1::Decision;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::grpc::transport::{digest, two_callers, with_token};
use crate::support::in_process::{Running, call, start_empty};
use crate::support::worlds;

/// A certificate authority with a server's certificate and two clients'.
pub struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self {
            ca: CertifiedIssuer::self_signed(params, key).expect("a certificate"),
        }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.ca.pem()
    }

    fn issue(&self, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        // By default it would have the authority's own name, and look as if it had signed itself.
        self.issue_to("issued", names, usage)
    }

    fn issue_to(
        &self,
        common_name: &str,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
    ) -> (String, String) {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, common_name);
        params.distinguished_name = name;
        params.subject_alt_names = names;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// The certificate of `localhost` and its key.
    pub fn server(&self) -> (String, String) {
        let name = SanType::DnsName("localhost".try_into().expect("ascii"));
        self.issue(vec![name], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The certificate of a client with this common name, and its key.
    pub fn named(&self, name: &str) -> (String, String) {
        self.issue_to(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The certificate of a client with this name, and its key.
    pub fn client(&self, uri: &str) -> (String, String) {
        let name = SanType::URI(uri.try_into().expect("ascii"));
        self.issue(vec![name], ExtendedKeyUsagePurpose::ClientAuth)
    }
}

pub async fn start_tls(authority: &Authority, config: &str) -> Running {
    let (cert, key) = authority.server();
    let files = [
        ("server.pem", cert.as_str()),
        ("server.key", &key),
        ("ca.pem", &authority.ca.pem()),
    ];
    let server = start_empty(config, &files).await;
    server
        .service
        .publish(worlds::small().load())
        .expect("published");
    server
}

pub async fn connect(
    server: &Running,
    authority: &Authority,
    client: Option<(String, String)>,
) -> Result<AuthorizationClient<Channel>, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.ca.pem()))
        .domain_name("localhost");
    if let Some((cert, key)) = client {
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://localhost:{}", server.address.port()))?
        .tls_config(tls)?;
    Ok(AuthorizationClient::new(endpoint.connect().await?))
}

#[tokio::test]
async fn tls_answers_those_with_a_token_and_cleartext_nobody() {
    let authority = Authority::new();
    let config = format!(
        "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n{}",
        two_callers()
    );
    let server = start_tls(&authority, &config).await;
    let mut client = connect(&server, &authority, None)
        .await
        .expect("a connection");
    let answer = client
        .authorize(with_token(call("log"), "edge-1"))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(answer.decision(), Decision::Allow);
    assert_eq!(
        client
            .authorize(call("log"))
            .await
            .expect_err("no token")
            .code(),
        Code::Unauthenticated
    );

    let cleartext =
        Endpoint::from_shared(format!("http://{}", server.address)).expect("an endpoint");
    let mut cleartext = AuthorizationClient::new(cleartext.connect_lazy());
    assert!(
        cleartext
            .authorize(with_token(call("log"), "edge-1"))
            .await
            .is_err()
    );
    let stranger = Authority::new();
    assert!(
        connect(&server, &stranger, None).await.is_err(),
        "a server of another authority"
    );
}

#[tokio::test]
async fn a_client_certificate_proves_the_caller_it_names() {
    let authority = Authority::new();
    let config = format!(
        r#"
[tls]
cert = "server.pem"
key = "server.key"
client_ca = "ca.pem"

[[callers]]
id = "edge"
spiffe = ["spiffe://example.org/edge"]
rights = {{ rpcs = ["Authorize"], assert_identity = true }}

[[callers]]
id = "other"
token_sha256 = ["{}"]
rights = {{ rpcs = ["*"] }}
"#,
        digest("other")
    );
    let server = start_tls(&authority, &config).await;
    let edge = authority.client("spiffe://example.org/edge");
    let mut client = connect(&server, &authority, Some(edge))
        .await
        .expect("a connection");
    for _ in 0..3 {
        let answer = client
            .authorize(call("log"))
            .await
            .expect("an answer")
            .into_inner();
        assert_eq!(answer.decision(), Decision::Allow);
    }
    let status = client
        .authorize(with_token(call("log"), "other"))
        .await
        .expect_err("two callers at once");
    assert_eq!(
        status.message(),
        "the credentials belong to different callers"
    );

    let unknown = authority.client("spiffe://example.org/unknown");
    let mut client = connect(&server, &authority, Some(unknown))
        .await
        .expect("a connection");
    let status = client
        .authorize(call("log"))
        .await
        .expect_err("not configured");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(
        status.message(),
        "the client certificate names no configured caller"
    );

    let forged = Authority::new().client("spiffe://example.org/edge");
    for stranger in [None, Some(forged)] {
        // TLS 1.3 tells the client only when it first reads.
        if let Ok(mut client) = connect(&server, &authority, stranger).await {
            assert!(client.authorize(call("log")).await.is_err());
        }
    }
}

#[tokio::test]
async fn where_certificates_are_optional_a_token_will_do() {
    let authority = Authority::new();
    let tls = "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"\nclient_certificate = \"optional\"\n";
    let server = start_tls(&authority, &format!("{tls}{}", two_callers())).await;
    let mut client = connect(&server, &authority, None)
        .await
        .expect("a connection");
    assert!(
        client
            .authorize(with_token(call("log"), "edge-2"))
            .await
            .is_ok()
    );
    assert!(client.authorize(call("log")).await.is_err());
}

/// Connects twice, as a client does that resumes sessions where it may. Returns how the second connection began.
async fn connect_again(server: &Running, authority: &Authority) -> HandshakeKind {
    let pem = |text: &str| -> Vec<CertificateDer<'static>> {
        let all = CertificateDer::pem_slice_iter(text.as_bytes());
        all.map(|it| it.expect("PEM")).collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(pem(&authority.pem()));
    let (certificate, key) = authority.client("spiffe://example.org/edge");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(pem(&certificate), key)
        .expect("a certificate and its key");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let mut began = HandshakeKind::Full;
    for _ in 0..2 {
        let stream = TcpStream::connect(server.address)
            .await
            .expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = connector.connect(name, stream).await.expect("TLS");
        began = stream.get_ref().1.handshake_kind().expect("it is done");
        // What sessions are resumed with comes before the settings of HTTP/2.
        let mut settings = [0; 9];
        stream.read_exact(&mut settings).await.expect("a frame");
    }
    began
}

#[tokio::test]
async fn every_connection_shows_its_certificate() {
    let authority = Authority::new();
    let tls = "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n";
    for (more, wanted) in [
        ("client_ca = \"ca.pem\"\n", HandshakeKind::Full),
        (
            "client_ca = \"ca.pem\"\nclient_certificate = \"optional\"\n",
            HandshakeKind::Full,
        ),
        // Where no certificate is asked for, a session proves nothing of the client.
        ("", HandshakeKind::Resumed),
    ] {
        let config = format!("{tls}{more}{}", two_callers());
        let server = start_tls(&authority, &config).await;
        let began = connect_again(&server, &authority).await;
        assert_eq!(began, wanted, "{more}");
    }
}

#[tokio::test]
async fn files_that_are_not_certificates_are_named() {
    use callgate::config::listen::{ClientCertificate, TlsConfig};
    use callgate::server::tls;

    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let (cert, key) = authority.server();
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    write("cert.pem", &cert);
    write("key.pem", &key);
    write("empty.pem", "nothing here");
    let load = |cert: &str, key: &str, client_ca: Option<&str>| {
        let files = TlsConfig {
            cert: cert.into(),
            key: key.into(),
            client_ca: client_ca.map(Into::into),
            client_certificate: ClientCertificate::Required,
        };
        tls::load(&files, dir.path())
            .map(|_| ())
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(load("cert.pem", "key.pem", None), Ok(()));
    for (fault, wanted) in [
        (load("absent.pem", "key.pem", None), "`tls.cert`: `"),
        (
            load("empty.pem", "key.pem", None),
            "empty.pem` holds no certificate in PEM form",
        ),
        (
            load("cert.pem", "cert.pem", None),
            "cert.pem` holds no private key in PEM form",
        ),
        (
            load("cert.pem", "key.pem", Some("key.pem")),
            "`tls.client_ca`: `",
        ),
    ] {
        let said = fault.expect_err(wanted);
        assert!(said.contains(wanted), "{said}");
    }
}
