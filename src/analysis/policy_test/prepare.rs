//! From what a file says to the inputs of decisions: names are resolved, tables become cases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{Entity, EntityUID};

use crate::analysis::policy_test::World;
use crate::analysis::policy_test::files::ParsedFile;
use crate::analysis::policy_test::form::{
    ApprovalForm, CallForm, Case, Fixtures, Given, TestFile, Want,
};
use crate::analysis::policy_test::prepare::circumstances::KnownLabels;
use crate::analysis::policy_test::prepare::faults::{CaseFault, FileFaults};
use crate::analysis::policy_test::prepare::names::StoredNames;
use crate::authn::caller::Caller;
use crate::bundle::Bundle;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::domain::authority::labels::CarriedLabels;
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::task::Task;
use crate::domain::authority::usage::Usage;
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::reason::ReasonCode;
use crate::domain::request::call_context::{CallContext, Subject};
use crate::domain::schema::{self, TYPES};

mod call;
mod circumstances;
mod entities;
mod faults;
mod fixtures;
mod live;
mod names;
mod table;

/// The most cases of all files, those of tables among them.
const MAX_CASES: usize = 200_000;
/// The id of a case's task.
const TASK_ID: &str = "task";
/// The time of decisions in a file that names none: 2026-01-01T12:00:00Z.
const DEFAULT_NOW: u64 = 1_767_268_800;

/// A file with everything resolved.
#[derive(Debug)]
pub struct PreparedFile {
    /// Its path.
    pub file: Arc<str>,
    /// The entities of its fixtures.
    pub entities: Vec<Entity>,
    /// Its cases.
    pub cases: Vec<PreparedCase>,
}

/// One case, ready to be decided any number of times.
#[derive(Debug)]
pub struct PreparedCase {
    /// The file.
    pub file: Arc<str>,
    /// The line it begins on, from 1.
    pub line: u32,
    /// Its name; of a cell of a table: the table's with subject and call.
    pub name: String,
    pub(super) question: Question,
    pub(super) caller: Caller,
    pub(super) live: LiveFacts,
    pub(super) approval: Option<ApprovalForm>,
    pub(super) now: SystemTime,
    pub(super) wanted: Wanted,
}

/// What is decided.
#[derive(Debug)]
pub(super) enum Question {
    /// An MCP call.
    Call(Box<CallContext>),
    /// A change of authority.
    Govern(Box<GovernQuestion>),
    /// Cedar's own request.
    Parc(Box<ParcRequest>),
}

/// A change of authority.
#[derive(Debug)]
pub(super) struct GovernQuestion {
    pub(super) actor: Subject,
    pub(super) action: &'static str,
    pub(super) resource: EntityUID,
    /// The root and the actors of the chain that it concerns.
    pub(super) chain: Option<(EntityUID, Vec<EntityUID>)>,
    pub(super) delegation: Option<crate::domain::authority::delegation::Delegation>,
    pub(super) task: Option<Task>,
}

/// The facts that do not come with the call.
#[derive(Debug, Default)]
pub(super) struct LiveFacts {
    pub(super) authority: Authority,
    pub(super) session: Option<Session>,
    pub(super) carried: CarriedLabels,
    pub(super) usage: Option<Usage>,
    pub(super) calls_left: Option<u64>,
    pub(super) tool_calls_left: Option<u64>,
}

/// What must come of a case. What is `None` is not compared.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) decision: Want,
    pub(super) code: Option<String>,
    pub(super) policies: Option<Vec<String>>,
    pub(super) obligations: Option<Vec<String>>,
    pub(super) challenge: Option<Vec<String>>,
    pub(super) shadow: Option<Vec<String>>,
    pub(super) missing: Option<Vec<String>>,
    pub(super) approving: Option<Vec<String>>,
}

impl PreparedCase {
    /// Whether its name or file contains the text.
    pub fn is_chosen(&self, only: Option<&str>) -> bool {
        only.is_none_or(|text| self.name.contains(text) || self.file.contains(text))
    }
}

/// Resolves all files.
///
/// # Errors
///
/// Every fault, with file, line and field.
pub fn prepare(bundle: &Bundle, files: Vec<ParsedFile>) -> Result<Vec<PreparedFile>, BundleError> {
    resolve(bundle, files, true)
}

/// The same for cases whose decisions are asked for, whatever they want.
///
/// # Errors
///
/// As for [`prepare`].
pub fn prepare_questions(
    bundle: &Bundle,
    files: Vec<ParsedFile>,
) -> Result<Vec<PreparedFile>, BundleError> {
    resolve(bundle, files, false)
}

