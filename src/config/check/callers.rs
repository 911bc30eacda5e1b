//! Validation of `[[callers]]`: every caller has credentials, and no two share one.

use std::collections::HashMap;

use super::ConfigErrors;
use crate::config::Config;
use crate::config::callers::{CallerConfig, parse_sha256};

const MAX_CALLERS: usize = 1_000;
const MAX_CALLER_ID_BYTES: usize = 128;

pub(super) fn check(config: &Config, faults: &mut ConfigErrors<'_>) {
    if config.callers.len() > MAX_CALLERS {
        let count = config.callers.len();
        faults.add(
            "callers",
            format!("has {count} entries, but at most {MAX_CALLERS} are allowed"),
        );
    }
    let has_client_ca = config
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_ca.is_some());
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut credentials: HashMap<String, usize> = HashMap::new();
    for (index, caller) in config.callers.iter().enumerate() {
        caller_id(index, caller, faults);
        if let Some(first) = ids.insert(&caller.id, index) {
            faults.add(
                format!("callers[{index}].id"),
                format!("`{}` is also `callers[{first}]`", caller.id),
            );
        }
        if caller.token_sha256.is_empty() && caller.spiffe.is_empty() && caller.tls_san.is_empty() {
            faults.add(
                format!("callers[{index}]"),
                "has no way to authenticate: set `token_sha256`, `spiffe` or `tls_san`",
            );
        }
        for (field, credential) in caller_credentials(index, caller, has_client_ca, faults) {
            if let Some(first) = credentials.insert(credential, index) {
                faults.add(
                    field,
                    format!("is a credential that `callers[{first}]` has already"),
                );
            }
        }
    }
}

fn caller_id(index: usize, caller: &CallerConfig, faults: &mut ConfigErrors<'_>) {
    let field = format!("callers[{index}].id");
    if caller.id.is_empty() {
        faults.add(field, "is empty");
    } else if caller.id.len() > MAX_CALLER_ID_BYTES {
        faults.add(field, format!("is longer than {MAX_CALLER_ID_BYTES} bytes"));
    } else if caller.id.chars().any(char::is_control) {
        faults.add(field, "holds a control character");
    }
}

/// The valid credentials of a caller, normalized for comparison, with their fields.
fn caller_credentials(
    index: usize,
    caller: &CallerConfig,
    has_client_ca: bool,
    faults: &mut ConfigErrors<'_>,
) -> Vec<(String, String)> {
    let mut credentials = Vec::new();
    for (at, token) in caller.token_sha256.iter().enumerate() {
        let field = format!("callers[{index}].token_sha256[{at}]");
        match parse_sha256(token) {
            Some(_) => credentials.push((field, token.to_ascii_lowercase())),
            // Never repeat the value: it may be the token itself.
            None => faults.add(field, "is not a SHA-256 digest, 64 hexadecimal digits"),
        }
    }
    for (at, id) in caller.spiffe.iter().enumerate() {
        let field = format!("callers[{index}].spiffe[{at}]");
        if is_spiffe_id(id) {
            credentials.push((field, format!("uri:{id}")));
        } else {
            faults.add(
                field,
                format!("`{id}` is not a SPIFFE id such as `spiffe://example.org/gateway`"),
            );
        }
    }
    for (at, name) in caller.tls_san.iter().enumerate() {
        let field = format!("callers[{index}].tls_san[{at}]");
        match name.split_once(':') {
            Some(("dns", host)) if !host.is_empty() && !host.contains('*') => {
                credentials.push((field, format!("dns:{}", host.to_ascii_lowercase())));
            }
            Some(("uri", uri)) if uri.contains(':') => credentials.push((field, name.clone())),
            _ => faults.add(
                field,
                format!(
                    "`{name}` is neither `dns:<name>` nor `uri:<uri>`; wildcards are not allowed"
                ),
            ),
        }
    }
    let has_names = !caller.spiffe.is_empty() || !caller.tls_san.is_empty();
    if has_names && !has_client_ca {
        let field = if caller.spiffe.is_empty() {
            "tls_san"
        } else {
            "spiffe"
        };
        faults.add(
            format!("callers[{index}].{field}"),
            "needs client certificates: set `tls.client_ca` to the authority that signs them",
        );
    }
    credentials
}

fn is_spiffe_id(id: &str) -> bool {
    let Some(rest) = id.strip_prefix("spiffe://") else {
        return false;
    };
    let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    let is_path = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    id.len() <= 2_048
        && !domain.is_empty()
        && domain.chars().all(is_domain)
        && path.chars().all(is_path)
}

/// Checks the agents of ToolHive requests: valid names, and callers that may assert identities.
pub(super) fn toolhive_agents(config: &Config, faults: &mut ConfigErrors<'_>) {
    for (field, agent) in config.toolhive_agents() {
        if agent.trim().is_empty() {
            faults.add(field, "is empty");
        } else if agent.len() > MAX_CALLER_ID_BYTES {
            faults.add(field, format!("is longer than {MAX_CALLER_ID_BYTES} bytes"));
        } else if agent.chars().any(char::is_control) {
            faults.add(field, "holds a control character");
        }
    }
    for (index, caller) in config.callers.iter().enumerate() {
        if caller.toolhive_agent.is_some() && !caller.rights.assert_delegation {
            let said = "needs `assert_delegation`: its calls are then made for a person";
            faults.add(format!("callers[{index}].toolhive_agent"), said);
        }
    }
}
