//! Chooses records: by who, what, why and when.

use crate::audit::record::schema::{ControlWrite, Decision, Policy, Reason, Verdict, record};
use crate::audit::record::{Record, schema};

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A decision.
    Decision,
    /// An attempt to change delegations, tasks, approvals, stops or entities.
    Write,
    /// What became of an allowed call.
    Outcome,
    /// Something that happened to the log itself.
    Notice,
}

/// What a record must have. Of several values of one condition one suffices; all conditions must hold. A condition without
/// values holds for every record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The kind of record.
    pub kinds: Vec<Kind>,
    /// A principal that takes part: subject, root, an actor between them; the actor of a write, and whom it stops,
    /// resumes or changes. As Cedar writes it, e.g.
    /// `Mcp::Agent::"support"`. Each group is a condition of its own.
    pub principals: Vec<Vec<String>>,
    /// The MCP server, of a call or of a write about it.
    pub servers: Vec<String>,
    /// The tool, and its server if it was given.
    pub tools: Vec<(Option<String>, String)>,
    /// The decision. A write that was denied is a deny.
    pub decision: Option<Verdict>,
    /// A code among the reasons.
    pub codes: Vec<String>,
    /// The id of a policy that had a part in it, in shadow too.
    pub policies: Vec<String>,
    /// Whether a policy in shadow mode would have changed the decision.
    pub is_shadow: bool,
    /// The owner of such a policy.
    pub owners: Vec<String>,
    /// A control that such a policy implements.
    pub controls: Vec<String>,
    /// The session.
    pub sessions: Vec<String>,
    /// The task.
    pub tasks: Vec<String>,
    /// The approval, of a call that it was for or of the writes about it.
    pub approvals: Vec<String>,
    /// The delegation, of a call that was made under it or of the writes about it.
    pub delegations: Vec<String>,
    /// The decision, or its outcome: 16 bytes.
    pub decision_ids: Vec<Vec<u8>>,
    /// The trace: 16 bytes.
    pub trace_ids: Vec<Vec<u8>>,
    /// Not before: nanoseconds since 1970.
    pub since: Option<u64>,
    /// Before: nanoseconds since 1970.
    pub until: Option<u64>,
}

