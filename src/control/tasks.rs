//! Tasks: open, advance, close, list.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::control::error::ControlError;
use crate::control::live_view::TaskView;
use crate::control::page::{ListPage, PageRequest};
use crate::control::requester::WriteRequester;
use crate::control::scopes;
use crate::control::write::{Control, WriteReceipt, whole_millis};
use crate::control::write_context::{GovernContext, WriteContext};
use crate::domain::authority::change::Change;
use crate::domain::authority::indexed::Part;
use crate::domain::authority::ownership;
use crate::domain::authority::scope::Scope;
use crate::domain::authority::task::{Task, TaskStatus, TaskStep};
use crate::domain::authority::terms::{TaskTerms, ToolUse};
use crate::domain::ids::TaskId;
use crate::domain::request::visible::shown;
use crate::domain::schema::TYPES;
use crate::service::generation::Generation;
use crate::service::ledger::PlannedChange;

/// The verb of opening a task.
pub const OPEN_TASK: &str = "OpenTask";

const SECONDS_OF_AN_HOUR: u64 = 60 * 60;

/// A task to open.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The agent that works on it.
    pub agent: EntityUID,
    /// The person it is for.
    pub person: EntityUID,
    /// Its purpose.
    pub purpose: SmolStr,
    /// The calls that belong to it; `None` for any.
    pub scope: Option<Scope>,
    /// Its terms: what single tools may be used for, and the resources that the person has named.
    pub terms: TaskTerms,
    /// Its budget in calls; `None` without a limit.
    pub call_budget: Option<u64>,
    /// Its steps in order.
    pub steps: Vec<TaskStep>,
    /// Its deadline, exclusive.
    pub deadline: SystemTime,
}

/// A filter of tasks. All fields that are given must match.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// The id.
    pub id: Option<TaskId>,
    /// The agent.
    pub agent: Option<EntityUID>,
    /// The person.
    pub person: Option<EntityUID>,
    /// The status.
    pub status: Option<TaskStatus>,
}

impl Control {
    /// Opens a task.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] for fields that do not fit together, [`ControlError::Denied`] if Cedar does not
    /// allow it, and the errors of a write.
    pub async fn open_task(
        &self,
        author: &WriteRequester,
        new: NewTask,
    ) -> Result<WriteReceipt<TaskView>, ControlError> {
        let plan = move |context: &WriteContext<'_>| plan_opening(context, new);
        let written = self.write(OPEN_TASK, author, plan).await?;
        self.receipt::<Task>(written)
    }

    /// Advances a task to a later step; to the next one if none is named.
    ///
    /// # Errors
    ///
    /// [`ControlError::Precondition`] if the task is not open, has no later step, or has an agent that is gone or belongs
    /// to somebody else by now, [`ControlError::Invalid`] for an unknown or earlier step, and the errors of a write.
    pub async fn advance_task(
        &self,
        author: &WriteRequester,
        id: TaskId,
        step: Option<SmolStr>,
    ) -> Result<WriteReceipt<TaskView>, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(id.as_str());
            let task = context.task("task", &id)?;
            govern(context, "advance_task", &task.uid(), task)?;
            let task = context.open_task("task", &id)?;
            if !task.is_of_the_same(&context.generation.snapshot) {
                let whose = "is for an agent that is gone, or belongs to somebody else by now";
                return Err(ControlError::Precondition(format!("task `{id}` {whose}")));
            }
            let advanced = Task {
                at_step: later_step(task, step.as_ref())?,
                ..Task::clone(task)
            };
            Ok(planned("AdvanceTask", advanced))
        };
        let written = self.write("AdvanceTask", author, plan).await?;
        self.receipt::<Task>(written)
    }

    /// Closes a task. Its delegations and approvals end in the same revision.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`] for an unknown one, [`ControlError::Denied`] if Cedar does not allow it, and the
    /// errors of a write.
    pub async fn close_task(
        &self,
        author: &WriteRequester,
        id: TaskId,
    ) -> Result<WriteReceipt<TaskView>, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(id.as_str());
            let task = context.task("task", &id)?;
            govern(context, "close_task", &task.uid(), task)?;
            let task = context.open_task("task", &id)?;
            let closed = Task {
                closed_at: Some(context.now),
                ..Task::clone(task)
            };
            Ok(planned("CloseTask", closed))
        };
        let written = self.write("CloseTask", author, plan).await?;
        self.receipt::<Task>(written)
    }

    /// Lists tasks in the order of their opening.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] for a page size beyond the limit, [`ControlError::NotReady`] before the first
    /// load.
    pub fn list_tasks(
        &self,
        filter: &TaskFilter,
        page: &PageRequest,
    ) -> Result<ListPage<TaskView>, ControlError> {
        self.list::<Task>(filter.id.as_ref(), filter.part(), page, |live, task| {
            let view = filter.fits(task).then(|| live.task(task))?;
            let wanted = filter.status.unwrap_or(view.status);
            (view.status == wanted).then_some(view)
        })
    }

    /// A task with its status in a generation.
    pub fn task_as_of(&self, generation: &Generation, task: &Arc<Task>) -> TaskView {
        self.view_of(generation).task(task)
    }
}

