//! Resolves a conversation from the attributes of a request, the same for every gateway.
//!
//! An adapter implements [`Attributes`] for what its gateway tells of a request, and converts its settings to
//! [`IdentitySource`]s and [`ConversationKeys`]. Everything else about identities is here.

use std::net::IpAddr;

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::ids;
use crate::adapters::input::limits::check_count;
use crate::adapters::subject::conversation::{self, Conversation};
use crate::adapters::subject::token_claims::{self, ClaimRules, ResolvedSubject};
use crate::config::limits::Limits;
use crate::domain::ids::SessionId;
use crate::domain::request::call_context::{Environment, Subject, Workflow};
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema::{TYPES, entity_uid};

/// What a gateway tells of one request.
pub(in crate::adapters) trait Attributes {
    /// The identity method of parties that the attributes name directly.
    const METHOD: &'static str;
    /// Why an attribute cannot be used as an identity.
    const UNUSABLE: &'static str;

    /// The URI in the client certificate that the gateway has verified; empty without one.
    fn certificate_uri(&self) -> &str {
        ""
    }

    /// Takes the claims of a token that the gateway has verified, from under the key at which it keeps them. The error is
    /// safe to send.
    fn token_claims(&mut self, key: &str) -> Result<Option<Map<String, Json>>, &'static str>;

    /// The attribute of this name, if it is present. The error is safe to send.
    fn text(&self, name: &str) -> Result<Option<&str>, String>;

    /// The same of an attribute that holds one name and no list.
    fn single(&self, name: &str) -> Result<Option<&str>, String> {
        self.text(name)
    }

    /// How messages call the attribute of this name, e.g. "the header `x-task`".
    fn describe(&self, name: &str) -> String;

    /// The client's IP address, if it has one. The error is safe to send.
    fn source_address(&self) -> Result<Option<IpAddr>, String>;

    /// The trace context of the request.
    fn trace(&self) -> TraceContext;
}

/// A configured source of identities.
#[derive(Debug, Clone, Copy)]
pub(in crate::adapters) enum IdentitySource<'a> {
    /// The URI in the client certificate, with what comes before the agent's name in it.
    Certificate { prefix: &'a str },
    /// The claims of a token (RFC 8693).
    Token {
        /// Where the gateway keeps them.
        key: &'a str,
        /// The claim that names the agent if there is no `act`.
        agent_claim: Option<&'a str>,
        /// Whether the claims are passed to the decision.
        passes_claims: bool,
    },
    /// Attributes that name the agent, and the user it acts for.
    Names {
        agent: &'a str,
        user: Option<&'a str>,
        /// Whether the gateway has verified them cryptographically.
        is_verified: bool,
    },
}

/// The attributes that describe a conversation.
#[derive(Debug, Clone, Copy)]
pub(in crate::adapters) struct ConversationKeys<'a> {
    /// The session id.
    pub(in crate::adapters) session: &'a str,
    /// Whether no client can choose the session id.
    pub(in crate::adapters) is_session_vouched: bool,
    /// The task id.
    pub(in crate::adapters) task: Option<&'a str>,
    /// Approval ids, separated by commas.
    pub(in crate::adapters) approvals: Option<&'a str>,
    /// Ids of stored delegations, separated by commas.
    pub(in crate::adapters) delegations: Option<&'a str>,
}

/// Why a conversation cannot be resolved. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters) enum SubjectError {
    /// No source of identities is present.
    #[error("{UNIDENTIFIED}")]
    Unidentified,
    /// The first source that is present cannot be used.
    #[error("{0}")]
    Identity(&'static str),
    /// Another attribute cannot be used.
    #[error("{0}")]
    Attribute(String),
}

/// The message for a request without a source of identities.
pub(in crate::adapters) const UNIDENTIFIED: &str = "nobody is known to make this request";

/// Resolves conversations from the attributes of one request.
pub(in crate::adapters) struct Resolver<'a, A> {
    /// The attributes.
    pub(in crate::adapters) attributes: &'a mut A,
    /// The limits in force.
    pub(in crate::adapters) limits: &'a Limits,
}

