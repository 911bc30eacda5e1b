//! Parses tasks: their steps, the tools they use and the resources that the user named.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::adapters::callgate_v1::control::parse::times::required_end;
use crate::adapters::callgate_v1::control::parse::{is_tool_name, place};
use crate::adapters::callgate_v1::parse::{MessageParser, at_item};
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self as strict, KeyPolicy};
use crate::adapters::input::limits::{check_count, check_length};
use crate::control::tasks::NewTask;
use crate::domain::authority::task::TaskStep;
use crate::domain::authority::terms::{AllowedValues, KnownResource, TaskTerms, ToolUse};
use crate::domain::request::canonical;
use crate::domain::request::target::url::{self, TextForm};
use crate::domain::schema::{self, TYPES};
use crate::proto::v1;

impl MessageParser<'_> {
    pub(in crate::adapters::callgate_v1::control) fn new_task(
        &self,
        wire: v1::OpenTaskRequest,
        now: SystemTime,
    ) -> Result<NewTask, FieldError> {
        check_count(wire.steps.len(), self.limits.task_steps, "steps")?;
        let scope = wire.scope;
        Ok(NewTask {
            agent: self.entity(wire.agent, "agent")?,
            person: self.entity(wire.person, "person")?,
            purpose: self.required_text(wire.purpose, "purpose")?,
            scope: scope
                .map(|scope| self.scope(scope).within("scope"))
                .transpose()?,
            terms: TaskTerms {
                uses: self.each(wire.tool_uses, "tool_uses", Self::tool_use)?,
                places: self.each(wire.places, "places", Self::task_place)?,
            },
            call_budget: wire.call_budget,
            steps: each_of(wire.steps, "steps", |step| self.step(step))?,
            deadline: required_end((wire.deadline, wire.lasts), "deadline", now)?,
        })
    }

    fn step(&self, wire: v1::TaskStep) -> Result<TaskStep, FieldError> {
        Ok(TaskStep {
            name: self.required_id(wire.name, "name")?,
            scope: self.required_scope(wire.scope, "scope")?,
        })
    }

    fn tool_use(&self, wire: v1::ToolUse) -> Result<ToolUse, FieldError> {
        let tool: SmolStr = self.required_id(wire.tool, "tool")?;
        if !is_tool_name(&tool) {
            let problem = FieldProblem::UnknownWord(TextExcerpt::new(&tool), "`<server>/<tool>`");
            return Err(FieldError::new("tool", problem));
        }
        let targets: Vec<SmolStr> = self.ids(wire.targets, self.limits.scope_items, "targets")?;
        let targets = targets.iter().enumerate();
        Ok(ToolUse {
            tool: schema::entity_uid(&TYPES.tool, tool),
            targets: targets
                .map(|(index, text)| place(text, &format!("targets[{index}]")))
                .collect::<Result<_, _>>()?,
            arguments: self.each(wire.arguments, "arguments", Self::argument_values)?,
            max_calls: wire.max_calls,
            any_target: wire.any_target,
        })
    }

    fn argument_values(&self, wire: v1::ArgumentValues) -> Result<AllowedValues, FieldError> {
        const FIELD: &str = "values_json";
        if wire.values_json.is_empty() {
            return Err(FieldError::new(FIELD, FieldProblem::Missing));
        }
        check_count(wire.values_json.len(), self.limits.scope_items, FIELD)?;
        let values = wire.values_json.iter().enumerate().map(|(index, text)| {
            let at = format!("{FIELD}[{index}]");
            check_length(text, self.limits.text_bytes, FIELD)?;
            let value = strict::value(
                text.as_bytes(),
                self.limits.json_depth,
                KeyPolicy::Distinct,
                &at,
            )?;
            Ok(SmolStr::from(canonical::text(&value)))
        });
        let values = values.collect::<Result<_, FieldError>>()?;
        Ok(AllowedValues {
            argument: self.required_id(wire.argument, "argument")?,
            values,
        })
    }

    fn task_place(&self, wire: v1::TaskPlace) -> Result<KnownResource, FieldError> {
        let text: SmolStr = self.required_id(wire.place, "place")?;
        Ok(KnownResource {
            place: named_place(&text)?,
            read: wire.read,
            send: wire.send,
        })
    }

    fn each<T, U>(
        &self,
        items: Vec<T>,
        field: &'static str,
        read: impl Fn(&Self, T) -> Result<U, FieldError>,
    ) -> Result<Vec<U>, FieldError> {
        check_count(items.len(), self.limits.scope_items, field)?;
        each_of(items, field, |item| read(self, item))
    }
}

fn each_of<T, U>(
    items: Vec<T>,
    field: &'static str,
    read: impl Fn(T) -> Result<U, FieldError>,
) -> Result<Vec<U>, FieldError> {
    let items = items.into_iter().enumerate();
    items
        .map(|(index, item)| read(item).map_err(|inner| at_item(inner, field, index)))
        .collect()
}

/// Parses a resource as people write it: as in a scope, or a bare mail address, or a bare host, which stands
/// for `https://<host>`.
fn named_place(text: &str) -> Result<EntityUID, FieldError> {
    const FIELD: &str = "place";
    if url::look(text) != TextForm::Other {
        return place(text, FIELD);
    }
    match text.contains('@') {
        true => place(&format!("mailto:{text}"), FIELD),
        false if text.contains('.') => place(&format!("https://{text}"), FIELD),
        false => place(text, FIELD),
    }
}