impl TaskFilter {
    /// The part to look up by, the rarest first.
    fn part(&self) -> Option<Part> {
        let person = self.person.clone().map(Part::Behind);
        person.or_else(|| self.agent.clone().map(Part::Acts))
    }

    /// Whether the task matches, whatever its status.
    fn fits(&self, task: &Task) -> bool {
        self.agent.as_ref().is_none_or(|agent| task.agent == *agent)
            && self
                .person
                .as_ref()
                .is_none_or(|person| task.person == *person)
    }
}

fn plan_opening(context: &WriteContext<'_>, new: NewTask) -> Result<PlannedChange, ControlError> {
    context.check_agent(&new.agent, "agent")?;
    if *new.person.entity_type() != TYPES.user {
        return Err(ControlError::invalid("person", "is not a user"));
    }
    if new.call_budget == Some(0) {
        let message = "is 0: leave it out for a task without a limit";
        return Err(ControlError::invalid("call_budget", message));
    }
    check_scopes(context, &new)?;
    check_terms(context, &new)?;
    let deadline = whole_millis(new.deadline);
    check_deadline(context, deadline)?;
    check_room(context)?;
    let task = Task {
        id: context.next_id("task").into(),
        agent_owner: ownership::owner_of_agent(&context.generation.snapshot, &new.agent),
        agent: new.agent,
        person: new.person,
        purpose: new.purpose,
        scope: new.scope,
        terms: new.terms,
        call_budget: new.call_budget,
        steps: new.steps,
        at_step: 0,
        opened_at: context.now,
        deadline,
        closed_at: None,
    };
    govern(context, "open_task", &task.agent, &task)?;
    Ok(planned(OPEN_TASK, task))
}

fn check_scopes(context: &WriteContext<'_>, new: &NewTask) -> Result<(), ControlError> {
    let snapshot = &context.generation.snapshot;
    if let Some(scope) = &new.scope {
        scopes::check_shape(scope, context.limits, "scope")?;
        scopes::check_known(scope, snapshot, "scope")?;
    }
    let (steps, limit) = (new.steps.len(), context.limits.task_steps);
    if steps > limit as usize {
        let message = format!("has {steps} items, but at most {limit} are allowed");
        return Err(ControlError::invalid("steps", message));
    }
    for (index, step) in new.steps.iter().enumerate() {
        let field = format!("steps[{index}]");
        if new.steps[..index]
            .iter()
            .any(|earlier| earlier.name == step.name)
        {
            let message = format!("`{}` names an earlier step", shown(&step.name));
            return Err(ControlError::invalid(format!("{field}.name"), message));
        }
        let field = format!("{field}.scope");
        scopes::check_shape(&step.scope, context.limits, &field)?;
        scopes::check_known(&step.scope, snapshot, &field)?;
        if let Some(whole) = &new.scope {
            step.scope.is_within(snapshot, whole).map_err(|outside| {
                let message = format!("is wider than the task's: that does not cover {outside}");
                ControlError::invalid(field, message)
            })?;
        }
    }
    Ok(())
}

/// Rejects terms of a tool that the task's scope does not cover.
fn check_terms(context: &WriteContext<'_>, new: &NewTask) -> Result<(), ControlError> {
    const USES: &str = "tool_uses";
    let snapshot = &context.generation.snapshot;
    let limit = context.limits.scope_items as usize;
    let TaskTerms { uses, places } = &new.terms;
    let size = |it: &ToolUse| {
        let values = it.arguments.iter().map(|it| 1 + it.values.len());
        1 + it.targets.len() + values.sum::<usize>()
    };
    let items = uses.iter().map(size).sum::<usize>() + places.len();
    if items > limit {
        let message = format!("has {items} items with `places`, but at most {limit} are allowed");
        return Err(ControlError::invalid(USES, message));
    }
    for (index, named) in uses.iter().enumerate() {
        let refuse = |part: &str, message: String| {
            let field = format!("{USES}[{index}]{part}");
            Err(ControlError::invalid(field, message))
        };
        let id: &str = named.tool.eid().as_ref();
        if !snapshot.contains(&named.tool) {
            let message = format!("`{}` is not a registered tool", shown(id));
            return refuse(".tool", message);
        }
        if uses[..index].iter().any(|it| it.tool == named.tool) {
            return refuse(".tool", format!("`{}` is named twice", shown(id)));
        }
        if named.max_calls == Some(0) {
            let message = "is 0: leave it out for a tool without a limit of its own";
            return refuse(".max_calls", message.to_owned());
        }
        if let Some((at, name)) = repeated_argument(named) {
            let message = format!(
                "`{}` is named twice: give all its values at once",
                shown(name)
            );
            return refuse(&format!(".arguments[{at}].argument"), message);
        }
        if let Some((part, message)) = open_target_fault(context, named) {
            return refuse(part, message);
        }
        let is_bare = named.targets.is_empty() && named.arguments.is_empty();
        if is_bare && named.max_calls.is_none() {
            let message = "names no target, no argument and no number of calls";
            return refuse("", message.to_owned());
        }
        let whole = new.scope.iter();
        let covers = |scope: &Scope| scope.names(snapshot, &named.tool);
        if !whole
            .chain(new.steps.iter().map(|it| &it.scope))
            .any(covers)
        {
            let message = format!("`{}` is not covered by the task's `scope`", shown(id));
            return refuse(".tool", message);
        }
    }
    let idle = places.iter().position(|place| !place.read && !place.send);
    idle.map_or(Ok(()), |index| {
        let message = "is neither to `read` from nor to `send` to";
        Err(ControlError::invalid(format!("places[{index}]"), message))
    })
}