impl<A: Attributes> Resolver<'_, A> {
    /// Resolves the conversation: the subject from the first source that is present, the rest by `keys`.
    pub(in crate::adapters) fn conversation<'s>(
        &mut self,
        sources: impl Iterator<Item = IdentitySource<'s>>,
        keys: ConversationKeys<'_>,
        is_server_verified: bool,
    ) -> Result<Conversation, SubjectError> {
        let resolved = self.subject(sources)?;
        let ResolvedSubject {
            subject,
            actor_chain,
            expires_at,
        } = resolved.with_delegations(self.names(keys.delegations)?);
        Ok(Conversation {
            subject,
            actor_chain,
            workflow: Workflow {
                session_id: self.session(keys.session)?,
                is_session_vouched: keys.is_session_vouched,
                task_id: self.name(keys.task)?,
                ..Workflow::default()
            },
            approval_ids: self.names(keys.approvals)?,
            environment: Environment {
                source_address: self
                    .attributes
                    .source_address()
                    .map_err(SubjectError::Attribute)?,
            },
            trace: self.attributes.trace(),
            peer: conversation::peer(is_server_verified),
            expires_at,
        })
    }

    fn subject<'s>(
        &mut self,
        sources: impl Iterator<Item = IdentitySource<'s>>,
    ) -> Result<ResolvedSubject, SubjectError> {
        for source in sources {
            let resolved = match source {
                IdentitySource::Certificate { prefix } => self.certificate_subject(prefix),
                IdentitySource::Token {
                    key,
                    agent_claim,
                    passes_claims,
                } => self.token_subject(
                    key,
                    ClaimRules {
                        agent_claim,
                        passes_claims,
                        limits: self.limits,
                    },
                ),
                IdentitySource::Names {
                    agent,
                    user,
                    is_verified,
                } => self.named_subject(agent, user, is_verified),
            };
            if let Some(resolved) = resolved.map_err(SubjectError::Identity)? {
                return Ok(resolved);
            }
        }
        Err(SubjectError::Unidentified)
    }

    fn certificate_subject(&self, prefix: &str) -> Result<Option<ResolvedSubject>, &'static str> {
        let uri = self.attributes.certificate_uri();
        if uri.is_empty() {
            return Ok(None);
        }
        let name = uri
            .strip_prefix(prefix)
            .ok_or("the client certificate names nobody that is known here")?;
        let agent = token_claims::parse_name(name, self.limits)?;
        Ok(Some(ResolvedSubject {
            subject: Subject::verified(entity_uid(&TYPES.agent, agent), "spiffe"),
            actor_chain: None,
            expires_at: None,
        }))
    }

    fn token_subject(
        &mut self,
        key: &str,
        rules: ClaimRules<'_>,
    ) -> Result<Option<ResolvedSubject>, &'static str> {
        let claims = self.attributes.token_claims(key)?;
        claims
            .map(|claims| token_claims::from_claims(claims, rules))
            .transpose()
    }

    fn named_subject(
        &self,
        agent: &str,
        user: Option<&str>,
        is_verified: bool,
    ) -> Result<Option<ResolvedSubject>, &'static str> {
        let named = |name| {
            let text = self.attributes.single(name).map_err(|_| A::UNUSABLE)?;
            text.map(|text| token_claims::parse_name(text, self.limits))
                .transpose()
        };
        let Some(agent) = named(agent)? else {
            return Ok(None);
        };
        let user = user.map_or(Ok(None), named)?;
        let resolved = ResolvedSubject::from_names(agent, user, A::METHOD, is_verified);
        Ok(Some(resolved))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, SubjectError> {
        self.attributes.text(name).map_err(SubjectError::Attribute)
    }

    fn single(&self, name: &str) -> Result<Option<&str>, SubjectError> {
        self.attributes
            .single(name)
            .map_err(SubjectError::Attribute)
    }

    fn session(&self, name: &str) -> Result<Option<SessionId>, SubjectError> {
        let Some(text) = self.single(name)? else {
            return Ok(None);
        };
        ids::session(text, self.limits, name)
            .map_err(|error| self.invalid(name, &error.problem().to_string()))
    }

    /// An id; empty text means none.
    fn name<I: From<SmolStr>>(&self, name: Option<&str>) -> Result<Option<I>, SubjectError> {
        let Some(name) = name else {
            return Ok(None);
        };
        let text = self.single(name)?.filter(|text| !text.is_empty());
        text.map(|text| self.id(name, text)).transpose()
    }

    /// Ids separated by commas.
    fn names<I: From<SmolStr>>(&self, name: Option<&str>) -> Result<Vec<I>, SubjectError> {
        let Some(name) = name else {
            return Ok(Vec::new());
        };
        let Some(text) = self.text(name)? else {
            return Ok(Vec::new());
        };
        let texts: Vec<_> = text.split(',').map(str::trim).collect();
        check_count(texts.len(), self.limits.list_items, name).map_err(|error| {
            self.invalid(name, &format!("{} (`limits.list_items`)", error.problem()))
        })?;
        texts.into_iter().map(|text| self.id(name, text)).collect()
    }

    fn id<I: From<SmolStr>>(&self, name: &str, text: &str) -> Result<I, SubjectError> {
        ids::required(text, self.limits.id_bytes, name)
            .map_err(|error| self.invalid(name, &ids::describe_problem(error.problem())))
    }

    fn invalid(&self, name: &str, problem: &str) -> SubjectError {
        SubjectError::Attribute(format!("{} {problem}", self.attributes.describe(name)))
    }
}