impl Filter {
    /// Whether a record has all of it.
    pub fn matches(&self, record: &Record) -> bool {
        let is_in_time = self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until);
        let Some(kind) = record.kind.as_ref().filter(|_| is_in_time) else {
            return false;
        };
        any_of(&self.kinds, |it| *it == kind_of(kind))
            && (!self.is_shadow || is_flip(kind))
            && self.has_principals(kind)
            && self.has_operation(kind)
            && self.has_reasons(kind)
            && self.has_ids(kind)
    }

    /// Whether it asks only for outcomes or notices, by what none of them has.
    pub fn asks_for_what_none_has(&self) -> bool {
        let has_it = |kind: &Kind| matches!(kind, Kind::Decision | Kind::Write);
        let are_others = [
            self.principals.is_empty(),
            self.tools.is_empty(),
            self.codes.is_empty(),
            self.policies.is_empty(),
            self.owners.is_empty(),
            self.controls.is_empty(),
            self.tasks.is_empty(),
            self.approvals.is_empty(),
            self.delegations.is_empty(),
            self.trace_ids.is_empty(),
            self.decision.is_none(),
            !self.is_shadow,
        ];
        !self.kinds.is_empty() && !self.kinds.iter().any(has_it) && are_others.contains(&false)
    }

    /// The conditions that do not look into lists, of which a record has 64 entries at most; `None` if these are all.
    pub fn without_lists(&self) -> Option<Self> {
        let lists = [
            self.approvals.is_empty(),
            self.delegations.is_empty(),
            self.principals.is_empty(),
            self.codes.is_empty(),
            self.policies.is_empty(),
            self.owners.is_empty(),
            self.controls.is_empty(),
        ];
        lists.contains(&false).then(|| Self {
            approvals: Vec::new(),
            delegations: Vec::new(),
            principals: Vec::new(),
            codes: Vec::new(),
            policies: Vec::new(),
            owners: Vec::new(),
            controls: Vec::new(),
            ..self.clone()
        })
    }

    fn has_principals(&self, kind: &record::Kind) -> bool {
        let of_kind = principals(kind);
        self.principals
            .iter()
            .all(|group| any_of(group, |it| of_kind.contains(&it.as_str())))
    }

    fn has_operation(&self, kind: &record::Kind) -> bool {
        let (servers, tool) = match kind {
            record::Kind::Decision(it) => (vec![it.server.as_str()], it.tool.as_str()),
            record::Kind::Outcome(it) => (it.servers.iter().map(String::as_str).collect(), ""),
            record::Kind::Write(it) => {
                let (server, tool) = written_entity(it);
                (vec![server], tool)
            }
            record::Kind::Notice(_) => (Vec::new(), ""),
        };
        let has_server = |it: &String| servers.contains(&it.as_str());
        let is_tool = |(of_server, name): &(Option<String>, String)| {
            name == tool && of_server.as_ref().is_none_or(has_server)
        };
        any_of(&self.servers, has_server) && any_of(&self.tools, is_tool)
    }

    fn has_reasons(&self, kind: &record::Kind) -> bool {
        let (reasons, verdict) = match kind {
            record::Kind::Decision(it) => (it.reasons.as_slice(), it.verdict()),
            record::Kind::Write(it) => (it.reasons.as_slice(), verdict_of(it)),
            _ => (&[][..], Verdict::Unspecified),
        };
        let policies = policies(kind);
        let has_policy = |id: &String| {
            let is_named = |reason: &Reason| reason.policies.contains(id);
            policies.iter().any(|policy| policy.id == *id)
                || reasons.iter().any(is_named)
                || is_in_a_verdict(kind, id)
        };
        let has_owner = |owner: &String| policies.iter().any(|policy| policy.owner == *owner);
        let has_control = |control: &String| {
            let mut of_policies = policies.iter().flat_map(|policy| &policy.controls);
            of_policies.any(|it| it == control)
        };
        self.decision.is_none_or(|it| it == verdict)
            && any_of(&self.codes, |code| {
                reasons.iter().any(|it| it.code.eq_ignore_ascii_case(code))
            })
            && any_of(&self.policies, has_policy)
            && any_of(&self.owners, has_owner)
            && any_of(&self.controls, has_control)
    }

    fn has_ids(&self, kind: &record::Kind) -> bool {
        let none = Decision::default();
        let (session, task) = (&none.session_id, &none.task_id);
        let (session, task, id, trace) = match kind {
            record::Kind::Decision(it) => (&it.session_id, &it.task_id, &it.id, &it.trace_id),
            record::Kind::Outcome(it) => (&it.session_id, task, &it.decision_id, &none.trace_id),
            record::Kind::Write(it) => {
                let session = if it.verb == "EndSession" {
                    &it.id
                } else {
                    session
                };
                let task = if it.verb.ends_with("Task") {
                    &it.id
                } else {
                    task
                };
                (session, task, &none.id, &it.trace_id)
            }
            record::Kind::Notice(_) => (session, task, &none.id, &none.trace_id),
        };
        any_of(&self.approvals, |it| is_about_approval(kind, it))
            && any_of(&self.delegations, |it| is_about_delegation(kind, it))
            && any_of(&self.sessions, |it| it == session)
            && any_of(&self.tasks, |it| it == task)
            && any_of(&self.decision_ids, |it| *it == *id)
            && any_of(&self.trace_ids, |it| *it == *trace)
    }
}

fn is_about_approval(kind: &record::Kind, id: &String) -> bool {
    match kind {
        record::Kind::Decision(it) => {
            let used = it.side_effects.iter().chain(&it.would_use);
            it.approval_ids.contains(id) || used.into_iter().any(|used| used.approval_id == *id)
        }
        record::Kind::Write(it) => is_write_about_approval(it, id),
        _ => false,
    }
}

