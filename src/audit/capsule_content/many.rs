//! Lists and searches: one request, and several decisions with what became of each.
//!
//! The envelope of a list counts its entries; the capsule has each of them with its verdict, so that each is decided again.
//! What the entries have in common is there once. Above [`MAX_ENTRIES`] or [`super::MAX_BYTES`] there is no capsule.

use std::sync::Arc;

use callgate_engine::AssertedEntity;
use callgate_engine::cedar::Context;
use smol_str::SmolStr;

use super::binary::{CapsuleContentError, Reader, Writer};
use super::encode::{DecidedWith, finish, start, write_call, write_history, write_named};
use super::slice::AuthoritySlice;
use super::{MAX_BYTES, MissingFacts, decode};
use crate::domain::decide::inputs::History;
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::decide::listing::{HiddenReason, ListedItem};
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::definition::{DefinitionDigests, ToolDefinition};
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema;

/// The most entries of a list, and candidates of a search, in a capsule; of more there is none.
pub const MAX_ENTRIES: usize = 10_000;

/// An entry of a list, and what was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// The entry.
    pub item: ListedItem,
    /// The code of the reason why it was hidden; `None` if it was shown.
    pub hidden: Option<SmolStr>,
}

/// A candidate of a search, and what was decided.
#[derive(Debug, Clone)]
pub struct SearchedCandidate {
    /// The request about it.
    pub request: ParcRequest,
    /// Whether that was allowed.
    pub is_allow: bool,
    /// The code of the first reason of a deny.
    pub code: Option<SmolStr>,
}

/// A filtered list, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct ListCapsule<'a> {
    /// What it was decided from.
    pub with: DecidedWith<'a>,
    /// The call that lists.
    pub call: &'a CallContext,
    /// The observed history.
    pub history: History<'a>,
    /// What was not looked up.
    pub missing: MissingFacts,
    /// The entries.
    pub items: &'a [ListedItem],
    /// Why each is hidden, in the same order.
    pub hidden: &'a [HiddenReason],
}

/// A search, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct SearchCapsule<'a> {
    /// What it was decided from.
    pub with: DecidedWith<'a>,
    /// The candidates that were decided.
    pub candidates: &'a [SearchedCandidate],
}

impl SearchedCandidate {
    /// A candidate with its verdict. `None` if that does not depend on policies: the request names what none can name.
    pub fn new(request: ParcRequest, verdict: &Verdict) -> Option<Self> {
        let is_kept = request.denied.is_none() && matches!(request.context, Context::Value(_));
        let code = verdict.reasons.first();
        is_kept.then(|| Self {
            request,
            is_allow: verdict.is_allow(),
            code: code.map(|it| SmolStr::new_static(it.code.as_str())),
        })
    }
}

impl ListCapsule<'_> {
    /// The capsule; `None` if it would be too large.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.items.len() > MAX_ENTRIES {
            return None;
        }
        let authority = self.with.authority;
        let mut slice = AuthoritySlice::of_call(authority, self.call);
        if !authority.stops.is_empty() {
            let server = &self.call.operation.server;
            let tools = self.items.iter().filter_map(|item| match item {
                ListedItem::Tool { name, .. } => Some(schema::tool_uid(server, name)),
                _ => None,
            });
            slice.add_stops_of(authority, tools);
        }
        let mut out = start(&self.with, &slice, self.missing);
        out.byte(2);
        write_call(&mut out, self.call);
        write_history(&mut out, &self.history);
        let entries = self.items.iter().zip(self.hidden);
        out.number(entries.len() as u64);
        for (item, hidden) in entries {
            write_item(&mut out, item);
            out.maybe(hidden.as_ref(), |out, code| out.text(code.as_str()));
            if out.0.len() > MAX_BYTES {
                return None;
            }
        }
        finish(out)
    }
}

