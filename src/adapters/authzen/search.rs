//! Search for subjects, resources and actions.

use std::sync::Arc;

use callgate_engine::cedar::{Context, EntityUID};
use callgate_engine::{AssertedEntity, Snapshot};
use serde_json::{Map, Value as Json, json};

use crate::adapters::authzen::endpoints::{Authzen, AuthzenRequest, Endpoint};
use crate::adapters::authzen::parse::EvaluationParser;
use crate::adapters::authzen::{encode, page};
use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::input::json_fields::optional_object;
use crate::adapters::transport::http::rejection::HttpRejection;
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::decide::verdict::Reason;
use crate::service::deadline::ServiceError;
use crate::service::search::{EntityPage, SearchError, SearchRequest, SearchTarget};

const CONTEXT: &str = "context";

impl Authzen {
    pub(super) async fn search(
        &self,
        admitted: &AuthzenRequest,
        request: &Map<String, Json>,
    ) -> Result<Json, HttpRejection> {
        let limits = self.adapter.limits.load_full();
        let parser = self.parser(&limits, admitted);
        let asked = asked(admitted.endpoint, request);
        let endpoint = format!("{:?}", admitted.endpoint);
        let print = page::fingerprint(&admitted.caller.id, &endpoint, &asked);
        let page = page::of(request, print, limits.page_size)?;
        let live = self.adapter.service.live().ok_or(ServiceError::NotReady)?;
        let parts = match SearchParts::of(&parser, admitted.endpoint, &asked, &live.snapshot) {
            Ok(parts) => parts,
            // A type that cannot exist has no entities.
            Err(invalid) if matches!(invalid.problem(), FieldProblem::NotAnEntityType(_)) => {
                return Ok(results(Vec::new(), String::new()));
            }
            Err(invalid) => return Err(invalid.into()),
        };
        if page.most == 0 {
            // An empty page leaves the position where it was.
            return Ok(results(Vec::new(), page::again(page.after, print)));
        }
        let search = SearchRequest {
            target: parts.sought.clone(),
            principal: parts.principal.clone(),
            action: parts.action.clone(),
            resource: parts.resource.clone(),
            after: page.after,
            page_size: page.most,
            candidates: limits.search_candidates as usize,
            trace: admitted.trace.clone(),
        };
        let question = |snapshot: &Snapshot, candidate: &EntityUID| {
            parts.question(&parser, &asked, snapshot, candidate)
        };
        let ask = self.ask(admitted);
        let answer = self.adapter.service.search(ask, &search, question).await;
        let EntityPage { hits, next } = match answer {
            Ok(answer) => answer.value,
            Err(SearchError::Service(why)) => return Err(why.into()),
            Err(SearchError::Question(invalid)) => return Err(invalid.into()),
            Err(SearchError::PlaceGone(_)) => return Err(HttpRejection::OtherPage),
        };
        let named = named(admitted.endpoint, &asked);
        let found = hits.iter().map(|hit| encode::found(named, hit));
        Ok(results(found.collect(), page::token(next, print)))
    }
}

/// The members of a request that identify the search, in a fixed order. A search for actions ignores
/// `action`.
fn asked(endpoint: Endpoint, request: &Map<String, Json>) -> Map<String, Json> {
    let fields = match endpoint {
        Endpoint::SearchAction => ["subject", "resource", CONTEXT].as_slice(),
        _ => &["subject", "action", "resource", CONTEXT],
    };
    let said = fields.iter().filter_map(|field| {
        let value = request.get(*field)?;
        let says_nothing = value.is_null() || *field == CONTEXT && *value == json!({});
        (!says_nothing).then(|| ((*field).to_owned(), value.clone()))
    });
    said.collect()
}

/// The requested entity type as the caller wrote it; `None` in a search for actions.
fn named(endpoint: Endpoint, asked: &Map<String, Json>) -> Option<&str> {
    let field = match endpoint {
        Endpoint::SearchSubject => "subject",
        Endpoint::SearchResource => "resource",
        _ => return None,
    };
    asked.get(field)?.get("type")?.as_str()
}

fn results(found: Vec<Json>, next_token: String) -> Json {
    let page = json!({"next_token": next_token, "count": found.len()});
    json!({"page": page, "results": found})
}

/// A parsed search.
struct SearchParts {
    sought: SearchTarget,
    principal: Option<EntityUID>,
    action: Option<EntityUID>,
    resource: Option<EntityUID>,
    /// `None` in a search for actions, whose context depends on each candidate.
    context: Option<Context>,
    asserted: Vec<AssertedEntity>,
    /// Why every question is denied.
    denied: Option<Reason>,
}

impl SearchParts {
    fn of(
        parser: &EvaluationParser<'_>,
        endpoint: Endpoint,
        request: &Map<String, Json>,
        snapshot: &Snapshot,
    ) -> Result<Self, FieldError> {
        let schema = snapshot.schema().map(Arc::as_ref);
        let party = |field| parser.party(request, field).map(Some);
        let (sought, principal, resource) = match endpoint {
            Endpoint::SearchSubject => {
                let ty = parser.party_type(request, "subject")?;
                (SearchTarget::Subject(ty), None, party("resource")?)
            }
            Endpoint::SearchResource => {
                let principal = party("subject")?;
                let ty = parser.party_type(request, "resource")?;
                (SearchTarget::Resource(ty), principal, None)
            }
            _ => (SearchTarget::Action, party("subject")?, party("resource")?),
        };
        let mut denied = None;
        let (action, context) = if sought == SearchTarget::Action {
            optional_object(request, CONTEXT)?;
            (None, None)
        } else {
            let action = parser.action(request)?;
            let parsed = parser.context(request, &action, schema)?;
            denied = parsed.denied;
            (Some(action), Some(parsed.context))
        };
        let parties = [("subject", &principal), ("resource", &resource)];
        let parties = parties.map(|(field, uid)| uid.as_ref().map(|uid| (field, uid)));
        let parties: Vec<_> = parties.into_iter().flatten().collect();
        let asserted = parser.all_asserted(request, &parties, schema, &mut denied)?;
        Ok(Self {
            sought,
            principal,
            action,
            resource,
            context,
            asserted,
            denied,
        })
    }

    /// Builds the request about one candidate; `None` if the candidate cannot apply.
    fn question(
        &self,
        parser: &EvaluationParser<'_>,
        request: &Map<String, Json>,
        snapshot: &Snapshot,
        candidate: &EntityUID,
    ) -> Result<Option<ParcRequest>, FieldError> {
        let schema = snapshot.schema().map(Arc::as_ref);
        let or_candidate = |known: &Option<EntityUID>| known.as_ref().unwrap_or(candidate).clone();
        let (principal, action, resource) = (
            or_candidate(&self.principal),
            or_candidate(&self.action),
            or_candidate(&self.resource),
        );
        let mut denied = self.denied.clone();
        let context = match &self.context {
            Some(context) => context.clone(),
            // The context is not checked against actions that do not apply to the parties.
            None if snapshot
                .check_scope(&principal, &action, &resource)
                .is_err() =>
            {
                return Ok(None);
            }
            None => {
                let parsed = parser.context(request, &action, schema)?;
                denied = denied.or(parsed.denied);
                parsed.context
            }
        };
        Ok(Some(ParcRequest {
            principal,
            action,
            resource,
            context,
            asserted: self.asserted.clone(),
            denied,
            trace: parser.trace.clone(),
        }))
    }
}