fn resolve(
    bundle: &Bundle,
    files: Vec<ParsedFile>,
    are_tests: bool,
) -> Result<Vec<PreparedFile>, BundleError> {
    let mut faults = Vec::new();
    let mut prepared = Vec::new();
    let mut cases = 0;
    for file in files {
        match prepare_file(bundle, &file, are_tests, &mut faults) {
            Some(file) => {
                cases += file.cases.len();
                prepared.push(file);
            }
            None if faults.is_empty() => {
                faults.push(BundleDiagnostic::for_file(&file.file, "cannot be prepared"));
            }
            None => {}
        }
        if cases > MAX_CASES {
            let message = format!("there are more than {MAX_CASES} cases");
            faults.push(BundleDiagnostic::for_file(&file.file, message));
            break;
        }
    }
    match BundleError::from_diagnostics(faults) {
        Some(faults) => Err(faults),
        None => Ok(prepared),
    }
}

fn prepare_file(
    bundle: &Bundle,
    parsed: &ParsedFile,
    are_tests: bool,
    faults: &mut Vec<BundleDiagnostic>,
) -> Option<PreparedFile> {
    let ParsedFile { file, text, form } = parsed;
    let mut found = FileFaults::new(SourceText { file, text });
    let mut resolver = match Resolver::new(bundle, form) {
        Ok(resolver) => resolver,
        Err(fault) => {
            faults.push(found.located("", &fault));
            return None;
        }
    };
    let (entities, wrong) = fixtures::check(&resolver);
    if !wrong.is_empty() {
        faults.extend(wrong.iter().map(|fault| found.located("", fault)));
        return None;
    }
    resolver.names.add(&entities);
    let world = match World::new(&bundle.snapshot, file, &entities) {
        Ok(world) => world,
        Err(wrong) => {
            faults.extend(wrong.iter().cloned());
            return None;
        }
    };
    let wrong = resolver.check_fixtures();
    faults.extend(wrong.iter().map(|fault| found.located("", fault)));
    let prepared = |referenced: &serde_saphyr::Location, case: &Case| {
        let made = resolver.case(file, line(referenced), case)?;
        if are_tests {
            resolver.check_asked(case, &made, &world)?;
        }
        Ok(made)
    };
    let cases = prepare_cases(form, &mut found, prepared);
    faults.append(&mut found.list);
    Some(PreparedFile {
        file: Arc::clone(file),
        entities,
        cases,
    })
}

/// Every single case and every cell of a table.
fn prepare_cases(
    form: &TestFile,
    found: &mut FileFaults<'_>,
    prepared: impl Fn(&serde_saphyr::Location, &Case) -> Result<PreparedCase, CaseFault>,
) -> Vec<PreparedCase> {
    let mut cases = Vec::new();
    for (index, case) in form.tests.iter().enumerate() {
        match prepared(&case.referenced, &case.value) {
            Ok(case) => cases.push(case),
            Err(fault) => found.add(&format!("tests[{index}]"), &fault, &case.value.name),
        }
    }
    for (index, table) in form.tables.iter().enumerate() {
        let within = format!("tables[{index}]");
        let cells = match table::cells(&table.value) {
            Ok(cells) => cells,
            Err(fault) => {
                found.add(&within, &fault, &table.value.name);
                continue;
            }
        };
        for cell in cells {
            match prepared(&table.referenced, &cell.case) {
                Ok(case) => cases.push(case),
                Err(fault) => {
                    let fault = cell.locate(fault);
                    found.add(&within, &fault, &cell.case.name);
                }
            }
        }
    }
    cases
}

fn line(location: &serde_saphyr::Location) -> u32 {
    u32::try_from(location.line()).unwrap_or(u32::MAX)
}

/// Resolves the cases of one file.
pub(super) struct Resolver<'a> {
    pub(super) bundle: &'a Bundle,
    pub(super) fixtures: &'a Fixtures,
    caller: Caller,
    now: SystemTime,
    names: StoredNames<'a>,
    labels: KnownLabels,
}

impl<'a> Resolver<'a> {
    fn new(bundle: &'a Bundle, form: &'a TestFile) -> Result<Self, CaseFault> {
        let mut caller = Caller::local();
        if let Some(given) = &form.caller {
            if let Some(id) = &given.id {
                caller.id = Arc::from(id.as_str());
            }
            caller.rights.people_in_person = given.people_in_person;
            caller.rights.require_delegation = given.require_delegation;
        }
        let now = match &form.now {
            Some(text) => parse_time("now", text)?,
            None => SystemTime::UNIX_EPOCH + Duration::from_secs(DEFAULT_NOW),
        };
        Ok(Self {
            bundle,
            fixtures: &form.fixtures,
            caller,
            now,
            names: StoredNames::new(&bundle.snapshot),
            labels: KnownLabels::new(),
        })
    }

