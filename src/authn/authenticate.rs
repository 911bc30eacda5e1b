//! Authentication of callers by bearer token and client certificate.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::authn::caller::Caller;
use crate::authn::certificate::{PeerName, ShownCertificate};

/// SHA-256 of a bearer token; the token itself is not kept. Compared in constant time.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; 32]);

/// The configured credentials of a caller, each sufficient by itself.
#[derive(Debug, Clone, Default)]
pub struct CallerCredentials {
    /// Digests of its bearer tokens.
    pub tokens: Vec<TokenDigest>,
    /// Names in its client certificate.
    pub names: Vec<PeerName>,
}

/// The credentials presented with a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct PresentedCredentials<'a> {
    /// The value of the `authorization` header.
    pub authorization: Option<&'a [u8]>,
    /// The client certificate, which the TLS handshake has verified.
    pub certificate: ShownCertificate<'a>,
}

/// Failed authentication. The messages are safe to send to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// Neither a token nor a certificate with a name.
    #[error(
        "this server answers configured callers only: send `authorization: Bearer <token>` or a client certificate"
    )]
    NoCredentials,
    /// Two `authorization` headers, which would be ambiguous.
    #[error("the `authorization` header comes twice: send it once")]
    Repeated,
    /// An `authorization` header that is not a bearer token.
    #[error("the `authorization` header is not `Bearer <token>`")]
    NotBearer,
    /// A token of no configured caller.
    #[error("the bearer token belongs to no configured caller")]
    UnknownToken,
    /// A certificate without a name of a configured caller, or beside a token without one of that caller, which has some.
    #[error("the client certificate names no configured caller")]
    UnknownCertificate,
    /// A certificate that was valid when the connection was made.
    #[error(
        "the client certificate of this connection has expired: connect again with a valid one"
    )]
    ExpiredCertificate,
    /// A token of one caller with the certificate of another, or a certificate with names of two.
    #[error("the credentials belong to different callers")]
    Conflict,
    /// The configuration that is in force has no callers.
    #[error("no callers are configured")]
    NoCallers,
}

/// The callers of one configuration, by their credentials.
pub struct Authenticator {
    callers: Vec<Arc<Caller>>,
    tokens: Vec<(TokenDigest, usize)>,
    names: HashMap<PeerName, usize>,
    /// Whether a caller has names, by its index.
    has_names: Vec<bool>,
    local: Option<Arc<Caller>>,
}

impl TokenDigest {
    /// Hashes a token.
    pub fn from_token(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// A digest computed elsewhere.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

impl Authenticator {
    /// An authenticator of these callers; without any, it rejects every request.
    pub fn new(entries: impl IntoIterator<Item = (Caller, CallerCredentials)>) -> Self {
        let mut this = Self {
            callers: Vec::new(),
            tokens: Vec::new(),
            names: HashMap::new(),
            has_names: Vec::new(),
            local: None,
        };
        let entries: Vec<_> = entries.into_iter().collect();
        let has_others = entries.len() > 1;
        for (mut caller, credentials) in entries {
            caller.held.has_others = has_others;
            let index = this.callers.len();
            this.callers.push(Arc::new(caller));
            this.has_names.push(!credentials.names.is_empty());
            this.tokens
                .extend(credentials.tokens.into_iter().map(|token| (token, index)));
            this.names
                .extend(credentials.names.into_iter().map(|name| (name, index)));
        }
        this
    }

    /// Treats every request as the local caller's. Only for listeners that other machines cannot reach.
    pub fn local(caller: Caller) -> Self {
        let mut this = Self::new([]);
        this.local = Some(Arc::new(caller));
        this
    }

    /// Keeps the usage of callers with unchanged ids from the previous authenticator.
    pub(super) fn carry_over(&mut self, before: &Self) {
        let earlier = before.callers.iter().chain(&before.local);
        let earlier: HashMap<&str, &Caller> = earlier.map(|it| (&*it.id, &**it)).collect();
        for caller in self.callers.iter_mut().chain(&mut self.local) {
            if let Some(earlier) = earlier.get(&*caller.id) {
                let caller = Arc::make_mut(caller);
                let has_others = caller.held.has_others;
                caller.held = earlier.held.clone();
                caller.held.has_others = has_others;
            }
        }
    }

    /// All callers.
    pub fn callers(&self) -> impl Iterator<Item = &Caller> {
        self.callers.iter().chain(&self.local).map(|it| &**it)
    }

    /// Whether it treats every request as the local caller's.
    pub fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// Authenticates a request.
    ///
    /// All presented credentials must match: an invalid token is rejected even with a valid certificate, and so is a valid
    /// token with the certificate of somebody else. A caller without names in the configuration may show any certificate
    /// that is nobody's, e.g. that of its mesh.
    ///
    /// # Errors
    ///
    /// If a presented credential is malformed or unknown, credentials belong to different callers, or there are none.
    pub fn authenticate(
        &self,
        evidence: PresentedCredentials<'_>,
    ) -> Result<Arc<Caller>, AuthenticationError> {
        let (names, is_shown): (&[PeerName], _) = match evidence.certificate {
            ShownCertificate::None => (&[], false),
            ShownCertificate::Valid(names) => (names, true),
            ShownCertificate::Expired => return Err(AuthenticationError::ExpiredCertificate),
        };
        if let Some(local) = &self.local {
            return Ok(Arc::clone(local));
        }
        if self.callers.is_empty() {
            return Err(AuthenticationError::NoCallers);
        }
        let by_token = evidence
            .authorization
            .map(|header| self.by_token(header))
            .transpose()?;
        let by_name = self.by_names(names)?;
        let index = match (by_token, by_name) {
            (Some(token), Some(name)) if token != name => {
                return Err(AuthenticationError::Conflict);
            }
            (Some(token), None) if is_shown && self.has_names[token] => {
                return Err(AuthenticationError::UnknownCertificate);
            }
            (Some(index), _) | (None, Some(index)) => index,
            (None, None) if is_shown => return Err(AuthenticationError::UnknownCertificate),
            (None, None) => return Err(AuthenticationError::NoCredentials),
        };
        Ok(Arc::clone(&self.callers[index]))
    }

    fn by_token(&self, header: &[u8]) -> Result<usize, AuthenticationError> {
        let (scheme, token) = header
            .split_at_checked(7)
            .ok_or(AuthenticationError::NotBearer)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") || token.is_empty() {
            return Err(AuthenticationError::NotBearer);
        }
        let shown = TokenDigest::from_token(token);
        // Compare every digest in full, so that timing reveals nothing.
        let mut found = None;
        for (digest, index) in &self.tokens {
            if digest.0.ct_eq(&shown.0).into() {
                found = Some(*index);
            }
        }
        found.ok_or(AuthenticationError::UnknownToken)
    }

    fn by_names(&self, names: &[PeerName]) -> Result<Option<usize>, AuthenticationError> {
        let mut found = None;
        for index in names.iter().filter_map(|name| self.names.get(name)) {
            if found.is_some_and(|found| found != *index) {
                return Err(AuthenticationError::Conflict);
            }
            found = Some(*index);
        }
        Ok(found)
    }
}

#[cfg(test)]
#[path = "authenticate_tests.rs"]
mod tests;
