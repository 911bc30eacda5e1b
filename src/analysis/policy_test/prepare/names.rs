//! Names in cases that nothing defines: a denial of a misspelt user or tool is a test that cannot fail.
//!
//! Start at [`Resolver::check_names`]. Tools and servers have to be registered. Users and agents need not be stored, so one is
//! told only if its name resembles that of another. A test that means an unknown name says so by its reason code. What else
//! is denied before any policy is asked, for its arguments or its context, is told by [`Resolver::check_asked`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Entity, EntityType, EntityUID};
use serde_json::Map;

use crate::analysis::policy_test::form::{Case, Given, Want};
use crate::analysis::policy_test::prepare::{CaseFault, PreparedCase, Resolver};
use crate::analysis::policy_test::{World, run};
use crate::bundle::validate::references::nearest;
use crate::domain::reason::ReasonCode;
use crate::domain::schema::{self, TYPES};

/// Entities of one type that a name is compared with.
const MAX_NAMES: usize = 20_000;
/// Comparisons of names in one file.
const MAX_COMPARISONS: usize = 2_000_000;

/// The entities of the directory and of a file's fixtures.
pub(super) struct StoredNames<'a> {
    snapshot: &'a Snapshot,
    own: HashMap<EntityUID, Entity>,
    /// The names of each type that were needed.
    lists: RefCell<HashMap<EntityType, Vec<String>>>,
    comparisons_left: Cell<usize>,
    /// What was found for a name that is not defined.
    seen: RefCell<HashMap<EntityUID, Option<String>>>,
}