/// The first argument that is named again, with its index. A call would have to fit both.
fn repeated_argument(named: &ToolUse) -> Option<(usize, &str)> {
    let names = named.arguments.iter().map(|it| it.argument.as_str());
    let mut seen = HashSet::new();
    names.enumerate().find(|(_, name)| !seen.insert(*name))
}

/// The field of a tool's terms that does not fit a target that is not known beforehand, and why.
fn open_target_fault(
    context: &WriteContext<'_>,
    named: &ToolUse,
) -> Option<(&'static str, String)> {
    if !named.any_target {
        return None;
    }
    if named.max_calls.is_none() {
        let message = "is needed with `any_target`: say how often";
        return Some((".max_calls", message.to_owned()));
    }
    if !named.targets.is_empty() {
        let message = "are for a tool without `any_target`: the targets are known, or they are not";
        return Some((".targets", message.to_owned()));
    }
    if named.arguments.is_empty() {
        let message = "are needed with `any_target`: say which values the others have";
        return Some((".arguments", message.to_owned()));
    }
    let registered = context.generation.tools.get(&named.tool);
    if registered.is_some_and(|it| !named.open_arguments(it).is_empty()) {
        return None;
    }
    let id: &str = named.tool.eid().as_ref();
    let message = format!(
        "leaves nothing open: the registration of `{}` names no target argument that `arguments` does not",
        shown(id)
    );
    Some((".any_target", message))
}

fn check_deadline(context: &WriteContext<'_>, deadline: SystemTime) -> Result<(), ControlError> {
    if deadline <= context.now {
        return Err(ControlError::invalid("deadline", "is over already"));
    }
    let hours = context.limits.task_hours;
    let longest = Duration::from_secs(u64::from(hours) * SECONDS_OF_AN_HOUR);
    if context
        .now
        .checked_add(longest)
        .is_some_and(|last| deadline > last)
    {
        let message =
            format!("is more than {hours} hours from now, which `limits.task_hours` allows");
        return Err(ControlError::invalid("deadline", message));
    }
    Ok(())
}

fn check_room(context: &WriteContext<'_>) -> Result<(), ControlError> {
    let tasks = &context.generation.authority.tasks;
    let limit = context.limits.open_tasks;
    // Open ones are counted only if there are that many tasks, as counting takes long.
    let is_full = tasks.size() >= limit as usize && {
        let is_open = |task: &&Arc<Task>| task.status(context.now) == TaskStatus::Open;
        tasks.values().filter(is_open).count() >= limit as usize
    };
    if is_full {
        let message = format!("{limit} tasks are open, as many as `limits.open_tasks` allows");
        return Err(ControlError::LimitExceeded(message));
    }
    Ok(())
}

fn later_step(task: &Task, step: Option<&SmolStr>) -> Result<usize, ControlError> {
    let refuse = |why: String| {
        Err(ControlError::Precondition(format!(
            "task `{}` {why}",
            task.id
        )))
    };
    let Some(name) = step else {
        let next = task.at_step + 1;
        return match task.steps.len() {
            0 => refuse("has no steps".to_owned()),
            steps if next < steps => Ok(next),
            _ => refuse("is at its last step".to_owned()),
        };
    };
    let wanted = task.steps.iter().position(|step| step.name == *name);
    match wanted {
        None => {
            let message = format!("`{}` is no step of task `{}`", shown(name), task.id);
            Err(ControlError::invalid("step", message))
        }
        Some(index) if index <= task.at_step => {
            let at = task.step().map_or("its end", |step| &step.name);
            refuse(format!(
                "is at step `{at}` and does not go back to `{name}`"
            ))
        }
        Some(index) => Ok(index),
    }
}

/// Asks Cedar whether the actor may do this with a task, whether or not its agent is still there.
fn govern(
    context: &WriteContext<'_>,
    action: &'static str,
    resource: &EntityUID,
    task: &Task,
) -> Result<(), ControlError> {
    let snapshot = &context.generation.snapshot;
    let agent = ownership::remembered(snapshot, &task.agent, task.agent_owner.as_ref());
    let about = GovernContext {
        task: Some(task),
        remembered: agent.as_slice(),
        ..GovernContext::default()
    };
    context.govern(action, resource, about)
}

fn planned(verb: &'static str, task: Task) -> PlannedChange {
    PlannedChange {
        verb,
        id: task.id.text().clone(),
        change: Change::Task(Arc::new(task)),
    }
}
