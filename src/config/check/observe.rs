//! Validation of `[observe]`.

use super::ConfigErrors;
use crate::authn::caller::Caller;
use crate::config::Config;
use crate::config::observe::MAX_NAMES;

/// Callers have to exist. Servers need not be registered: observing is how one finds out what to register.
pub(super) fn check(config: &Config, faults: &mut ConfigErrors<'_>) {
    let observe = &config.observe;
    for (at, caller) in observe.callers.iter().enumerate() {
        let is_known = config.callers.iter().any(|it| it.id == *caller);
        // Without configured callers there is one, and it has this name.
        let is_local = config.callers.is_empty() && caller == Caller::LOCAL;
        if !is_known && !is_local {
            faults.add(
                format!("observe.callers[{at}]"),
                format!("`{caller}` is no caller: `[[callers]]` has none with this `id`"),
            );
        }
    }
    for (field, names) in [
        ("observe.callers", &observe.callers),
        ("observe.servers", &observe.servers),
    ] {
        if names.len() > MAX_NAMES {
            let count = names.len();
            faults.add(
                field,
                format!("has {count} names, but at most {MAX_NAMES} are allowed"),
            );
        }
    }
}
