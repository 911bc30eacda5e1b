use std::net::SocketAddr;
use std::path::Path;

use super::*;
use crate::authn::rights::Rpc;
use crate::config::callers::{RightsConfig, RpcSelector};
use crate::config::listen::{ClientCertificate, SocketMode};
use crate::config::telemetry::DecisionLog;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn faults(text: &str) -> Vec<String> {
    match Config::from_toml(text, "callgate.toml") {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn nothing_is_the_default() {
    let config = Config::from_toml("", "callgate.toml").expect("no faults");
    assert_eq!(config, Config::default());
    assert_eq!(
        config.listen.grpc,
        ["127.0.0.1:50051".parse::<SocketAddr>().expect("an address")]
    );
    assert_eq!(config.schema.max_dereference_level, 3);
}

#[test]
fn the_defaults_pass_their_own_checks() {
    for (name, value, range) in Limits::default().table() {
        assert!(range.contains(&value), "{name}");
    }
}

#[test]
fn a_bundle_comes_from_one_place() {
    for good in [
        "[bundle]\nfile = 'b.tar.zst'\npublic_key_files = 'key.pub'",
        "[bundle]\nurl = 'https://bundles.example/b'\nca_file = 'ca.pem'\npublic_key_files = ['a', 'b']",
        "[bundle]\npublished = true\npublic_key_files = 'key.pub'",
        "[bundle]\ndirectory = '../policies'",
    ] {
        assert_eq!(faults(good), Vec::<String>::new());
    }
    let bad =
        "[bundle]\nfile = 'b'\nurl = 'http://bundles.example/b'\ncache_file = ''\npoll_seconds = 0";
    assert_eq!(
        faults(bad),
        [
            "callgate.toml:3:7: `bundle.url` is set beside `bundle.file`: a bundle comes from one place",
            "callgate.toml:4:14: `bundle.cache_file` is an empty path",
            "callgate.toml:3:7: `bundle.url` is not a URL that begins with `https://`",
            "callgate.toml:5:16: `bundle.poll_seconds` is 0, but must be from 1 to 86400",
        ]
    );
    let unused =
        "[bundle]\nca_file = 'a'\ntoken_file = 't'\ncache_file = 'c'\npublic_key_files = 'k'";
    assert_eq!(faults(unused).len(), 4);
    let secret = faults("[bundle]\nurl = 'https://me:word@bundles.example/b'");
    assert!(secret[0].contains("use `token_file`"), "{secret:?}");
}

#[test]
fn names_that_come_from_elsewhere_are_bounded_and_of_the_right_form() {
    let good = "[bundle.known]\nentities = ['Mcp::Tool::\"jira/*\"', 'Shop::Depot::\"*\"']\nlabels = ['pii-*']";
    assert_eq!(faults(good), Vec::<String>::new());
    let bad = "[bundle.known]\nentities = ['jira/*', '', '*']\nlabels = ['']\nroles = []";
    assert_eq!(
        faults(bad),
        [
            "callgate.toml:2:13: `bundle.known.entities[0]` is `jira/*`, but must be an entity such as `Mcp::Tool::\"notion/*\"`",
            "callgate.toml:2:23: `bundle.known.entities[1]` is empty",
            "callgate.toml:2:27: `bundle.known.entities[2]` is `*`, but must be an entity such as `Mcp::Tool::\"notion/*\"`",
            "callgate.toml:3:11: `bundle.known.labels[0]` is empty",
        ]
    );
    let long = format!("[bundle.known]\nmethods = ['{}']", "x".repeat(1_025));
    assert_eq!(
        faults(&long),
        ["callgate.toml:2:12: `bundle.known.methods[0]` is longer than 1024 bytes"]
    );
    let many = vec!["'x'"; 1_001].join(", ");
    assert_eq!(
        faults(&format!("[bundle.known]\nroles = [{many}]")),
        ["callgate.toml:2:9: `bundle.known.roles` has 1001 names, at most 1000"]
    );
    assert_eq!(faults("[bundle]\nstrikt = true").len(), 1);
}

#[test]
fn every_section_is_read() {
    let text = format!(
        r#"
[listen]
grpc = ["127.0.0.1:0", "0.0.0.0:50051"]
unix = "/run/callgate.sock"
unix_mode = "0660"

[tls]
cert = "tls/server.pem"
key = "tls/server.key"
client_ca = "tls/ca.pem"
client_certificate = "optional"

[[callers]]
id = "edge"
token_sha256 = ["{DIGEST}"]
spiffe = ["spiffe://example.org/edge"]
tls_san = ["dns:edge.example.org", "uri:https://example.org/edge"]
rights = {{ rpcs = ["Authorize", "FilterTools"], assert_identity = true, explain = true }}

[[claims.groups]]
claim = "groups"

[limits]
batch = 10

[state]
file = "../state/callgate.db"
keep_ended_hours = 24
session_idle_hours = 2

[reload]
watch = false
debounce_ms = 50

[telemetry]
endpoint = "http://127.0.0.1:4317"
decision_log = "all"
lines_per_minute = 7
arguments = {{ hmac_key_env = "KEY", allow = ["repo"] }}

[schema]
max_dereference_level = 5
"#
    );
    let config = Config::from_toml(&text, "callgate.toml").expect("no faults");
    assert_eq!(config.listen.grpc.len(), 2);
    assert_eq!(config.listen.unix_mode, SocketMode(0o660));
    assert_eq!(
        config.tls.expect("tls").client_certificate,
        ClientCertificate::Optional
    );
    assert_eq!(
        config.callers[0].rights,
        RightsConfig {
            rpcs: vec![
                RpcSelector::One(Rpc::Authorize),
                RpcSelector::One(Rpc::FilterTools)
            ],
            assert_identity: true,
            explain: true,
            ..RightsConfig::default()
        }
    );
    assert_eq!(config.claims.groups[0].prefix, "claim:");
    assert_eq!(
        (config.limits.batch, config.limits.actors),
        (10, Limits::default().actors)
    );
    assert_eq!(
        config.state,
        StoreConfig {
            file: Some("../state/callgate.db".into()),
            keep_ended_hours: 24,
            session_idle_hours: 2,
            ..StoreConfig::default()
        }
    );
    assert!(!config.reload.watch);
    assert_eq!(config.telemetry.decision_log, DecisionLog::All);
    assert_eq!(config.telemetry.lines_per_minute, 7);
    assert_eq!(config.telemetry.arguments.allow, ["repo"]);
    assert_eq!(config.schema.max_dereference_level, 5);
}

#[test]
fn a_fault_of_shape_names_file_line_column_and_field() {
    for (text, wanted) in [
        (
            "[limits]\nbatch = \"ten\"\n",
            "callgate.toml:2:9: `limits.batch`: invalid type",
        ),
        (
            "[limits]\n\nbach = 1\n",
            "callgate.toml:3:1: `limits.bach`: unknown field `bach`",
        ),
        (
            "[listen]\ngrpc = \"localhost\"\n",
            "callgate.toml:2:8: `listen.grpc`: `localhost`: invalid socket address",
        ),
        (
            "[listen]\ngrpc = [\"127.0.0.1:1\", 3]\n",
            "callgate.toml:2:24: `listen.grpc[1]`: invalid type",
        ),
        (
            "[listen]\nunix_mode = \"rw\"\n",
            "callgate.toml:2:13: `listen.unix_mode`: `rw` is not a file permission",
        ),
        (
            "[[callers]]\nid = \"a\"\n[callers.rights]\nrpcs = [\"Authorise\"]\n",
            "callgate.toml:4:9: `callers[0].rights.rpcs[0]`: unknown variant `Authorise`",
        ),
        (
            "[[callers]]\n",
            "callgate.toml:1:1: `callers[0]`: missing field `id`",
        ),
        ("[limits\n", "callgate.toml:1:8: "),
        (
            "[limits]\nbatch = -1\n",
            "callgate.toml:2:9: `limits.batch`: invalid value",
        ),
    ] {
        let found = faults(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(wanted),
            "{}\n  wanted {wanted}",
            found[0]
        );
    }
}

#[test]
fn every_fault_of_meaning_is_reported_with_its_place() {
    let text = format!(
        r#"[listen]
grpc = ["0.0.0.0:50051", "[::1]:1"]

[limits]
batch = 0
stale_wait_ms = 5000

[[callers]]
id = "edge"
token_sha256 = ["secret", "{DIGEST}"]

[[callers]]
id = "edge"
token_sha256 = ["{upper}"]
spiffe = ["spiffe://Example.org/x"]

[[callers]]
id = "nobody"

[schema]
max_dereference_level = 99

[telemetry]
endpoint = "collector:4317"
lines_per_minute = 0

[telemetry.labels]
values = 501
top_denied = 51
"#,
        upper = DIGEST.to_uppercase(),
    );
    let found = faults(&text);
    for wanted in [
        "callgate.toml:2:9: `listen.grpc[0]` would offer decisions in cleartext on `0.0.0.0:50051`: set `[tls]`",
        "callgate.toml:5:9: `limits.batch` is 0, but must be from 1 to 10000",
        "callgate.toml:6:17: `limits.stale_wait_ms` is 5000, but must be less than `limits.deadline_ms`",
        "callgate.toml:10:17: `callers[0].token_sha256[0]` is not a SHA-256 digest",
        "callgate.toml:13:6: `callers[1].id` `edge` is also `callers[0]`",
        "callgate.toml:14:17: `callers[1].token_sha256[0]` is a credential that `callers[0]` has already",
        "callgate.toml:15:11: `callers[1].spiffe[0]` `spiffe://Example.org/x` is not a SPIFFE id",
        "callgate.toml:15:10: `callers[1].spiffe` needs client certificates",
        "callgate.toml:17:1: `callers[2]` has no way to authenticate",
        "callgate.toml:21:25: `schema.max_dereference_level` is 99",
        "callgate.toml:24:12: `telemetry.endpoint` `collector:4317` is not a URL",
        "callgate.toml:25:20: `telemetry.lines_per_minute` is 0, but must be from 1 to 1000000",
        "callgate.toml:28:10: `telemetry.labels.values` is 501, but must be from 1 to 500",
        "callgate.toml:29:14: `telemetry.labels.top_denied` is 51, but must be from 0 to 50",
    ] {
        assert!(
            found.iter().any(|fault| fault.starts_with(wanted)),
            "{wanted}\n  not in {found:#?}"
        );
    }
    assert_eq!(found.len(), 14, "{found:#?}");
    assert!(
        !found.iter().any(|fault| fault.contains("`secret`")),
        "a token must not be repeated"
    );
}

#[test]
fn what_is_kept_is_bounded_and_an_approval_fits_its_own_limit() {
    let text = r#"
[state]
file = ""
keep_ended_hours = 0
keep_changes_days = 3651
session_idle_hours = 8761

[limits]
approval_minutes = 1
approval_valid_seconds = 61
"#;
    assert_eq!(
        faults(text),
        [
            "callgate.toml:10:26: `limits.approval_valid_seconds` is 61, but `limits.approval_minutes` allows 60 at most",
            "callgate.toml:3:8: `state.file` is an empty path",
            "callgate.toml:4:20: `state.keep_ended_hours` is 0, but must be from 1 to 87600",
            "callgate.toml:5:21: `state.keep_changes_days` is 3651, but must be from 1 to 3650",
            "callgate.toml:6:22: `state.session_idle_hours` is 8761, but must be from 1 to 8760",
        ]
    );
    assert!(
        faults(&text.replace("61\n", "60\n"))
            .iter()
            .all(|it| it.contains("`state."))
    );
}

#[test]
fn a_store_is_one_file_or_one_database() {
    let text = r#"
[state]
file = "callgate.db"
url = "mysql://x/y"
max_staleness_ms = 499
wait_seconds = 3601
"#;
    assert_eq!(
        faults(text),
        [
            "callgate.toml:4:7: `state.url` is not a URL such as `postgres://user@host/database`",
            "callgate.toml:4:7: `state.url` is set beside `file`: there is one store",
            "callgate.toml:5:20: `state.max_staleness_ms` is 499, but must be from 500 to 60000",
            "callgate.toml:6:16: `state.wait_seconds` is 3601, but must be from 0 to 3600",
        ]
    );
    assert_eq!(
        faults("[state]\nreplica = \"one\"\n"),
        ["callgate.toml:2:11: `state.replica` means nothing without `url`"]
    );
}

#[test]
fn the_database_lies_beside_the_configuration_or_in_the_working_directory() {
    let base = Path::new("/etc/callgate");
    let at = |file: Option<&str>| {
        let state = StoreConfig {
            file: file.map(Into::into),
            ..StoreConfig::default()
        };
        state.path(base)
    };
    assert_eq!(at(None), Path::new("./callgate.db"));
    assert_eq!(
        at(Some("../lib/a.db")),
        Path::new("/etc/callgate/../lib/a.db")
    );
    assert_eq!(at(Some("/var/lib/a.db")), Path::new("/var/lib/a.db"));
}

#[test]
fn plain_http_has_an_address_of_its_own_and_the_same_conditions() {
    let listen = ListenConfig::default();
    assert_eq!(
        listen.http,
        ["127.0.0.1:8180".parse::<SocketAddr>().expect("an address")]
    );
    let text = r#"
[listen]
grpc = "127.0.0.1:1"
http = ["0.0.0.0:8180", "127.0.0.1:1"]

[authzen]
url = "pdp.example.com"
types = { "mcp-server" = "Mcp::Server", "api.route" = "Api.Route" }

[toolhive]
subject_type = "Mcp::"
"#;
    assert_eq!(
        faults(text),
        [
            "callgate.toml:4:9: `listen.http[0]` would offer decisions in cleartext on `0.0.0.0:8180`: set `[tls]` with `cert` and `key`, or listen on a loopback address such as `127.0.0.1:50051`, or on a Unix socket",
            "callgate.toml:4:25: `listen.http[1]` names `127.0.0.1:1` twice",
            "callgate.toml:7:7: `authzen.url` `pdp.example.com` is not a URL such as `https://pdp.example.com`",
            "callgate.toml:8:1: `authzen.types` `api.route` = `Api.Route` is not a name and an entity type such as `Mcp::User`",
            "callgate.toml:11:16: `toolhive.subject_type` `Mcp::` is not an entity type such as `Mcp::User`",
        ]
    );
    for url in [
        "https://a/",
        "https://a?b",
        "https://a#b",
        "ftp://a",
        "http://a",
        "http://localhost:8180",
        "https://",
    ] {
        assert_eq!(
            faults(&format!("[authzen]\nurl = \"{url}\"\n")).len(),
            1,
            "{url}"
        );
    }
}

#[test]
fn only_loopback_goes_without_tls() {
    for (address, is_fine) in [
        ("127.0.0.1:1", true),
        ("127.8.8.8:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("192.0.2.1:1", false),
        ("10.0.0.1:1", false),
    ] {
        let address = address.parse().expect("an address");
        assert_eq!(
            ListenConfig::check_address(address, false).is_ok(),
            is_fine,
            "{address}"
        );
        assert!(
            ListenConfig::check_address(address, true).is_ok(),
            "{address}"
        );
    }
}

#[test]
fn tls_without_callers_is_a_fault() {
    let found = faults("[tls]\ncert = \"a\"\nkey = \"b\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("`tls` is set without any `[[callers]]`"),
        "{found:?}"
    );
}

#[test]
fn limits_of_the_decision_log_have_limits() {
    for (setting, said) in [
        (
            "segment_mib = 0",
            "`audit.segment_mib` is 0, but must be between 1 and 1024",
        ),
        (
            "keep_days = 0",
            "`audit.keep_days` is 0, but must be between 1 and 36500",
        ),
        (
            "keep_mib = 1",
            "`audit.keep_mib` is 1, but must be between 64 and 16777216",
        ),
        (
            "queue_mib = 2000",
            "`audit.queue_mib` is 2000, but must be between 1 and 1024",
        ),
        ("mode = \"sometimes\"", "unknown variant `sometimes`"),
    ] {
        let found = faults(&format!("[audit]\n{setting}\n"));
        assert!(found.len() == 1 && found[0].contains(said), "{found:?}");
    }
}

#[test]
fn what_a_reload_cannot_change_is_named() {
    let read =
        |text: &str| Config::from_toml(text, "f").unwrap_or_else(|faults| panic!("{faults:?}"));
    let start = read("");
    for (text, wanted) in [
        (
            "[limits]\nbatch = 7\n[schema]\nmax_dereference_level = 1\n",
            &[][..],
        ),
        ("[[claims.groups]]\nclaim = \"groups\"\n", &[]),
        ("[envoy]\npass_replies = true\ntrust_text = true\n", &[]),
        ("[ext_mcp]\npass_completions = true\n", &[]),
        ("require_delegation = true\n", &[]),
        ("[limits]\nclock_skew_seconds = 0\n", &[]),
        ("[toolhive]\nagent = \"bot\"\n", &["toolhive"]),
        ("[limits]\nmessage_bytes = 8192\n", &["limits"]),
        ("[limits]\nsessions = 10\n", &["limits"]),
        ("[state]\nsession_idle_hours = 1\n", &["state"]),
        (
            "[listen]\ngrpc = \"127.0.0.1:1\"\n[reload]\nwatch = false\n",
            &["listen", "reload"],
        ),
        ("[telemetry]\ndecision_log = \"all\"\n", &["telemetry"]),
        ("[audit]\nmode = \"synced\"\n", &["audit"]),
    ] {
        assert_eq!(read(text).needs_restart(&start), wanted, "{text}");
    }
}

#[test]
fn what_names_claims_and_agents_is_checked() {
    let group = |claim: &str| format!("[[claims.groups]]\nclaim = \"{claim}\"\n");
    let caller = |more: &str| {
        let digest = "a".repeat(64);
        format!("[[callers]]\nid = \"a\"\ntoken_sha256 = [\"{digest}\"]\n{more}\n")
    };
    let of_actor = "is about the actor: name the claim without `act`, each actor gets its own";
    for (text, field, said) in [
        (group(""), "claims.groups[0].claim", "is empty"),
        (group("act"), "claims.groups[0].claim", of_actor),
        (group("act.groups"), "claims.groups[0].claim", of_actor),
        (
            group(&"a".repeat(513)),
            "claims.groups[0].claim",
            "is longer than 512 bytes",
        ),
        (
            group(&".".repeat(17)),
            "claims.groups[0].claim",
            "has more than 16 dots",
        ),
        (
            "[toolhive]\nagent = \" \"\n".to_owned(),
            "toolhive.agent",
            "is empty",
        ),
        (
            caller("toolhive_agent = \"a\\u0007\"\nrights = { assert_delegation = true }"),
            "callers[0].toolhive_agent",
            "holds a control character",
        ),
        (
            caller("toolhive_agent = \"bot\""),
            "callers[0].toolhive_agent",
            "needs `assert_delegation`: its calls are then made for a person",
        ),
        (
            "[[authzen.mcp]]\n".to_owned(),
            "authzen.mcp[0]",
            "says of no server that it is meant: set `server` or `server_from`",
        ),
        (
            "[[authzen.mcp]]\nserver = \"git\"\nserver_from = \"id\"\n".to_owned(),
            "authzen.mcp[0].server_from",
            "is set beside `server`: one of them says which server is meant",
        ),
        (
            "[[authzen.mcp]]\nserver_from = \"aud\"\n".to_owned(),
            "authzen.mcp[0].audiences",
            "is empty, so that `server_from = \"aud\"` finds no server",
        ),
        (
            "[[authzen.mcp]]\nserver = \"git\"\nsubject_types = []\n".to_owned(),
            "authzen.mcp[0].subject_types",
            "is empty, so nobody could be a subject",
        ),
        (
            "[[authzen.mcp]]\nserver = \"git\"\nagent = \" \"\n".to_owned(),
            "authzen.mcp[0].agent",
            "holds a name that is empty, longer than 1024 bytes, or has a control character",
        ),
        (
            "[[authzen.mcp]]\nserver = \"git\"\ncallers = [\"x\"]\n".to_owned(),
            "authzen.mcp[0].callers[0]",
            "`x` is the `id` of no caller",
        ),
        (
            "[[authzen.mcp]]\nserver = \"git\"\n[[authzen.mcp]]\nserver = \"b\"\n".to_owned(),
            "authzen.mcp[1].callers",
            "has a caller of `authzen.mcp[0]`",
        ),
    ] {
        let found = faults(&text);
        let wanted = format!("`{field}` {said}");
        assert!(
            found.len() == 1 && found[0].ends_with(&wanted),
            "{wanted}: {found:?}"
        );
    }
    for fine in [
        group("actions"),
        group("activity.groups"),
        group("https://id.example.org/roles"),
        caller("toolhive_agent = \"bot\"\nrights = { assert_delegation = true }"),
    ] {
        assert!(Config::from_toml(&fine, "f").is_ok(), "{fine}");
    }
}

#[test]
fn what_envoy_is_read_with_is_checked() {
    let identity = |it: &str| format!("[[envoy.identity]]\n{it}\n");
    let setting = |it: &str| format!("[envoy]\n{it}\n");
    let route = |method: &str, path: &str, tool: &str, query: &str| {
        let to = format!("server = 's'\ntool = '{tool}'\nquery = {query}");
        format!("[[envoy.routes]]\nmethod = '{method}'\npath = '{path}'\n{to}\n")
    };
    for (text, field, said) in [
        (
            "[[claims.groups]]\nclaim = 'groups'\nprefix = ''\n".to_owned(),
            "claims.groups[0].prefix",
            "is empty: whoever states the claim",
        ),
        (
            setting("session_header = 'a b'"),
            "envoy.session_header",
            "not the name of a header",
        ),
        (
            identity("from = 'header'\nagent = ''"),
            "envoy.identity[0].agent",
            "not the name of a header",
        ),
        (
            identity("from = 'spiffe'\nprefix = 'spiffe://a'"),
            "envoy.identity[0].prefix",
            "end with `/`",
        ),
        (
            identity("from = 'jwt'\npayload = ''"),
            "envoy.identity[0].payload",
            "is empty",
        ),
        (
            identity("from = 'jwt'\npayload = 'p'\ncallers = ['edge']"),
            "envoy.identity[0].callers[0]",
            "is the `id` of no caller",
        ),
        (
            setting("servers = [{ path = 'mcp', server = 's' }]"),
            "envoy.servers[0].path",
            "not a path",
        ),
        (
            setting("servers = [{ path = '/a/../mcp', server = 's' }]"),
            "envoy.servers[0].path",
            "not a path",
        ),
        (
            setting("servers = [{ path = '/mcp;v=1', server = 's' }]"),
            "envoy.servers[0].path",
            "not a path",
        ),
        (
            setting("servers = [{ path = '//mcp', server = 's' }]"),
            "envoy.servers[0].path",
            "not a path",
        ),
        (
            setting(
                "servers = [{ host = 'A', path = '/mcp', server = 's' }, { host = 'a', path = '/mcp', server = 't' }]",
            ),
            "envoy.servers[1].path",
            "for the same requests",
        ),
        (
            setting("servers = [{ path = '/mcp', server = '' }]"),
            "envoy.servers[0].server",
            "is empty",
        ),
        (
            route("get", "/a/{b}", "t", "[]"),
            "envoy.routes[0].method",
            "in capitals",
        ),
        (
            route("GET", "/a/{b}", "", "[]"),
            "envoy.routes[0].tool",
            "is empty",
        ),
        (
            route("GET", "/a/{b}", "t", "['b']"),
            "envoy.routes[0].query",
            "another argument's name",
        ),
        (
            route("GET", "/a/../b", "t", "[]"),
            "envoy.routes[0].path",
            "without escapes",
        ),
        (
            [
                route("GET", "/a/{b}", "t", "[]"),
                route("GET", "/a/{c}", "u", "[]"),
            ]
            .concat(),
            "envoy.routes[1].path",
            "the same requests as envoy.routes[0]",
        ),
        (
            setting("verified_servers = ['git', '']"),
            "envoy.verified_servers[1]",
            "is empty",
        ),
        (
            setting("denied_status = 404"),
            "envoy.denied_status",
            "200 or 403",
        ),
    ] {
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(
            found[0].contains(field) && found[0].contains(said),
            "{found:?}"
        );
    }
    for unknown in [
        "from = 'cookie'",
        "from = 'jwt'",
        "from = 'spiffe'\nprefix = 'spiffe://a/'\nagent = 'b'",
    ] {
        assert_eq!(faults(&identity(unknown)).len(), 1, "{unknown}");
    }
}

const GUIDE: &str = include_str!("../../docs/configuration.md");

#[test]
fn the_example_of_the_guide_is_a_configuration_with_every_section() {
    let (_, rest) = GUIDE.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let config = Config::from_toml(example, "f").unwrap_or_else(|faults| panic!("{faults:?}"));
    assert!(config.tls.is_some() && config.callers.len() == 1 && config.claims.groups.len() == 2);
    for section in [
        "listen",
        "tls",
        "callers",
        "claims",
        "envoy",
        "limits",
        "authzen",
        "toolhive",
        "memory",
        "state",
        "reload",
        "telemetry",
        "schema",
    ] {
        assert!(example.contains(section), "{section}");
    }
}

#[test]
fn the_guide_knows_every_limit_with_its_range() {
    let number = |text: &str| text.trim().replace(',', "").parse::<u32>().ok();
    let fixed = Limits::default().fixed_at_start().len();
    let mut restarts = 0;
    for (name, default, range) in Limits::default().table() {
        let start = format!("| `{name}` |");
        let line = GUIDE
            .lines()
            .find(|line| line.starts_with(&start))
            .expect(name);
        let cells: Vec<_> = line.trim_matches('|').split('|').collect();
        let (low, high) = range.into_inner();
        assert_eq!(
            [number(cells[1]), number(cells[2]), number(cells[3])],
            [Some(default), Some(low), Some(high)],
            "{name}"
        );
        restarts += usize::from(cells[4].trim() == "restart");
    }
    assert_eq!(restarts, fixed);
}

proptest::proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}", key in "[a-z\\[\\]=.\"0-9 \n]{0,80}") {
        for text in [&text, &key, &format!("[limits]\n{key}\n[[callers]]\n{text}")] {
            if let Err(faults) = Config::from_toml(text, "f") {
                proptest::prop_assert!(!faults.is_empty());
                proptest::prop_assert!(faults.iter().all(|fault| fault.line >= 1 && fault.column >= 1));
            }
        }
    }
}

#[test]
fn what_agentgateway_is_read_with_is_checked() {
    let identity = |it: &str| format!("[[ext_mcp.identity]]\n{it}\n");
    let setting = |it: &str| format!("[ext_mcp]\n{it}\n");
    for (text, field, said) in [
        (
            setting("session_key = ''"),
            "ext_mcp.session_key",
            "is empty",
        ),
        (
            setting("delegations_key = ''"),
            "ext_mcp.delegations_key",
            "is empty",
        ),
        (
            setting("verified_servers = ['git', '']"),
            "ext_mcp.verified_servers[1]",
            "is empty",
        ),
        (
            identity("from = 'jwt'\nkey = ''"),
            "ext_mcp.identity[0].key",
            "is empty",
        ),
        (
            identity("from = 'keys'\nagent = 'agent'\nperson = ''"),
            "ext_mcp.identity[0].person",
            "is empty",
        ),
        (
            identity("from = 'keys'\nagent = 'agent'\ncallers = ['edge']"),
            "ext_mcp.identity[0].callers[0]",
            "is the `id` of no caller",
        ),
    ] {
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(
            found[0].contains(field) && found[0].contains(said),
            "{found:?}"
        );
    }
    for text in [
        setting("prefix_mode = 'sometimes'"),
        identity("from = 'header'\nagent = 'x'"),
        identity("from = 'jwt'\nkey = 'jwt'\nsource = 'x'"),
    ] {
        assert_eq!(faults(&text).len(), 1, "{text}");
    }
}
