//! Filters what a server offers to what the subject may use.

use std::borrow::Borrow;

use smol_str::SmolStr;

use crate::audit::decision_record::RecordedRequest;
use crate::domain::decide::listing::{self, HiddenReason, ListedItem, ListedVerdict};
use crate::domain::decide::observe;
use crate::domain::decide::verdict::{Reason, ReasonCode, Verdict};
use crate::domain::request::call_context::{CallContext, Told};
use crate::domain::schema;
use crate::service::Service;
use crate::service::deadline::{Deadline, ServiceError};
use crate::service::generation::Generation;
use crate::service::in_flight::{Decided, InFlightRequest, session_missing};
use crate::service::observe::passing;
use crate::service::recording::{Recorded, UntoldDecision};
use crate::service::request::{RequestMeta, Response};
use crate::store::backend::StoreWrite;
use crate::store::shown_definitions::{ChangedDefinition, GatewayTool};
use crate::telemetry::record::filtered_entries::FilteredEntry;

/// Entries that are decided between two looks at the clock: some tens of microseconds.
const ENTRIES_AT_ONCE: usize = 8;

fn lacks_arguments(generation: &Generation, call: &CallContext) -> bool {
    let Some(tool) = call.operation.kind.tool_call() else {
        return false;
    };
    let uid = schema::tool_uid(&call.operation.server, &tool.tool);
    let Some(registered) = generation.tools.get(&uid) else {
        return false;
    };
    match &registered.arguments {
        Some(schema) => {
            let checked = schema.check(&tool.arguments);
            checked.is_ok_and(|it| !it.missing.is_empty())
        }
        None => {
            let mut targets = registered.target_arguments.iter().flatten();
            tool.arguments.is_empty() && targets.any(|it| !it.is_optional)
        }
    }
}

/// A filtered list whose record is on its way into the log.
pub(super) struct PendingList<'a, C: Borrow<CallContext>> {
    untold: UntoldDecision<'a, FilteredList<C>>,
    /// As answered: in observe mode, more is shown.
    shown: Vec<HiddenReason>,
}

/// What a record says of a list: how many entries were kept and hidden, as decided, and how many of those were shown.
struct FilteredList<C> {
    call: C,
    kept: usize,
    hidden: usize,
    shown: usize,
}

impl<C> FilteredList<C> {
    fn new(call: C, verdicts: &[HiddenReason], answered: &[HiddenReason]) -> Self {
        let hidden = verdicts.iter().flatten().count();
        let withheld = answered.iter().flatten().count();
        Self {
            call,
            kept: verdicts.len() - hidden,
            hidden,
            shown: hidden.saturating_sub(withheld),
        }
    }
}

impl<C: Borrow<CallContext>> Recorded for FilteredList<C> {
    fn recorded(&self) -> RecordedRequest<'_> {
        RecordedRequest::Filter {
            call: self.call.borrow(),
            kept: self.kept,
            hidden: self.hidden,
            shown: self.shown,
        }
    }
}

/// Entries as long as there is time: the clock is read for every few of them.
fn in_time(offered: &[ListedItem], deadline: Deadline) -> impl Iterator<Item = &ListedItem> {
    let chunks = offered.chunks(ENTRIES_AT_ONCE);
    let chunks = chunks.take_while(move |_| !deadline.is_over());
    chunks.flatten()
}

impl Service {
    /// Decides for each entry whether the subject may use it, in order, as one record. The operation of `call` is the
    /// listing: which server, and what is listed.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotReady`] before the first load, [`ServiceError::DeadlineExceeded`] after the deadline.
    pub async fn filter(
        &self,
        ask: RequestMeta<'_>,
        call: &CallContext,
        offered: &[ListedItem],
    ) -> Result<Response<Vec<HiddenReason>>, ServiceError> {
        let held = self.hold_session(&ask, call).await;
        let (pending, stale) = self.pin_generation(ask).await?;
        let stale = held.or(stale);
        let list = self.filter_from(pending, stale, call, offered)?;
        Ok(self.finish_list(list).await)
    }

