//! Validation beyond the types of single values.

mod callers;
mod coaz;
mod listeners;
mod observe;

use crate::config::agentgateway::AgentgatewayConfig;
use crate::config::audit::AuditConfig;
use crate::config::callers::CallerConfig;
use crate::config::claims;
use crate::config::envoy::{EnvoyConfig, EnvoyIdentitySource, ServerRoute};
use crate::config::error::ConfigError;
use crate::config::limits::Limits;
use crate::config::memory::MemoryConfig;
use crate::config::request_host;
use crate::config::store::StoreConfig;
use crate::config::telemetry::{MetricLabels, TelemetryConfig};
use crate::config::toml_document::TomlDocument;
use crate::config::{Config, ReloadConfig};

/// How long a server may decide without having heard from the database, in milliseconds.
const MAX_STALENESS_MS: std::ops::RangeInclusive<u32> = 500..=60_000;
const MAX_WAIT_SECONDS: u32 = 3_600;

const MAX_DEREFERENCE_LEVEL: u32 = 16;
const MAX_DEBOUNCE_MS: u64 = 60_000;
const LOAD_DEADLINE_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
const LOAD_MEMORY_MIB: std::ops::RangeInclusive<u64> = 512..=1_048_576;
const MAX_LINES_PER_MINUTE: u32 = 1_000_000;
const MAX_KEEP_ENDED_HOURS: u32 = 87_600;
const MAX_KEEP_CHANGES_DAYS: u32 = 3_650;
/// The store keeps labels of pairs for little more than a day.
const MAX_PAIR_MINUTES: u32 = 1_440;
/// Longest retention of a place's labels.
const MAX_PLACE_DAYS: u32 = 365;
const MAX_SESSION_IDLE_HOURS: u32 = 8_760;

/// All errors of a configuration that deserializes.
pub(super) fn faults(config: &Config, document: &TomlDocument<'_>) -> Vec<ConfigError> {
    let mut faults = ConfigErrors {
        document,
        found: Vec::new(),
    };
    listeners::check(config, &mut faults);
    callers::check(config, &mut faults);
    claim_mapping(config, &mut faults);
    envoy(&config.envoy, &config.callers, &mut faults);
    ext_mcp(&config.ext_mcp, &config.callers, &mut faults);
    http(config, &mut faults);
    limits(&config.limits, &mut faults);
    memory(&config.memory, &mut faults);
    state(&config.state, &mut faults);
    audit(&config.audit, &mut faults);
    telemetry(&config.telemetry, &mut faults);
    for (field, said) in config.bundle.source_faults() {
        faults.add(field, said);
    }
    for (field, said) in config.bundle.known.faults() {
        faults.add(field, said);
    }
    let level = config.schema.max_dereference_level;
    if level > MAX_DEREFERENCE_LEVEL {
        faults.add(
            "schema.max_dereference_level",
            format!("is {level}, but must be at most {MAX_DEREFERENCE_LEVEL}"),
        );
    }
    reload(&config.reload, &mut faults);
    observe::check(config, &mut faults);
    faults.found
}

struct ConfigErrors<'a> {
    document: &'a TomlDocument<'a>,
    found: Vec<ConfigError>,
}

impl ConfigErrors<'_> {
    fn add(&mut self, path: impl AsRef<str>, said: impl AsRef<str>) {
        self.found.push(self.document.fault(path.as_ref(), said));
    }
}

fn reload(reload: &ReloadConfig, faults: &mut ConfigErrors<'_>) {
    if reload.debounce_ms > MAX_DEBOUNCE_MS {
        let given = reload.debounce_ms;
        faults.add(
            "reload.debounce_ms",
            format!("is {given}, but must be at most {MAX_DEBOUNCE_MS}"),
        );
    }
    let bounded = [
        ("reload.deadline_ms", reload.deadline_ms, LOAD_DEADLINE_MS),
        ("reload.memory_mib", reload.memory_mib, LOAD_MEMORY_MIB),
    ];
    for (field, given, range) in bounded {
        if !range.contains(&given) {
            let (low, high) = (range.start(), range.end());
            faults.add(
                field,
                format!("is {given}, but must be between {low} and {high}"),
            );
        }
    }
}

