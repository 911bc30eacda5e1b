//! Faults in cases and tables, each at its place in the file.

use crate::analysis::policy_test::places::Places;
use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};

/// Faults that a fault is compared with, since the cells of a row have the same.
const MAX_COMPARED: usize = 200;

/// What a fault in a case is about, and the fault.
pub(in crate::analysis::policy_test) struct CaseFault {
    pub(super) field: String,
    pub(super) message: String,
    /// Where it is written, if that is not where the field is.
    pub(super) place: Option<String>,
    /// How to mend it.
    pub(super) help: Option<String>,
}

impl CaseFault {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            place: None,
            help: None,
        }
    }

    /// Says how to mend it.
    pub(super) fn with_help(mut self, help: String) -> Self {
        self.help = Some(help);
        self
    }

    /// Says where it is written.
    pub(super) fn at(mut self, place: String) -> Self {
        self.place = Some(place);
        self
    }
}

/// The faults of one file. Where things are is found out when it is needed.
pub(super) struct FileFaults<'a> {
    origin: SourceText<'a>,
    places: Option<Places<'a>>,
    pub(super) list: Vec<BundleDiagnostic>,
}

impl<'a> FileFaults<'a> {
    pub(super) fn new(origin: SourceText<'a>) -> Self {
        Self {
            origin,
            places: None,
            list: Vec::new(),
        }
    }

    /// The fault at its place: in a case or table, or of the file if `within` is empty.
    pub(super) fn located(&mut self, within: &str, fault: &CaseFault) -> BundleDiagnostic {
        let places = self.places.get_or_insert_with(|| Places::new(self.origin));
        let field = fault.place.as_ref().unwrap_or(&fault.field);
        let path = match within.is_empty() || field.starts_with("fixtures.") {
            true => field.clone(),
            false => format!("{within}.{field}"),
        };
        let located = places.fault(&path, format!("`{}`: {}", fault.field, fault.message));
        let help = fault.help.iter();
        help.fold(located, |it, help| it.with_help(help.as_str()))
    }

    pub(super) fn add(&mut self, within: &str, fault: &CaseFault, name: &str) {
        let located = self.located(within, fault);
        // The subject of a row is that of each of its cells.
        let is_told = |it: &&BundleDiagnostic| {
            (it.line, it.column) == (located.line, located.column)
                && it.line.is_some()
                && it.message.starts_with(&located.message)
        };
        let mut last = self.list.iter().rev().take(MAX_COMPARED);
        if last.any(|it| is_told(&it)) {
            return;
        }
        self.list.push(match name.is_empty() {
            true => located,
            false => located.and_more(&format!("(in `{name}`)")),
        });
    }
}