impl SearchCapsule<'_> {
    /// The capsule; `None` if it would be too large.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.candidates.len() > MAX_ENTRIES {
            return None;
        }
        let authority = self.with.authority;
        let mut slice = AuthoritySlice::default();
        if !authority.stops.is_empty() {
            let stoppable = self.candidates.iter();
            slice.add_stops_of(authority, stoppable.flat_map(|it| it.request.stoppable()));
        }
        let mut out = start(&self.with, &slice, MissingFacts::default());
        out.byte(3);
        out.number(self.candidates.len() as u64);
        let mut common = Writer::default();
        for (at, candidate) in self.candidates.iter().enumerate() {
            let request = &candidate.request;
            let Context::Value(context) = &request.context else {
                return None;
            };
            for uid in [&request.principal, &request.action, &request.resource] {
                out.uid(uid);
            }
            // Mostly what the candidate before it has.
            let mut own = Writer::default();
            own.list(context.iter(), write_named);
            own.list(request.asserted.iter(), write_asserted);
            let is_other = at == 0 || own.0 != common.0;
            out.maybe(is_other.then_some(&own), |out, own| out.bytes(&own.0));
            common = own;
            out.bool(candidate.is_allow);
            out.maybe(candidate.code.as_ref(), |out, code| out.text(code));
            if out.0.len() > MAX_BYTES {
                return None;
            }
        }
        finish(out)
    }
}

/// What the caller asserts of one entity.
pub(super) fn write_asserted(out: &mut Writer, asserted: &AssertedEntity) {
    out.uid(&asserted.uid);
    let attributes = asserted.attributes.iter();
    out.list(attributes.map(|(name, it)| (name, it)), write_named);
}

fn write_item(out: &mut Writer, item: &ListedItem) {
    match item {
        ListedItem::Tool { name, definition } => {
            out.byte(0);
            out.text(name);
            // Nothing else of a definition is looked at.
            let digests = definition.as_ref().map(ToolDefinition::digests);
            out.maybe(digests, |out, digests| {
                out.text(digests.pinned());
                out.text(digests.whole());
            });
        }
        ListedItem::Prompt(name) => write_numbered(out, 1, name),
        ListedItem::Resource(uri) => write_numbered(out, 2, uri),
        ListedItem::Template(template) => write_numbered(out, 3, template),
    }
}

fn write_numbered(out: &mut Writer, number: u8, text: &str) {
    out.byte(number);
    out.text(text);
}

/// Reads the entries of a list.
pub(super) fn read_entries(
    bytes: &mut Reader<'_>,
) -> Result<Vec<ListedEntry>, CapsuleContentError> {
    bytes.list(|bytes| {
        Ok(ListedEntry {
            item: match bytes.byte()? {
                0 => ListedItem::Tool {
                    name: bytes.short()?,
                    definition: bytes.maybe(|bytes| {
                        let digests = DefinitionDigests::new(bytes.short()?, bytes.short()?);
                        Ok(ToolDefinition::from_digests(digests))
                    })?,
                },
                1 => ListedItem::Prompt(bytes.short()?),
                2 => ListedItem::Resource(bytes.short()?),
                3 => ListedItem::Template(bytes.short()?),
                _ => return Err(CapsuleContentError::Bad("entry of a list")),
            },
            hidden: bytes.maybe(Reader::short)?,
        })
    })
}

/// Reads the candidates of a search.
pub(super) fn read_candidates(
    bytes: &mut Reader<'_>,
) -> Result<Vec<SearchedCandidate>, CapsuleContentError> {
    let mut common: (Arc<_>, Vec<AssertedEntity>) = Default::default();
    bytes.list(|bytes| {
        let (principal, action, resource) = (bytes.uid()?, bytes.uid()?, bytes.uid()?);
        if let Some(own) = bytes.maybe(Reader::bytes)? {
            let mut own = Reader::new(own);
            let context = own.list(decode::read_named)?.into_iter().collect();
            common = (Arc::new(context), own.list(decode::read_asserted)?);
            own.end()?;
        }
        let (context, asserted) = common.clone();
        Ok(SearchedCandidate {
            request: ParcRequest {
                principal,
                action,
                resource,
                context: Context::Value(context),
                asserted,
                denied: None,
                trace: TraceContext::default(),
            },
            is_allow: bytes.bool()?,
            code: bytes.maybe(Reader::short)?,
        })
    })
}

#[cfg(test)]
#[path = "many_tests.rs"]
mod tests;