    /// The same from a pinned generation, up to the record.
    pub(super) fn filter_from<'a, C: Borrow<CallContext>>(
        &'a self,
        pending: InFlightRequest<'a>,
        stale: Option<Reason>,
        list_call: C,
        offered: &[ListedItem],
    ) -> Result<PendingList<'a, C>, ServiceError> {
        let ask = pending.ask;
        let call: &CallContext = list_call.borrow();
        let is_observed = self.observes(&ask, Some(&call.operation.server));
        let mut capsule = None;
        let filtered = match stale {
            Some(reason) => Err(reason),
            None => pending.guarded(Err, |generation, asker| {
                let seen = self.facts().observe(
                    &ask,
                    generation,
                    call,
                    self.confirmed_now().min(pending.started_at),
                );
                if seen.is_session_missing() {
                    return Err(session_missing());
                }
                let world = self.decision_inputs(generation, seen.history());
                let now = pending.started_at;
                let in_time = in_time(offered, ask.deadline);
                let filtered = listing::filter(world, call, in_time, asker, now, is_observed);
                if self.keeps_capsules() {
                    let hidden = listing::hidden_reasons(&filtered, offered.len());
                    // Fewer if there was no time for all.
                    if hidden.len() == offered.len() {
                        let (asked, entries) = ((call, &seen), (offered, &hidden[..]));
                        capsule = self.capsule_of_list(&pending, generation, asked, entries);
                    }
                }
                filtered
            }),
        };
        if filtered
            .as_ref()
            .is_ok_and(|verdicts| verdicts.len() < offered.len())
        {
            return Err(ServiceError::DeadlineExceeded);
        }
        let (decision, verdicts) = match filtered {
            Ok(verdicts) => (Verdict::allow_unconditionally(), verdicts),
            Err(reason) => {
                let hidden = ListedVerdict::from(reason.code);
                (Verdict::deny(reason), vec![hidden; offered.len()])
            }
        };
        let passes = decision.is_allow()
            || (is_observed && self.waives_list(&pending.generation, call, &decision));
        let is_enforced = !(is_observed && passes);
        let shown = verdicts
            .iter()
            .map(|it| it.hidden.filter(|_| is_enforced || it.is_held));
        let shown: Vec<HiddenReason> = shown.collect();
        let verdicts: Vec<HiddenReason> = verdicts.iter().map(|it| it.hidden).collect();
        if decision.is_allow() {
            self.remember(&pending, &call.operation.server, offered, &verdicts);
        }
        let decided = Decided {
            is_enforced,
            capsule,
            ..Decided::enforced(decision)
        };
        let list = FilteredList::new(list_call, &verdicts, &shown);
        let untold = self.begin_record(pending, list, decided);
        Ok(PendingList { untold, shown })
    }

    /// Whether a list whose evidence fails is shown in observe mode.
    fn waives_list(&self, generation: &Generation, call: &CallContext, verdict: &Verdict) -> bool {
        let (snapshot, authority) = (&generation.snapshot, &generation.authority);
        passing(observe::waive_list(snapshot, authority, call, verdict)).is_some()
    }

    /// Waits until the record of a list is written. If it cannot be, every entry is hidden.
    pub(super) async fn finish_list<C: Borrow<CallContext>>(
        &self,
        list: PendingList<'_, C>,
    ) -> Response<Vec<HiddenReason>> {
        let PendingList { untold, shown } = list;
        let answer = self.finish_record(untold).await;
        let hidden = answer.value.reasons.first().map(|reason| reason.code);
        answer.map(|decision| match decision.is_allow() {
            true => shown,
            false => vec![hidden; shown.len()],
        })
    }

    /// The list entry of a call without the arguments that its tool requires. `None` if the call lacks none.
    pub(super) fn entry_of(
        &self,
        pending: &InFlightRequest<'_>,
        call: &CallContext,
    ) -> Option<(CallContext, ListedItem)> {
        // Incomplete arguments are those of a call: others may have been left out as well.
        let is_bare = call.operation.arguments().is_some_and(|it| it.is_empty());
        let is_told = call.operation.told == Told::All;
        if !is_told || !is_bare || !lacks_arguments(&pending.generation, call) {
            return None;
        }
        listing::as_listing(call)
    }

    /// Whether the called tool requires arguments that the call does not have: by its pinned schema, or without one by
    /// the targets in its registration.
    pub fn requires_arguments(&self, call: &CallContext) -> bool {
        self.live().is_some_and(|it| lacks_arguments(&it, call))
    }

    /// Submits writes that no response waits for.
    fn write_soon(&self, writes: Vec<StoreWrite>) {
        if writes.is_empty() {
            return;
        }
        let submitted = self.ledger().writer().submit(writes, |result| {
            if let Err(error) = result {
                tracing::error!(%error, "what a list has shown is not written");
            }
        });
        if let Err(error) = submitted {
            tracing::error!(%error, "what a list has shown is not written");
        }
    }

    /// Records the definitions that a list has shown, as later calls do not carry them. Entries that are hidden
    /// because of what they are, and not by a policy, are logged, as nothing else would report them.
    fn remember(
        &self,
        pending: &InFlightRequest<'_>,
        server: &SmolStr,
        offered: &[ListedItem],
        verdicts: &[HiddenReason],
    ) {
        let gateway = pending.ask.gateway();
        let mut shown = Vec::new();
        for (offered, hidden) in offered.iter().zip(verdicts) {
            let ListedItem::Tool { name, definition } = offered else {
                continue;
            };
            let mut left = FilteredEntry {
                adapter: pending.ask.adapter,
                gateway: &gateway,
                server: Some(server),
                name,
                why: "it is not registered",
                fields: &[],
            };
            if *hidden == Some(ReasonCode::ToolUnknown) {
                self.recorder().filtered_entry(&left);
                continue;
            }
            let Some(definition) = definition else {
                continue;
            };
            let tool = schema::tool_uid(server, name);
            let changed = (*hidden == Some(ReasonCode::ToolChanged)).then(|| {
                let pinned = pending.generation.tools.get(&tool);
                let parts = pinned.and_then(|it| it.digest_parts.as_deref());
                ChangedDefinition {
                    digests: definition.digests().clone(),
                    fields: parts.map_or_else(Vec::new, |it| definition.differs_in(it)),
                    at: pending.started_at,
                }
            });
            if let Some(changed) = &changed {
                left.why = "its definition is not the pinned one";
                left.fields = &changed.fields;
                self.recorder().filtered_entry(&left);
            }
            let gateway = gateway.clone();
            shown.push((GatewayTool { gateway, tool }, changed));
        }
        let definitions = &self.facts().definitions;
        let writes = definitions.record(&shown, pending.started_at);
        self.write_soon(writes);
    }
}