impl<'a> StoredNames<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            own: HashMap::new(),
            lists: RefCell::default(),
            comparisons_left: Cell::new(MAX_COMPARISONS),
            seen: RefCell::default(),
        }
    }

    /// Adds the entities of fixtures.
    pub(super) fn add(&mut self, entities: &[Entity]) {
        let entities = entities.iter();
        self.own
            .extend(entities.map(|it| (it.uid().clone(), it.clone())));
    }

    /// The entities of fixtures.
    pub(super) fn own(&self) -> impl Iterator<Item = &Entity> {
        self.own.values()
    }

    pub(super) fn has(&self, uid: &EntityUID) -> bool {
        self.own.contains_key(uid) || self.snapshot.contains(uid)
    }

    /// The most similar name of the same type.
    pub(super) fn meant(&self, uid: &EntityUID) -> Option<String> {
        if let Some(found) = self.seen.borrow().get(uid) {
            return found.clone();
        }
        let ty = uid.entity_type();
        let mut lists = self.lists.borrow_mut();
        let names = lists.entry(ty.clone()).or_insert_with(|| self.list(ty));
        let left = self.comparisons_left.get();
        let names = &names[..names.len().min(left)];
        self.comparisons_left.set(left - names.len());
        let found = nearest(uid.eid().as_ref(), names.iter().map(String::as_str));
        let found = found.map(str::to_owned);
        self.seen.borrow_mut().insert(uid.clone(), found.clone());
        found
    }

    fn list(&self, ty: &EntityType) -> Vec<String> {
        let name = |uid: &EntityUID| AsRef::<str>::as_ref(uid.eid()).to_owned();
        let own = self.own.keys().filter(|uid| uid.entity_type() == ty);
        let mut names: Vec<String> = own.map(name).collect();
        let mut cursor = None;
        while let Ok(page) = self.snapshot.list_entities(ty, cursor, MAX_NAMES) {
            names.extend(page.entities.iter().map(|(uid, _)| name(uid)));
            cursor = page.next;
            if cursor.is_none() || names.len() >= MAX_NAMES {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        names.truncate(MAX_NAMES);
        names
    }
}

impl Resolver<'_> {
    /// Checks the names of a case that wants a denial without saying by which policies.
    pub(super) fn check_names(&self, case: &Case) -> Result<(), CaseFault> {
        let code = case.code.as_deref().unwrap_or_default();
        let says_why = case.policies.as_ref().is_some_and(|it| !it.is_empty());
        if case.want != Some(Want::Deny) || code.ends_with("_UNKNOWN") || says_why {
            return Ok(());
        }
        self.check_parties(case)?;
        let Some(call) = &case.call else {
            return Ok(());
        };
        let form = self.call_form(call)?;
        let field = |member: &str| match call {
            Given::Name(name) if !self.fixtures.calls.contains_key(name) => "call".to_owned(),
            _ => format!("call.{member}"),
        };
        if let Some(server) = &form.server {
            self.registered(&field("server"), "server", &TYPES.server, server)?;
        }
        match &form.tool {
            Some(tool) => self.registered(&field("tool"), "tool", &TYPES.tool, tool),
            None => Ok(()),
        }
    }

    fn check_parties(&self, case: &Case) -> Result<(), CaseFault> {
        let (user, agent) = (&TYPES.user, &TYPES.agent);
        // Whoever comes with claims need not be stored.
        let (subject, root) = match case.claims.is_empty() {
            true => (case.user.as_ref(), case.for_user.as_ref()),
            false => (None, None),
        };
        let named = [("user", user, subject), ("for", user, root)];
        let named = named
            .into_iter()
            .chain([("agent", agent, case.agent.as_ref())]);
        for (field, ty, name) in named {
            if let Some(name) = name {
                self.not_misspelt(field, ty, name)?;
            }
        }
        for (index, name) in case.via.iter().enumerate() {
            self.not_misspelt(&format!("via[{index}]"), agent, name)?;
        }
        if let Some(to) = case.govern.as_ref().and_then(|it| it.to.as_ref()) {
            self.not_misspelt("govern.to", agent, to)?;
        }
        if let Some(request) = &case.request {
            let named = [
                ("request.principal", &request.principal),
                ("request.resource", &request.resource),
            ];
            for (field, text) in named {
                // One that cannot be read is a fault of its own.
                if let Ok(uid) = text.parse() {
                    self.not_misspelt_uid(field, &uid)?;
                }
            }
        }
        match &case.from_server {
            Some(server) => self.registered("from_server", "server", &TYPES.server, server),
            None => Ok(()),
        }
    }

    /// A server or tool that is not registered is denied whatever the policies say.
    fn registered(
        &self,
        field: &str,
        kind: &str,
        ty: &EntityType,
        name: &str,
    ) -> Result<(), CaseFault> {
        let uid = schema::entity_uid(ty, name);
        if self.names.has(&uid) {
            return Ok(());
        }
        let fault = CaseFault::new(field, format!("there is no {kind} `{name}`"));
        let code = kind.to_uppercase();
        let meant = "if the test means an unknown one, say so with";
        Err(fault.with_help(match self.names.meant(&uid) {
            Some(near) => format!("did you mean `{near}`? Else, {meant} `code: {code}_UNKNOWN`"),
            None => format!("{meant} `code: {code}_UNKNOWN`"),
        }))
    }

    /// Checks that policies decide on a case that wants a denial without saying why: a misspelt argument or action denies
    /// whatever they say.
    pub(super) fn check_asked(
        &self,
        case: &Case,
        prepared: &PreparedCase,
        world: &World,
    ) -> Result<(), CaseFault> {
        if !is_plain_denial(case) {
            return Ok(());
        }
        let verdict = run::run(prepared, world, &self.bundle.config, None).verdict;
        let Some(reason) = verdict.reasons.first() else {
            return Ok(());
        };
        let is_of_call = matches!(
            reason.code,
            ReasonCode::ContextMissing | ReasonCode::ContextInvalid
        );
        if !verdict.principals.is_empty() || !is_of_call {
            return Ok(());
        }
        let (code, said) = (reason.code.as_str(), &reason.message);
        let field = match (&case.call, &case.request) {
            (Some(Given::Inline(form)), _) if !form.arguments.is_empty() => "call.arguments",
            (Some(_), _) => "call",
            (None, Some(_)) if reason.code == ReasonCode::ContextMissing => "request.context",
            (None, Some(_)) => "request",
            (None, None) => "govern",
        };
        let message = format!("{said}: {code}, before any policy is asked");
        let given = match &case.call {
            Some(call) => self.call_form(call)?.arguments,
            None => Map::new(),
        };
        let lacking: Vec<&str> = reason
            .missing
            .iter()
            .filter_map(|it| it.strip_prefix("arguments."))
            .collect();
        let mut slips = given.keys().filter_map(|name| {
            let near = nearest(name, lacking.iter().copied())?;
            Some(format!("did you mean `{near}` by `{name}`? Else"))
        });
        let help = slips
            .next()
            .unwrap_or_else(|| "if the test means that".to_owned());
        let help = format!("{help}, say so with `code: {code}`");
        Err(CaseFault::new(field, message).with_help(help))
    }
}

/// Whether a case wants a denial without saying why.
fn is_plain_denial(case: &Case) -> bool {
    let says_why = case.policies.as_ref().is_some_and(|it| !it.is_empty());
    case.want == Some(Want::Deny) && case.code.is_none() && !says_why
}