    fn case(&self, file: &Arc<str>, line: u32, case: &Case) -> Result<PreparedCase, CaseFault> {
        if case.name.is_empty() {
            return Err(CaseFault::new("name", "a test has a name"));
        }
        let now = match &case.now {
            Some(text) => parse_time("now", text)?,
            None => self.now,
        };
        let approval = match &case.approval {
            None => None,
            Some(given) => Some(find("approval", given, &self.fixtures.approvals)?.clone()),
        };
        let question = self.question(case, now)?;
        self.check_names(case)?;
        self.check_circumstances(case)?;
        let live = self.live(case, &question, now)?;
        Ok(PreparedCase {
            file: Arc::clone(file),
            line,
            name: case.name.clone(),
            question,
            caller: self.caller.clone(),
            live,
            wanted: self.wanted(case, approval.as_ref())?,
            approval,
            now,
        })
    }

    fn wanted(&self, case: &Case, approval: Option<&ApprovalForm>) -> Result<Wanted, CaseFault> {
        let Some(decision) = case.want else {
            return Err(CaseFault::new("want", "say `allow` or `deny`"));
        };
        if let Some(code) = &case.code {
            if decision == Want::Allow {
                return Err(CaseFault::new("code", "an allow has no reason code"));
            }
            if !ReasonCode::ALL.iter().any(|known| known.as_str() == code) {
                let message = format!("`{code}` is no reason code");
                return Err(CaseFault::new("code", message));
            }
        }
        let sorted = |field: &str, names: &Option<BTreeSet<String>>| {
            let Some(names) = names else { return Ok(None) };
            if matches!(
                field,
                "policies" | "challenge" | "shadow" | "approval.policies"
            ) {
                self.known_policies(field, Some(names))?;
            }
            Ok(Some(names.iter().cloned().collect::<Vec<_>>()))
        };
        let approving = approval.and_then(|it| it.policies.clone());
        Ok(Wanted {
            decision,
            code: case.code.clone(),
            policies: sorted("policies", &case.policies)?,
            obligations: sorted("obligations", &case.obligations)?,
            challenge: sorted("challenge", &case.challenge)?,
            shadow: sorted("shadow", &case.shadow)?,
            missing: sorted("missing", &case.missing)?,
            approving: sorted("approval.policies", &approving)?,
        })
    }

    /// Whether the directory has these policies. Where templates are linked, policies get ids that are not looked up here.
    fn known_policies(
        &self,
        field: &str,
        names: Option<&BTreeSet<String>>,
    ) -> Result<(), CaseFault> {
        if self.bundle.counts.links > 0 {
            return Ok(());
        }
        let is_known = |id: &&String| self.bundle.policies.iter().any(|it| it.id == **id);
        match names.into_iter().flatten().find(|id| !is_known(id)) {
            None => Ok(()),
            Some(unknown) => {
                let message = format!("there is no policy `{unknown}`");
                Err(CaseFault::new(field, message))
            }
        }
    }

    /// A call by its name, by `<server>/<tool>`, or written out.
    pub(super) fn call_form(&self, given: &Given<CallForm>) -> Result<CallForm, CaseFault> {
        match given {
            Given::Name(name) if !self.fixtures.calls.contains_key(name) && name.contains('/') => {
                Ok(CallForm {
                    tool: Some(name.clone()),
                    ..CallForm::default()
                })
            }
            given => find("call", given, &self.fixtures.calls).cloned(),
        }
    }
}

/// The thing itself, or the fixture of that name.
pub(super) fn find<'g, T>(
    field: &str,
    given: &'g Given<T>,
    fixtures: &'g std::collections::BTreeMap<String, T>,
) -> Result<&'g T, CaseFault> {
    match given {
        Given::Inline(thing) => Ok(thing),
        Given::Name(name) => fixtures.get(name).ok_or_else(|| {
            let message = format!("there is no fixture `{name}` of this kind in the file");
            CaseFault::new(field, message)
        }),
    }
}

fn parse_time(field: &str, text: &str) -> Result<SystemTime, CaseFault> {
    humantime::parse_rfc3339(text).map_err(|error| {
        let message = format!("`{text}` is no time like 2026-01-31T15:00:00Z: {error}");
        CaseFault::new(field, message)
    })
}

/// `user:tara`, `agent:support`, `server:github` or `tool:git/git_log`.
fn party(field: &str, text: &str) -> Result<EntityUID, CaseFault> {
    let ty = match text.split_once(':') {
        Some(("user", _)) => &TYPES.user,
        Some(("agent", _)) => &TYPES.agent,
        Some(("server", _)) => &TYPES.server,
        Some(("tool", _)) => &TYPES.tool,
        _ => {
            let message = format!("`{text}` is none of `user:NAME`, `agent:NAME`, `server:NAME`");
            return Err(CaseFault::new(field, message));
        }
    };
    let (_, id) = text.split_once(':').unwrap_or_default();
    Ok(schema::entity_uid(ty, id))
}