fn audit(audit: &AuditConfig, faults: &mut ConfigErrors<'_>) {
    let bounded = [
        ("audit.segment_mib", audit.segment_mib, 1..=1_024),
        ("audit.segment_minutes", audit.segment_minutes, 1..=10_080),
        ("audit.keep_days", audit.keep_days, 1..=36_500),
        ("audit.keep_mib", audit.keep_mib, 64..=16_777_216),
        (
            "audit.keep_capsules_days",
            audit.keep_capsules_days,
            1..=36_500,
        ),
        (
            "audit.keep_capsules_mib",
            audit.keep_capsules_mib,
            64..=16_777_216,
        ),
        ("audit.queue_mib", audit.queue_mib, 1..=1_024),
    ];
    let is_origin = |origin: &str| {
        (1..=255).contains(&origin.len())
            && !origin.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
    };
    if audit.origin.as_deref().is_some_and(|it| !is_origin(it)) {
        faults.add(
            "audit.origin",
            "must have 1 to 255 bytes, and no space, no `+` and no control character",
        );
    }
    for (field, given, range) in bounded {
        if !range.contains(&given) {
            let (low, high) = (range.start(), range.end());
            faults.add(
                field,
                format!("is {given}, but must be between {low} and {high}"),
            );
        }
    }
}

fn http(config: &Config, faults: &mut ConfigErrors<'_>) {
    if let Some(text) = &config.authzen.url {
        let is_base = url::Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https"
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if !is_base || text.ends_with('/') {
            let said = format!("`{text}` is not a URL such as `https://pdp.example.com`");
            faults.add("authzen.url", said);
        }
    }
    for (name, ty) in &config.authzen.types {
        if name.trim().is_empty() || !is_entity_type(ty) {
            let said =
                format!("`{name}` = `{ty}` is not a name and an entity type such as `Mcp::User`");
            faults.add("authzen.types", said);
        }
    }
    coaz::check(&config.authzen.mcp, &config.callers, faults);
    callers::toolhive_agents(config, faults);
    let subject_type = &config.toolhive.subject_type;
    if !is_entity_type(subject_type) {
        let said = format!("`{subject_type}` is not an entity type such as `Mcp::User`");
        faults.add("toolhive.subject_type", said);
    }
}

fn is_entity_type(name: &str) -> bool {
    name.split("::").all(|part| {
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        part.starts_with(is_start) && part.chars().all(|c| is_start(c) || c.is_ascii_digit())
    })
}

fn claim_mapping(config: &Config, faults: &mut ConfigErrors<'_>) {
    for (field, name) in config.claims.named() {
        if let Some(said) = claims::fault_of_name(name) {
            faults.add(format!("{field}.claim"), said);
        }
    }
    for (index, group) in config.claims.groups.iter().enumerate() {
        if group.prefix.trim().is_empty() {
            let said = "is empty: whoever states the claim could name any stored group";
            faults.add(format!("claims.groups[{index}].prefix"), said);
        }
    }
    for (index, attribute) in config.claims.attributes.iter().enumerate() {
        if attribute.tag.is_empty() {
            faults.add(format!("claims.attributes[{index}].tag"), "is empty");
        }
        if config.claims.attributes[..index]
            .iter()
            .any(|other| other.tag == attribute.tag)
        {
            let field = format!("claims.attributes[{index}].tag");
            faults.add(
                field,
                format!("`{}` is the tag of another claim already", attribute.tag),
            );
        }
    }
}

fn servers(settings: &EnvoyConfig, faults: &mut ConfigErrors<'_>) {
    for (index, route) in settings.servers.iter().enumerate() {
        let field = format!("envoy.servers[{index}]");
        // Requests for any other path are refused, since servers read it differently.
        let is_odd = |byte: u8| !byte.is_ascii_graphic() || b"?#;\\".contains(&byte);
        let mut segments = route.path.split('/').skip(1);
        let is_path = route.path.starts_with('/') && !route.path.bytes().any(is_odd);
        if !is_path || segments.any(|it| matches!(it, "." | "..")) || route.path.contains("//") {
            let said = format!("`{}` is not a path such as `/mcp`", route.path);
            faults.add(format!("{field}.path"), said);
        }
        if route.server.is_empty() {
            faults.add(format!("{field}.server"), "is empty");
        }
        let is_same = |it: &ServerRoute| {
            it.path == route.path
                && request_host::are_same(it.host.as_deref(), route.host.as_deref())
        };
        if let Some(same) = settings.servers[..index].iter().position(is_same) {
            let said = format!("is for the same requests as envoy.servers[{same}]");
            faults.add(format!("{field}.path"), said);
        }
    }
}