/// Whether a write requested, gave or took away an approval.
pub fn is_write_about_approval(write: &ControlWrite, id: &str) -> bool {
    let verbs = ["RequestApproval", "ApproveCall", "RejectCall"];
    verbs.contains(&write.verb.as_str()) && write.id == id
}

fn is_about_delegation(kind: &record::Kind, id: &String) -> bool {
    match kind {
        record::Kind::Decision(it) => {
            let chain = it.chain.as_ref();
            chain.is_some_and(|chain| chain.delegation_ids.contains(id))
        }
        record::Kind::Write(it) => is_write_about_delegation(it, id),
        _ => false,
    }
}

/// Whether a write granted, narrowed or revoked a delegation.
pub fn is_write_about_delegation(write: &ControlWrite, id: &str) -> bool {
    write.verb.ends_with("Delegation") && write.id == id
}

fn any_of<T>(values: &[T], has: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(has)
}

/// The kind of a record.
pub fn kind_of(kind: &record::Kind) -> Kind {
    match kind {
        record::Kind::Decision(_) => Kind::Decision,
        record::Kind::Write(_) => Kind::Write,
        record::Kind::Outcome(_) => Kind::Outcome,
        record::Kind::Notice(_) => Kind::Notice,
    }
}

/// The verdict on a write; unspecified where it is not about authority.
pub fn verdict_of(write: &ControlWrite) -> Verdict {
    match write.outcome.as_str() {
        "done" | "repeated" => Verdict::Allow,
        "denied" => Verdict::Deny,
        _ => Verdict::Unspecified,
    }
}

/// Whether it is a decision that a policy in shadow mode would have changed.
fn is_flip(kind: &record::Kind) -> bool {
    matches!(kind, record::Kind::Decision(it) if !it.shadow_policies.is_empty())
}

/// Everybody who takes part.
fn principals(kind: &record::Kind) -> Vec<&str> {
    match kind {
        record::Kind::Decision(it) => {
            let chain = it.chain.iter();
            let chain = chain.flat_map(|chain| chain.actors.iter().chain([&chain.root]));
            let asked = it.principals.iter().map(|verdict| &verdict.principal);
            [&it.subject]
                .into_iter()
                .chain(chain)
                .chain(asked)
                .map(String::as_str)
                .collect()
        }
        // What is stopped, resumed or changed has the id of an entity; other ids are none.
        record::Kind::Write(it) => vec![it.actor.as_str(), it.id.as_str()],
        _ => Vec::new(),
    }
}

/// The server and the tool whose entity a write is about: what follows the type in `Mcp::Tool::"server/tool"`, escaped as it is there.
fn written_entity(write: &ControlWrite) -> (&str, &str) {
    let of_type = |prefix: &str| write.id.strip_prefix(prefix)?.strip_suffix('"');
    match (of_type("Mcp::Server::\""), of_type("Mcp::Tool::\"")) {
        (Some(server), _) => (server, ""),
        (None, Some(tool)) => tool.split_once('/').unwrap_or_default(),
        (None, None) => ("", ""),
    }
}

/// The determining policies, and those in shadow.
fn policies(kind: &record::Kind) -> Vec<&Policy> {
    match kind {
        record::Kind::Decision(it) => {
            let shadow = it.shadow_policies.iter();
            it.determining_policies.iter().chain(shadow).collect()
        }
        record::Kind::Write(it) => it.determining_policies.iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether a policy was satisfied or failed for one of the principals.
fn is_in_a_verdict(kind: &record::Kind, id: &String) -> bool {
    let record::Kind::Decision(decision) = kind else {
        return false;
    };
    let has = |it: &schema::PrincipalVerdict| {
        [&it.permits, &it.forbids, &it.errors]
            .iter()
            .any(|ids| ids.contains(id))
    };
    decision.principals.iter().any(has)
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
