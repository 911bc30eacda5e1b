//! The facts that do not come with a call: session, task, delegations, labels, usage, stops.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{EntityType, EntityUID};
use smol_str::SmolStr;

use crate::analysis::policy_test::form::{
    Case, DelegationForm, SessionForm, TaskForm, UsageForm, UseForm,
};
use crate::analysis::policy_test::prepare::{
    CaseFault, LiveFacts, Question, Resolver, TASK_ID, find, party,
};
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::labels::{CarriedLabels, Labels};
use crate::domain::authority::scope::Scope;
use crate::domain::authority::session::{CedarSet, Session};
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::{Task, TaskStep};
use crate::domain::authority::terms::{AllowedValues, KnownResource, TaskTerms, ToolUse};
use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::domain::request::canonical;
use crate::domain::schema::{self, AccessLevel, TYPES};

const HOUR: i64 = 3_600;

impl Resolver<'_> {
    pub(super) fn live(
        &self,
        case: &Case,
        question: &Question,
        now: SystemTime,
    ) -> Result<LiveFacts, CaseFault> {
        let mut live = LiveFacts::default();
        if let Some(given) = &case.session {
            live.session = Some(session(find("session", given, &self.fixtures.sessions)?));
        }
        if let Some(given) = &case.usage {
            live.usage = Some(usage(find("usage", given, &self.fixtures.usage)?));
        }
        if let Some(labels) = &case.labels {
            let set = |labels: &[String]| (!labels.is_empty()).then(|| label_set(labels));
            live.carried = CarriedLabels {
                task: set(&labels.task),
                delegation: set(&labels.delegation),
                recent: set(&labels.recent),
            };
        }
        if let Some(given) = &case.task {
            let form = find("task", given, &self.fixtures.tasks)?;
            let task = self.task(case, form, question, now)?;
            live.calls_left = form.calls_left;
            live.tool_calls_left = form.tool_calls_left;
            live.authority.tasks.insert_mut(Arc::new(task));
        }
        for name in &case.delegations {
            self.add_delegation(name, now, &mut live)?;
        }
        for text in &case.stopped {
            let uid = party("stopped", text)?;
            let stop = Stop {
                uid: uid.clone(),
                reason: "stopped by the test".into(),
                at: now,
                by: schema::entity_uid(&TYPES.user, "test"),
            };
            live.authority.stops.insert_mut(uid, Arc::new(stop));
        }
        Ok(live)
    }

    fn task(
        &self,
        case: &Case,
        form: &TaskForm,
        question: &Question,
        now: SystemTime,
    ) -> Result<Task, CaseFault> {
        let subject = match question {
            Question::Call(call) => Some(&call.subject.entity),
            _ => None,
        };
        let named = |name: &Option<String>, ty: &EntityType| {
            name.as_deref().map(|name| schema::entity_uid(ty, name))
        };
        let agent = named(&form.agent, &TYPES.agent).or_else(|| subject.cloned());
        let user = named(&form.user, &TYPES.user).or_else(|| named(&case.for_user, &TYPES.user));
        let (Some(agent), Some(user)) = (agent, user) else {
            let message = "a task has an `agent` and a `user`, its own or those of the test";
            return Err(CaseFault::new("task", message));
        };
        let access = form.access.unwrap_or(AccessLevel::Admin);
        let parts = [&form.tools[..], &form.servers, &form.groups];
        let own = scope(parts, &[], access);
        let is_bounded = parts.iter().any(|names| !names.is_empty());
        let terms = TaskTerms {
            uses: form.uses.iter().map(tool_use).collect(),
            places: places(&form.read_from, &form.send_to),
        };
        let step = form.step.as_ref().map(|name| TaskStep {
            name: name.into(),
            scope: own.clone(),
        });
        Ok(Task {
            purpose: form.purpose.as_deref().unwrap_or("what it is about").into(),
            scope: is_bounded.then_some(own),
            terms,
            steps: step.into_iter().collect(),
            deadline: offset(now, form.ends_in.unwrap_or(HOUR)),
            closed_at: form.closed.then_some(now),
            ..open_task(agent, user, now)
        })
    }

    /// Adds a delegation and those that it is made from.
    fn add_delegation(
        &self,
        name: &str,
        now: SystemTime,
        live: &mut LiveFacts,
    ) -> Result<(), CaseFault> {
        let mut next = Some(name.to_owned());
        while let Some(name) = next.take() {
            let Some(form) = self.fixtures.delegations.get(&name) else {
                let message = format!("there is no delegation `{name}` in the file");
                return Err(CaseFault::new("delegations", message));
            };
            if live.authority.delegations.get(name.as_str()).is_some() {
                break;
            }
            let made = delegation(&name, form, now)?;
            live.authority.delegations.insert_mut(Arc::new(made));
            next.clone_from(&form.parent);
        }
        Ok(())
    }
}