fn envoy(settings: &EnvoyConfig, known: &[CallerConfig], faults: &mut ConfigErrors<'_>) {
    for (field, header) in settings.headers() {
        if http::HeaderName::try_from(header).is_err() {
            faults.add(field, format!("`{header}` is not the name of a header"));
        }
    }
    for (index, source) in settings.identity.iter().enumerate() {
        let field = format!("envoy.identity[{index}]");
        match source {
            EnvoyIdentitySource::Spiffe { prefix, .. } => {
                if !prefix.starts_with("spiffe://") || !prefix.ends_with('/') {
                    let said =
                        format!("`{prefix}` does not begin with `spiffe://` and end with `/`");
                    faults.add(format!("{field}.prefix"), said);
                }
            }
            EnvoyIdentitySource::Jwt { payload, .. } => {
                if payload.is_empty() {
                    faults.add(format!("{field}.payload"), "is empty");
                }
            }
            EnvoyIdentitySource::Header { .. } => {}
        }
        sources_callers(&field, source.callers(), known, faults);
    }
    servers(settings, faults);
    for (index, route) in settings.routes.iter().enumerate() {
        let field = format!("envoy.routes[{index}]");
        for (name, said) in route.faults() {
            faults.add(format!("{field}.{name}"), said);
        }
        let earlier = &settings.routes[..index];
        if let Some(same) = earlier.iter().position(|it| it.is_for_same(route)) {
            let said = format!("is for the same requests as envoy.routes[{same}]");
            faults.add(format!("{field}.path"), said);
        }
    }
    for (index, server) in settings.verified_servers.iter().enumerate() {
        if server.is_empty() {
            faults.add(format!("envoy.verified_servers[{index}]"), "is empty");
        }
    }
    if !matches!(settings.denied_status, 200 | 403) {
        let said = format!("is {}, but must be 200 or 403", settings.denied_status);
        faults.add("envoy.denied_status", said);
    }
}

fn ext_mcp(settings: &AgentgatewayConfig, known: &[CallerConfig], faults: &mut ConfigErrors<'_>) {
    for (field, key) in settings.keys() {
        if key.is_empty() {
            faults.add(field, "is empty");
        }
    }
    for (index, source) in settings.identity.iter().enumerate() {
        let field = format!("ext_mcp.identity[{index}]");
        sources_callers(&field, source.callers(), known, faults);
    }
    for (index, server) in settings.verified_servers.iter().enumerate() {
        if server.is_empty() {
            faults.add(format!("ext_mcp.verified_servers[{index}]"), "is empty");
        }
    }
}

/// Checks that the callers of an identity source exist.
fn sources_callers(
    field: &str,
    callers: &[String],
    known: &[CallerConfig],
    faults: &mut ConfigErrors<'_>,
) {
    for (at, caller) in callers.iter().enumerate() {
        if !known.iter().any(|entry| entry.id == *caller) {
            let said = format!("`{caller}` is the `id` of no caller");
            faults.add(format!("{field}.callers[{at}]"), said);
        }
    }
}

fn limits(limits: &Limits, faults: &mut ConfigErrors<'_>) {
    for (name, value, range) in limits.table() {
        if !range.contains(&value) {
            let (low, high) = range.into_inner();
            faults.add(
                format!("limits.{name}"),
                format!("is {value}, but must be from {low} to {high}"),
            );
        }
    }
    if limits.stale_wait_ms >= limits.deadline_ms {
        let (wait, deadline) = (limits.stale_wait_ms, limits.deadline_ms);
        faults.add(
            "limits.stale_wait_ms",
            format!("is {wait}, but must be less than `limits.deadline_ms`, which is {deadline}"),
        );
    }
    let (message, all) = (limits.message_bytes as usize, limits.body_bytes());
    if message > all.saturating_mul(limits.caller_share_percent as usize) / 100 {
        let (mib, share) = (limits.bodies_mib, limits.caller_share_percent);
        faults.add(
            "limits.bodies_mib",
            format!(
                "is {mib}, of which a caller may have {share} percent (`limits.caller_share_percent`): too little for \
                 one message of `limits.message_bytes`, {message}"
            ),
        );
    }
    let longest = limits.approval_minutes.saturating_mul(60);
    if limits.approval_valid_seconds > longest {
        let given = limits.approval_valid_seconds;
        faults.add(
            "limits.approval_valid_seconds",
            format!("is {given}, but `limits.approval_minutes` allows {longest} at most"),
        );
    }
}

