use super::*;
use crate::config::envoy::ServerRoute;

fn request(host: &str, path: &str) -> HttpRequest {
    HttpRequest {
        method: "POST".to_owned(),
        path: path.to_owned(),
        host: host.to_owned(),
        headers: HeaderFields::default(),
        body: Ok(Bytes::new()),
        server: None,
        principal: String::new(),
        source: Ok(None),
        metadata: BTreeMap::new(),
        altered: AlteredText::default(),
    }
}

#[test]
fn a_route_that_names_the_host_comes_first_wherever_it_stands() {
    let route = |host: Option<&str>, server: &str| ServerRoute {
        host: host.map(str::to_owned),
        path: "/mcp".to_owned(),
        server: server.to_owned(),
    };
    let mut settings = EnvoyConfig {
        servers: vec![route(None, "public"), route(Some("git.example"), "git")],
        ..EnvoyConfig::default()
    };
    for _ in 0..2 {
        let server = |host, path| request(host, path).server(&settings).map(str::to_owned);
        assert_eq!(server("Git.Example", "/mcp?x").as_deref(), Some("git"));
        for host in ["git.example:443", "git.example.", "GIT.example.:80"] {
            assert_eq!(server(host, "/mcp").as_deref(), Some("git"), "{host}");
        }
        assert_eq!(server("git.example:8443", "/mcp"), None, "perhaps another");
        assert_eq!(server("other.example", "/mcp").as_deref(), Some("public"));
        for path in [
            "/mcp/", "/MCP", "/%6dcp", "//mcp", "/mcp#", "/mcp;x", "/./mcp",
        ] {
            assert_eq!(server("git.example", path), None, "{path}");
        }
        settings.servers.reverse();
    }
}
