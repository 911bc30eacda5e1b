//! The context of the authority: task, recent labels, session and usage.

use std::cell::OnceCell;
use std::sync::{Arc, LazyLock};

use callgate_engine::cedar::{Context, EntityUID, Value};
use callgate_engine::{AttributeRef, ContextSource, collect_context};

use crate::domain::authority::labels::{CarriedLabels, Labels};
use crate::domain::authority::session::Session;
use crate::domain::authority::task::Task;
use crate::domain::authority::terms::{FlowDirection, ToolUse};
use crate::domain::authority::usage::Usage;
use crate::domain::decide::facts::inputs::ContextInputs;
use crate::domain::decide::facts::values::{entities, number};
use crate::domain::request::target::Target;

/// `context.task`.
pub(super) struct TaskFacts<'c> {
    task: &'c Task,
    uid: EntityUID,
    inputs: ContextInputs<'c>,
    target: Option<&'c Target>,
    /// `None` if the labels were not looked up.
    labels: Option<Option<&'c Arc<Labels>>>,
    places: [OnceCell<Value>; 2],
}

impl<'c> TaskFacts<'c> {
    const NAMES: [&'static str; 16] = [
        "task",
        "step",
        "calls_left",
        "lists_tools",
        "tool_calls_left",
        "bounds_calls",
        "bounds_targets",
        "bounds_arguments",
        "any_target",
        "has_any_target",
        "has_targets",
        "known_to_read",
        "known_to_send",
        "places_to_read",
        "places_to_send",
        "labels",
    ];

    pub(super) fn new(
        task: &'c Task,
        inputs: ContextInputs<'c>,
        target: Option<&'c Target>,
        carried: Option<&'c CarriedLabels>,
    ) -> Self {
        Self {
            task,
            uid: task.uid(),
            inputs,
            target,
            labels: carried.map(|carried| carried.task.as_ref()),
            places: Default::default(),
        }
    }

    /// What the task says of the tool called.
    fn tool_use(&self) -> Option<&'c ToolUse> {
        self.task.terms.for_tool(self.inputs.tool?)
    }

    /// Whether the task names the target, or a resource that contains it, for this direction.
    fn knows(&self, way: FlowDirection) -> bool {
        let snapshot = self.inputs.snapshot;
        let is_known = |target: &Target| {
            let (uid, containing) = (target.uid(), &target.overlay.parents);
            self.task.terms.knows(snapshot, way, uid, containing)
        };
        self.target.is_some_and(is_known)
    }

    fn places(&self, way: FlowDirection) -> &Value {
        let make = || {
            let named = self.task.terms.places.iter();
            let named = named.filter(|it| match way {
                FlowDirection::Read => it.read,
                FlowDirection::Send => it.send,
            });
            entities(named.map(|it| it.place.clone()))
        };
        self.places[way as usize].get_or_init(make)
    }
}

/// `context.recent`: labels that the parties of the call acquired recently.
pub(super) struct RecentFacts<'c>(pub(super) &'c Labels);

/// `context.session`.
pub(super) struct SessionFacts<'c> {
    pub(super) session: &'c Session,
    pub(super) recent: OnceCell<Value>,
}

/// `context.usage`.
pub(super) struct UsageFacts(pub(super) Usage);

impl ContextSource for TaskFacts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        Some(match name {
            "task" => AttributeRef::Entity(&self.uid),
            "step" => AttributeRef::Text(&self.task.step()?.name),
            "calls_left" => AttributeRef::Long(number(self.inputs.history.calls_left?)),
            "tool_calls_left" => AttributeRef::Long(number(self.inputs.history.tool_calls_left?)),
            "bounds_calls" => {
                AttributeRef::Bool(self.tool_use().is_some_and(|it| it.max_calls.is_some()))
            }
            "bounds_targets" => {
                AttributeRef::Bool(self.tool_use().is_some_and(|it| !it.targets.is_empty()))
            }
            "bounds_arguments" => {
                AttributeRef::Bool(self.tool_use().is_some_and(|it| !it.arguments.is_empty()))
            }
            "any_target" => AttributeRef::Bool(self.tool_use().is_some_and(|it| it.any_target)),
            "has_any_target" => AttributeRef::Bool(self.task.terms.has_any_target()),
            "has_targets" => AttributeRef::Bool(self.task.terms.has_targets()),
            "known_to_read" => AttributeRef::Bool(self.knows(FlowDirection::Read)),
            "known_to_send" => AttributeRef::Bool(self.knows(FlowDirection::Send)),
            "places_to_read" => AttributeRef::Value(self.places(FlowDirection::Read)),
            "places_to_send" => AttributeRef::Value(self.places(FlowDirection::Send)),
            "lists_tools" => AttributeRef::Bool(self.task.lists_tools()),
            "labels" => AttributeRef::Value(value_of(self.labels?)),
            _ => return None,
        })
    }

    fn to_context(&self) -> Context {
        collect_context(self, &Self::NAMES)
    }
}

impl ContextSource for RecentFacts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        (name == "labels").then(|| AttributeRef::Value(self.0.value()))
    }

    fn to_context(&self) -> Context {
        collect_context(self, &["labels"])
    }
}

impl ContextSource for SessionFacts<'_> {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        let session = self.session;
        let recent = || {
            let tools = session.last_tools().cloned();
            Value::set(tools.map(|tool| Value::new(tool, None)), None)
        };
        Some(match name {
            "labels" => AttributeRef::Value(session.labels.value()),
            "calls" => AttributeRef::Long(number(session.calls)),
            "tools_used" => AttributeRef::Value(session.tools.value()),
            "recent_tools" => AttributeRef::Value(self.recent.get_or_init(recent)),
            "previous" => AttributeRef::Entity(session.last_tools().next_back()?),
            _ => return None,
        })
    }

    fn to_context(&self) -> Context {
        collect_context(
            self,
            &["labels", "calls", "tools_used", "recent_tools", "previous"],
        )
    }
}

impl UsageFacts {
    const NAMES: [&'static str; 9] = [
        "last_minute",
        "last_hour",
        "last_day",
        "actor_last_minute",
        "actor_last_hour",
        "actor_last_day",
        "recent_denials",
        "first_use",
        "distinct_tools",
    ];
}

impl ContextSource for UsageFacts {
    fn attribute(&self, name: &str) -> Option<AttributeRef<'_>> {
        let Self(usage) = self;
        let count = match name {
            "last_minute" => usage.tool.minute,
            "last_hour" => usage.tool.hour,
            "last_day" => usage.tool.day,
            "actor_last_minute" => usage.actor.minute,
            "actor_last_hour" => usage.actor.hour,
            "actor_last_day" => usage.actor.day,
            "recent_denials" => usage.recent_denials,
            "distinct_tools" => usage.distinct_tools,
            "first_use" => return Some(AttributeRef::Bool(usage.is_first_use)),
            _ => return None,
        };
        Some(AttributeRef::Long(number(count)))
    }

    fn to_context(&self) -> Context {
        collect_context(self, &Self::NAMES)
    }
}

/// The labels as a Cedar set; empty for `None`.
pub(super) fn value_of(labels: Option<&Arc<Labels>>) -> &Value {
    static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::empty_set(None));
    labels.map_or(&EMPTY, |labels| labels.value())
}
