//! The ids of imported policies: their own, as far as they are free.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;

use crate::analysis::dialect::source::ForeignPolicy;
use crate::bundle::Bundle;

/// The longest id that is kept, in bytes: there has to be room for a number.
const MAX_ID_BYTES: usize = 200;

/// The ids that are taken.
#[derive(Debug, Default)]
pub struct Ids {
    taken: BTreeSet<String>,
}

/// The ids of what one policy becomes.
#[derive(Debug)]
pub struct NewIds {
    /// One for each.
    pub ids: Vec<String>,
    /// If the id of the policy is not kept, in words.
    pub note: Option<String>,
}

impl Ids {
    /// Those of a directory.
    pub fn new(bundle: &Bundle) -> Self {
        Self {
            taken: bundle.policies.iter().map(|it| it.id.clone()).collect(),
        }
    }

    /// Takes ids.
    pub fn take<'i>(&mut self, ids: impl IntoIterator<Item = &'i String>) {
        self.taken.extend(ids.into_iter().cloned());
    }

    /// Free ids: `@id`, or the file with a number, and a number for all but the first.
    pub fn of(&self, json: &Json, policy: &ForeignPolicy, count: usize) -> NewIds {
        let own = json
            .pointer("/annotations/id")
            .map(|it| it.as_str().unwrap_or_default());
        if let Some(own) = own.filter(|it| is_good(it))
            && let Some(ids) = self.free(own, count)
        {
            return NewIds { ids, note: None };
        }
        let base = format!("imported.{}.{}", stem(policy), policy.number);
        let tried = (2_u32..).map(|again| format!("{base}-{again}"));
        let mut tried = std::iter::once(base.clone()).chain(tried);
        let ids = tried
            .find_map(|it| self.free(&it, count))
            .unwrap_or_default();
        let note = own.map(|own| {
            let why = if is_good(own) {
                "is taken"
            } else {
                "cannot be one here"
            };
            format!("the id `{}` {why}", own.escape_debug())
        });
        NewIds { ids, note }
    }

    fn free(&self, name: &str, count: usize) -> Option<Vec<String>> {
        let numbered = |index: usize| match index {
            0 => name.to_owned(),
            _ => format!("{name}.{}", index + 1),
        };
        let ids: Vec<String> = (0..count).map(numbered).collect();
        (!ids.iter().any(|it| self.taken.contains(it))).then_some(ids)
    }
}

fn is_good(id: &str) -> bool {
    let is_hidden = |c: char| c.is_control() || c == '`';
    !id.trim().is_empty() && id.len() <= MAX_ID_BYTES && !id.chars().any(is_hidden)
}

fn stem(policy: &ForeignPolicy) -> String {
    let file = Path::new(policy.origin().file.as_ref()).file_stem();
    let kept = |c: char| match c.is_ascii_alphanumeric() || "-_".contains(c) {
        true => c,
        false => '_',
    };
    let stem = file.unwrap_or_default().to_string_lossy();
    stem.chars().take(MAX_ID_BYTES).map(kept).collect()
}