fn memory(memory: &MemoryConfig, faults: &mut ConfigErrors<'_>) {
    for (name, given, most) in [
        ("memory.pair_minutes", memory.pair_minutes, MAX_PAIR_MINUTES),
        ("memory.place_days", memory.place_days, MAX_PLACE_DAYS),
    ] {
        if !(1..=most).contains(&given) {
            faults.add(name, format!("is {given}, but must be from 1 to {most}"));
        }
    }
}

fn state(state: &StoreConfig, faults: &mut ConfigErrors<'_>) {
    if state
        .file
        .as_ref()
        .is_some_and(|file| file.as_os_str().is_empty())
    {
        faults.add("state.file", "is an empty path");
    }
    if let Some(url) = &state.url {
        let is_postgres =
            url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
        if !is_postgres {
            faults.add(
                "state.url",
                "is not a URL such as `postgres://user@host/database`",
            );
        }
        if state.file.is_some() {
            faults.add("state.url", "is set beside `file`: there is one store");
        }
    } else {
        let said = "means nothing without `url`";
        if state.password_file.is_some() {
            faults.add("state.password_file", said);
        }
        if state.replica.is_some() {
            faults.add("state.replica", said);
        }
    }
    let staleness = state.max_staleness_ms;
    if !MAX_STALENESS_MS.contains(&staleness) {
        let said = format!("is {staleness}, but must be from 500 to 60000");
        faults.add("state.max_staleness_ms", said);
    }
    let wait = state.wait_seconds;
    if wait > MAX_WAIT_SECONDS {
        let said = format!("is {wait}, but must be from 0 to {MAX_WAIT_SECONDS}");
        faults.add("state.wait_seconds", said);
    }
    for (name, given, most) in [
        (
            "keep_ended_hours",
            state.keep_ended_hours,
            MAX_KEEP_ENDED_HOURS,
        ),
        (
            "keep_changes_days",
            state.keep_changes_days,
            MAX_KEEP_CHANGES_DAYS,
        ),
        (
            "session_idle_hours",
            state.session_idle_hours,
            MAX_SESSION_IDLE_HOURS,
        ),
    ] {
        if !(1..=most).contains(&given) {
            faults.add(
                format!("state.{name}"),
                format!("is {given}, but must be from 1 to {most}"),
            );
        }
    }
}

fn telemetry(telemetry: &TelemetryConfig, faults: &mut ConfigErrors<'_>) {
    if let Some(endpoint) = &telemetry.endpoint {
        let is_http =
            url::Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_http {
            let said = format!("`{endpoint}` is not a URL such as `http://127.0.0.1:4317`");
            faults.add("telemetry.endpoint", said);
        }
    }
    if telemetry
        .service_name
        .as_ref()
        .is_some_and(String::is_empty)
    {
        faults.add("telemetry.service_name", "is empty");
    }
    let lines = telemetry.lines_per_minute;
    if !(1..=MAX_LINES_PER_MINUTE).contains(&lines) {
        faults.add(
            "telemetry.lines_per_minute",
            format!("is {lines}, but must be from 1 to {MAX_LINES_PER_MINUTE}"),
        );
    }
    let labels = &telemetry.labels;
    let (values, top) = (labels.values, labels.top_denied);
    if !(1..=MetricLabels::MAX_VALUES).contains(&values) {
        faults.add(
            "telemetry.labels.values",
            format!(
                "is {values}, but must be from 1 to {}",
                MetricLabels::MAX_VALUES
            ),
        );
    }
    if top > MetricLabels::MAX_TOP {
        faults.add(
            "telemetry.labels.top_denied",
            format!("is {top}, but must be from 0 to {}", MetricLabels::MAX_TOP),
        );
    }
    let arguments = &telemetry.arguments;
    if arguments.hmac_key_file.is_some() && arguments.hmac_key_env.is_some() {
        faults.add(
            "telemetry.arguments.hmac_key_env",
            "is set beside `hmac_key_file`: the key can have one source",
        );
    }
}
