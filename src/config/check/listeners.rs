//! Validation of `[listen]`, and of what has to go with it.

use crate::config::Config;
use crate::config::check::ConfigErrors;
use crate::config::listen::ListenConfig;

/// Adds the errors of addresses and paths, and of listeners without callers.
pub(super) fn check(config: &Config, faults: &mut ConfigErrors<'_>) {
    let Config {
        listen,
        tls,
        callers,
        ..
    } = config;
    if listen.grpc.is_empty() && listen.unix.is_empty() && listen.http.is_empty() {
        faults.add("listen", "names no address: set `grpc`, `http` or `unix`");
    }
    for (index, address) in listen.grpc.iter().enumerate() {
        if let Err(refusal) = ListenConfig::check_address(*address, tls.is_some()) {
            faults.add(format!("listen.grpc[{index}]"), refusal.to_string());
        }
        if address.port() != 0 && listen.grpc[..index].contains(address) {
            faults.add(
                format!("listen.grpc[{index}]"),
                format!("names `{address}` twice"),
            );
        }
    }
    for (index, address) in listen.http.iter().enumerate() {
        let field = format!("listen.http[{index}]");
        if let Err(refusal) = ListenConfig::check_address(*address, tls.is_some()) {
            faults.add(&field, refusal.to_string());
        }
        let earlier = listen.grpc.iter().chain(&listen.http[..index]);
        if address.port() != 0 && earlier.into_iter().any(|other| other == address) {
            faults.add(&field, format!("names `{address}` twice"));
        }
    }
    for (index, address) in listen.admin.iter().enumerate() {
        let others = listen.grpc.iter().chain(&listen.http);
        let earlier = others.chain(&listen.admin[..index]);
        if address.port() != 0 && earlier.into_iter().any(|other| other == address) {
            let field = format!("listen.admin[{index}]");
            faults.add(&field, format!("names `{address}` twice"));
        }
    }
    for (index, path) in listen.unix.iter().enumerate() {
        let field = format!("listen.unix[{index}]");
        if path.as_os_str().is_empty() {
            faults.add(&field, "is an empty path");
        } else if listen.unix[..index].contains(path) {
            faults.add(&field, format!("names `{}` twice", path.display()));
        }
    }
    if config.without_callers && !callers.is_empty() {
        faults.add(
            "without_callers",
            "is `true`, but there are `[[callers]]`: take one of them away",
        );
    }
    if tls.is_some() && callers.is_empty() {
        faults.add(
            "tls",
            "is set without any `[[callers]]`, so nobody could authenticate: add the callers",
        );
    }
}