pub(super) fn delegation(
    name: &str,
    form: &DelegationForm,
    now: SystemTime,
) -> Result<Delegation, CaseFault> {
    let access = form.access.unwrap_or(AccessLevel::Admin);
    let mut covered = scope(
        [&form.tools[..], &form.servers, &form.groups],
        &form.targets,
        access,
    );
    if covered.tools.is_empty() && covered.servers.is_empty() && covered.groups.is_empty() {
        let message = "say what it covers: `tools`, `servers` or `groups`";
        let field = format!("fixtures.delegations.{name}");
        if form.targets.is_empty() && form.access.is_none() {
            return Err(CaseFault::new(field, message));
        }
    }
    covered.access = access;
    Ok(Delegation {
        id: name.into(),
        from: party(&format!("fixtures.delegations.{name}.from"), &form.from)?,
        to: schema::entity_uid(&TYPES.agent, form.to.as_str()),
        scope: covered,
        task: None,
        parent: form.parent.clone().map(Into::into),
        max_redelegations: form.max_redelegations,
        not_before: offset(now, -HOUR),
        expires_at: offset(now, form.ends_in.unwrap_or(HOUR)),
        revoked_at: form.revoked.then_some(now),
        created_at: offset(now, -HOUR),
        owners: Default::default(),
    })
}

/// An open task for everything.
pub(super) fn open_task(agent: EntityUID, person: EntityUID, now: SystemTime) -> Task {
    Task {
        id: TASK_ID.into(),
        agent,
        agent_owner: None,
        person,
        purpose: "what it is about".into(),
        scope: None,
        terms: TaskTerms::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step: 0,
        opened_at: now,
        deadline: offset(now, HOUR),
        closed_at: None,
    }
}

/// A scope of tools, servers and groups.
pub(super) fn scope(
    [tools, servers, groups]: [&[String]; 3],
    targets: &[String],
    access: AccessLevel,
) -> Scope {
    let uids = |ty: &EntityType, names: &[String]| -> Vec<EntityUID> {
        let names = names.iter();
        names
            .map(|name| schema::entity_uid(ty, name.as_str()))
            .collect()
    };
    Scope {
        tools: uids(&TYPES.tool, tools),
        servers: uids(&TYPES.server, servers),
        groups: uids(&TYPES.group, groups),
        access,
        targets: uids(&TYPES.resource, targets),
    }
}

/// The places that a task names to read from, and to send to.
pub(super) fn places(read_from: &[String], send_to: &[String]) -> Vec<KnownResource> {
    let named = |names: &[String], read: bool| {
        let places = names.iter().map(|id| KnownResource {
            place: schema::entity_uid(&TYPES.resource, id.as_str()),
            read,
            send: !read,
        });
        places.collect::<Vec<_>>()
    };
    [named(read_from, true), named(send_to, false)].concat()
}

pub(super) fn tool_use(form: &UseForm) -> ToolUse {
    let arguments = form
        .arguments
        .iter()
        .map(|(argument, values)| AllowedValues {
            argument: argument.into(),
            values: values
                .iter()
                .map(|value| SmolStr::from(canonical::text(value)))
                .collect(),
        });
    ToolUse {
        tool: schema::entity_uid(&TYPES.tool, form.tool.as_str()),
        targets: form
            .targets
            .iter()
            .map(|id| schema::entity_uid(&TYPES.resource, id.as_str()))
            .collect(),
        arguments: arguments.collect(),
        max_calls: form.max_calls,
        any_target: form.any_target,
    }
}

fn label_set(labels: &[String]) -> Arc<Labels> {
    Arc::new(CedarSet::new(labels.iter().map(SmolStr::from).collect()))
}

fn session(form: &SessionForm) -> Session {
    let uids = form.tools.iter();
    let tools: Vec<EntityUID> = uids
        .map(|tool| schema::entity_uid(&TYPES.tool, tool.as_str()))
        .collect();
    let mut session = Session::new();
    session.labels = label_set(&form.labels);
    for tool in &tools {
        session = session.after(Some(tool), &[]);
    }
    session.calls = form.calls.unwrap_or(session.calls);
    session
}

fn usage(form: &UsageForm) -> Usage {
    let windows = |minute: u64, hour: u64, day: u64| WindowCounts {
        minute,
        hour: hour.max(minute),
        day: day.max(hour).max(minute),
    };
    Usage {
        tool: windows(form.last_minute, form.last_hour, form.last_day),
        actor: windows(
            form.actor_last_minute,
            form.actor_last_hour,
            form.actor_last_day,
        ),
        recent_denials: form.recent_denials,
        is_first_use: form.first_use,
        distinct_tools: form.distinct_tools,
    }
}

fn offset(now: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let moved = match seconds < 0 {
        true => now.checked_sub(by),
        false => now.checked_add(by),
    };
    moved.unwrap_or(now)
}
