//! Cedar values of facts.

use std::sync::{Arc, LazyLock};

use callgate_engine::cedar::{EntityUID, Value};
use smol_str::SmolStr;

pub(super) fn record(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (SmolStr::new_static(name), value));
    Value::record_arc(Arc::new(fields.collect()), None)
}

pub(super) fn strings(items: impl IntoIterator<Item = SmolStr>) -> Value {
    set(items.into_iter().map(|item| Value::new(item, None)))
}

pub(super) fn entities(items: impl IntoIterator<Item = EntityUID>) -> Value {
    set(items.into_iter().map(|item| Value::new(item, None)))
}

/// Most sets are empty; the empty set is shared.
pub(super) fn set(items: impl Iterator<Item = Value>) -> Value {
    static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::empty_set(None));
    let mut items = items.peekable();
    if items.peek().is_none() {
        return EMPTY.clone();
    }
    Value::set(items, None)
}

/// A count as a Cedar `Long`, saturating.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
