//! Names in what surrounds a call, and in fixtures: a misspelt stop, label or group changes nothing, and the test passes.
//!
//! Start at [`Resolver::check_circumstances`] and [`Resolver::check_fixtures`]. As elsewhere in tests, a name that nothing
//! defines is told if it resembles a defined one; what is stopped has to be stored or take part in the case, and a word of a
//! closed list has to be one of them. A place has its canonical name: no call is met by another.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use callgate_engine::cedar::{
    Entity, EntityType, EntityUID, Literal, PartialValue, Value, ValueKind,
};

use crate::analysis::policy_test::form::{Case, Given, SessionForm, TaskForm, UseForm};
use crate::analysis::policy_test::prepare::{CaseFault, Resolver, party};
use crate::bundle::validate::references::nearest;
use crate::domain::registration_entry::Sensitivity;
use crate::domain::request::target::stored;
use crate::domain::schema::{self, AccessLevel, TYPES};

/// The labels that need no registration.
const BUILT_IN: [&str; 3] = ["untrusted", "private", "secret"];

/// The labels that something gives, once they were needed.
pub(super) type KnownLabels = OnceCell<BTreeSet<String>>;

impl Resolver<'_> {
    /// Checks what a case says besides who asks for what.
    pub(super) fn check_circumstances(&self, case: &Case) -> Result<(), CaseFault> {
        for (index, text) in case.stopped.iter().enumerate() {
            let checked = self.check_stop("stopped", text, case);
            checked.map_err(|fault| fault.at(format!("stopped[{index}]")))?;
        }
        if let Some(Given::Inline(session)) = &case.session {
            self.check_session("session", session)?;
        }
        if let Some(Given::Inline(task)) = &case.task {
            self.check_task("task", task)?;
        }
        if let Some(Given::Inline(approval)) = &case.approval {
            self.not_misspelt("approval.by", &TYPES.user, &approval.by)?;
        }
        if let Some(form) = &case.labels {
            self.check_labels("labels.task", &form.task)?;
            self.check_labels("labels.delegation", &form.delegation)?;
            self.check_labels("labels.recent", &form.recent)?;
        }
        if let Some(form) = &case.govern {
            self.check_uses("govern", &form.uses)?;
            self.none_misnamed("govern.read_from", &form.read_from)?;
            self.none_misnamed("govern.send_to", &form.send_to)?;
        }
        Ok(())
    }

    /// A stop of somebody that is not stored and takes no part in the case stops nothing.
    fn check_stop(&self, field: &str, text: &str, case: &Case) -> Result<(), CaseFault> {
        let uid = party(field, text)?;
        let (_, id) = text.split_once(':').unwrap_or_default();
        let ty = uid.entity_type();
        if *ty == TYPES.tool && !id.contains('/') {
            let message = format!("`{text}` is not `tool:SERVER/TOOL`");
            return Err(CaseFault::new(field, message));
        }
        let is_named = |name: &Option<String>| name.as_deref() == Some(id);
        let takes_part = if *ty == TYPES.user {
            is_named(&case.user) || is_named(&case.for_user)
        } else if *ty == TYPES.agent {
            is_named(&case.agent) || case.via.iter().any(|it| it == id)
        } else {
            false
        };
        if takes_part || self.names.has(&uid) {
            return Ok(());
        }
        let message = format!("there is no `{text}`, so nothing is stopped");
        let fault = CaseFault::new(field, message);
        Err(match self.names.meant(&uid) {
            Some(near) => fault.with_help(format!("did you mean `{near}`?")),
            None => fault,
        })
    }

    fn check_session(&self, field: &str, session: &SessionForm) -> Result<(), CaseFault> {
        self.check_labels(field, &session.labels)?;
        self.none_misspelt(&format!("{field}.tools"), &TYPES.tool, &session.tools)
    }

    fn check_task(&self, field: &str, task: &TaskForm) -> Result<(), CaseFault> {
        let at = |member: &str| format!("{field}.{member}");
        if let Some(agent) = &task.agent {
            self.not_misspelt(&at("agent"), &TYPES.agent, agent)?;
        }
        if let Some(user) = &task.user {
            self.not_misspelt(&at("user"), &TYPES.user, user)?;
        }
        self.none_misspelt(&at("tools"), &TYPES.tool, &task.tools)?;
        self.none_misspelt(&at("servers"), &TYPES.server, &task.servers)?;
        self.none_misspelt(&at("groups"), &TYPES.group, &task.groups)?;
        self.none_misnamed(&at("read_from"), &task.read_from)?;
        self.none_misnamed(&at("send_to"), &task.send_to)?;
        self.check_uses(field, &task.uses)
    }

    fn check_uses(&self, field: &str, uses: &[UseForm]) -> Result<(), CaseFault> {
        let mut each = uses.iter().enumerate();
        each.try_for_each(|(index, it)| {
            let at = |member: &str| format!("{field}.uses[{index}].{member}");
            self.not_misspelt(&at("tool"), &TYPES.tool, &it.tool)?;
            self.none_misnamed(&at("targets"), &it.targets)
        })
    }

    fn none_misnamed(&self, field: &str, places: &[String]) -> Result<(), CaseFault> {
        let mut each = places.iter().enumerate();
        each.try_for_each(|(index, id)| {
            let uid = schema::entity_uid(&TYPES.resource, id.as_str());
            self.not_misnamed(&format!("{field}[{index}]"), &uid)
        })
    }

    /// A place under a name that no call acts upon is told.
    fn not_misnamed(&self, field: &str, place: &EntityUID) -> Result<(), CaseFault> {
        let is_server = |name: &str| self.names.has(&schema::server_uid(&name.into()));
        let Some(other) = stored::other_name(place, is_server) else {
            return Ok(());
        };
        let id: &str = place.eid().as_ref();
        let fault = CaseFault::new(field, format!("no call acts upon `{id}` under this name"));
        Err(fault.with_help(match other {
            Ok(name) => format!("its canonical name is `{name}`"),
            Err(error) => format!("it {error}"),
        }))
    }

    fn none_misspelt(
        &self,
        field: &str,
        ty: &EntityType,
        names: &[String],
    ) -> Result<(), CaseFault> {
        let mut each = names.iter().enumerate();
        each.try_for_each(|(index, name)| self.not_misspelt(&format!("{field}[{index}]"), ty, name))
    }

    /// A label that nothing gives is told if it resembles one that something gives.
    fn check_labels(&self, field: &str, labels: &[String]) -> Result<(), CaseFault> {
        for label in labels {
            if BUILT_IN.contains(&label.as_str()) {
                continue;
            }
            let known = self.labels.get_or_init(|| self.known_labels());
            let is_configured = |it: &String| match it.split_once('*') {
                Some((start, end)) => label.starts_with(start) && label.ends_with(end),
                None => it == label,
            };
            let mut configured = self.bundle.config.bundle.known.labels.iter();
            if known.contains(label) || configured.any(is_configured) {
                continue;
            }
            let all = known.iter().map(String::as_str).chain(BUILT_IN);
            if let Some(near) = nearest(label, all) {
                let fault = CaseFault::new(field, format!("nothing gives the label `{label}`"));
                return Err(fault.with_help(format!(
                    "did you mean `{near}`? If not, name it in `bundle.known.labels`"
                )));
            }
        }
        Ok(())
    }

    /// The labels that tools and servers give, those of fixtures among them.
    fn known_labels(&self) -> BTreeSet<String> {
        let mut labels = BTreeSet::new();
        let stored = self.bundle.snapshot.cedar_entities();
        for entity in stored.iter().chain(self.names.own()) {
            if let Some(PartialValue::Value(value)) = entity.get("yields") {
                each_text(value, &mut |label| {
                    labels.insert(label.to_owned());
                });
            }
        }
        labels
    }

    /// Checks the names in fixtures, whether or not a case names them.
    pub(super) fn check_fixtures(&self) -> Vec<CaseFault> {
        let fixtures = self.fixtures;
        let mut faults = Vec::new();
        let mut entities: Vec<&Entity> = self.names.own().collect();
        entities.sort_by_key(|it| it.uid());
        for entity in entities {
            faults.extend(self.check_entity(entity).err());
        }
        for (name, session) in &fixtures.sessions {
            let field = format!("fixtures.sessions.{name}");
            faults.extend(self.check_session(&field, session).err());
        }
        for (name, task) in &fixtures.tasks {
            let field = format!("fixtures.tasks.{name}");
            faults.extend(self.check_task(&field, task).err());
        }
        for (name, form) in &fixtures.delegations {
            let at = |member: &str| format!("fixtures.delegations.{name}.{member}");
            let from = party(&at("from"), &form.from);
            let from = from.and_then(|uid| self.not_misspelt_uid(&at("from"), &uid));
            let checked = [
                from,
                self.not_misspelt(&at("to"), &TYPES.agent, &form.to),
                self.none_misspelt(&at("tools"), &TYPES.tool, &form.tools),
                self.none_misspelt(&at("servers"), &TYPES.server, &form.servers),
                self.none_misspelt(&at("groups"), &TYPES.group, &form.groups),
                self.none_misnamed(&at("targets"), &form.targets),
            ];
            faults.extend(checked.into_iter().filter_map(Result::err));
        }
        for (name, approval) in &fixtures.approvals {
            let field = format!("fixtures.approvals.{name}.by");
            faults.extend(self.not_misspelt(&field, &TYPES.user, &approval.by).err());
        }
        faults
    }

    /// The groups, the owner and the closed words of an entity of the fixtures.
    fn check_entity(&self, entity: &Entity) -> Result<(), CaseFault> {
        let uid = entity.uid();
        let id: &str = uid.eid().as_ref();
        let field = match kind(uid.entity_type()) {
            Some((_, room)) => format!("fixtures.{room}.{id}"),
            None => "fixtures.entities".to_owned(),
        };
        self.not_misnamed(&field, uid)?;
        for parent in entity.parents() {
            self.not_misspelt_uid(&format!("{field}.in"), parent)?;
        }
        if let Some(PartialValue::Value(value)) = entity.get("owner")
            && let ValueKind::Lit(Literal::EntityUID(owner)) = value.value_kind()
        {
            self.not_misspelt_uid(&format!("{field}.owner"), owner)?;
        }
        if *uid.entity_type() != TYPES.tool {
            return Ok(());
        }
        let access = [AccessLevel::Read, AccessLevel::Write, AccessLevel::Admin];
        for (name, words) in [
            ("access", access.map(AccessLevel::as_str).to_vec()),
            (
                "sensitivity",
                Sensitivity::ALL.map(Sensitivity::as_str).to_vec(),
            ),
        ] {
            let Some(PartialValue::Value(value)) = entity.get(name) else {
                continue;
            };
            let mut found = Ok(());
            each_text(value, &mut |word| {
                if !words.contains(&word) {
                    let message = format!("`{word}` is none of {}", words.join(", "));
                    found = Err(CaseFault::new(format!("{field}.attrs.{name}"), message));
                }
            });
            found?;
        }
        Ok(())
    }

    /// A party, server, tool or group that is not stored is told if another is stored by a similar name. Names of others, such
    /// as places, resemble each other as a matter of course.
    pub(super) fn not_misspelt_uid(&self, field: &str, uid: &EntityUID) -> Result<(), CaseFault> {
        match kind(uid.entity_type()) {
            Some(_) => self.not_misspelt(field, uid.entity_type(), uid.eid().as_ref()),
            None => Ok(()),
        }
    }

    /// A name that is not stored is told if another of the same type is stored by a similar one.
    pub(super) fn not_misspelt(
        &self,
        field: &str,
        ty: &EntityType,
        name: &str,
    ) -> Result<(), CaseFault> {
        let uid = schema::entity_uid(ty, name);
        if self.names.has(&uid) {
            return Ok(());
        }
        let Some(meant) = self.names.meant(&uid) else {
            return Ok(());
        };
        let (kind, room) = kind(ty).unwrap_or(("entity", "entities"));
        let fault = CaseFault::new(field, format!("there is no {kind} `{name}`"));
        Err(fault.with_help(format!(
            "did you mean `{meant}`? If not, add `{name}` to the `{room}` of the fixtures"
        )))
    }
}

/// What entities of a type are called, and where fixtures define them.
fn kind(ty: &EntityType) -> Option<(&'static str, &'static str)> {
    let kinds = [
        (&TYPES.user, "user", "users"),
        (&TYPES.agent, "agent", "agents"),
        (&TYPES.server, "server", "servers"),
        (&TYPES.tool, "tool", "tools"),
        (&TYPES.group, "group", "groups"),
    ];
    let found = kinds.into_iter().find(|(it, ..)| *it == ty);
    found.map(|(_, kind, room)| (kind, room))
}

fn each_text<'v>(value: &'v Value, tell: &mut impl FnMut(&'v str)) {
    match value.value_kind() {
        ValueKind::Lit(Literal::String(text)) => tell(text),
        ValueKind::Set(set) => set.iter().for_each(|it| each_text(it, tell)),
        _ => {}
    }
}
