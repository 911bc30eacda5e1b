//! The vocabularies, and the table of the attributes that have one.
//!
//! Start at [`of_attribute`] and [`of_context`].

use callgate_engine::cedar::EntityType;

use crate::bundle::parse::registration::{AccessLevel, Sensitivity};
use crate::domain::request::target::TargetKind;
use crate::domain::schema::TYPES;

/// A set of words that are valid values of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// What a call of a tool can do.
    AccessLevel,
    /// `public`, `internal` …
    Sensitivity,
    /// Kinds of targets.
    Kind,
    /// Who initiated a call.
    Initiator,
    /// Sources of delegations.
    Source,
    /// What a client can answer.
    Answer,
    /// `includeContext` of a sampling request.
    Inclusion,
    /// Labels of sessions.
    Label,
    /// Roles of targets.
    Role,
    /// Methods of identity verification.
    Method,
    /// Tags of entities.
    Tag,
    /// Schemes of targets. Any is possible: a word is unknown if it resembles a known one.
    Scheme,
    /// Environments of agents, servers and gateways. Any is possible, as for schemes.
    Environment,
}

/// Built-in labels.
pub(crate) const LABELS: [&str; 3] = ["untrusted", "private", "secret"];
/// Roles that imports propose.
pub(super) const ROLES: [&str; 3] = ["source", "destination", "recipient"];
/// Methods that adapters set, and common ones of callers that verify identities themselves.
pub(super) const METHODS: [&str; 7] = ["jwt", "spiffe", "mtls", "tls", "header", "oidc", "none"];
/// Common schemes: of IANA's registry, and of cloud storage and databases.
pub(super) const SCHEMES: [&str; 40] = [
    "about",
    "amqp",
    "az",
    "blob",
    "data",
    "dav",
    "file",
    "ftp",
    "ftps",
    "git",
    "gs",
    "hdfs",
    "http",
    "https",
    "imap",
    "javascript",
    "jdbc",
    "ldap",
    "ldaps",
    "magnet",
    "mailto",
    "mongodb",
    "mysql",
    "news",
    "nfs",
    "postgres",
    "postgresql",
    "redis",
    "rsync",
    "s3",
    "scp",
    "sftp",
    "sms",
    "ssh",
    "svn",
    "tel",
    "telnet",
    "urn",
    "ws",
    "wss",
];

impl Vocabulary {
    /// The built-in words.
    pub(super) fn built_in(self) -> Vec<&'static str> {
        match self {
            Self::AccessLevel => [AccessLevel::Read, AccessLevel::Write, AccessLevel::Admin]
                .map(AccessLevel::as_str)
                .to_vec(),
            Self::Sensitivity => Sensitivity::ALL.map(Sensitivity::as_str).to_vec(),
            Self::Kind => {
                let named = TargetKind::NAMED.into_iter().chain([TargetKind::Uri]);
                named.map(TargetKind::as_str).collect()
            }
            Self::Initiator => vec!["client", "server", "ui"],
            Self::Source => vec!["asserted", "stored"],
            Self::Answer => vec![
                "sampling",
                "elicitation",
                "roots",
                "error",
                "metadata",
                "state",
            ],
            Self::Inclusion => vec!["none", "thisServer", "allServers"],
            Self::Label => LABELS.to_vec(),
            Self::Role | Self::Tag | Self::Environment => Vec::new(),
            Self::Method => METHODS.to_vec(),
            Self::Scheme => SCHEMES.to_vec(),
        }
    }

    /// Whether bundles or callers can add words.
    pub(super) fn is_open(self) -> bool {
        self.setting().is_some()
    }

    /// Whether any word is possible, so that only one that resembles a known one is taken for a mistake.
    pub(super) fn is_free(self) -> bool {
        matches!(self, Self::Scheme | Self::Environment)
    }

    /// The message for an unknown word.
    pub(super) fn unknown_word_message(self, word: &str) -> String {
        match self {
            Self::AccessLevel => format!("`{word}` is not an access level"),
            Self::Sensitivity => format!("`{word}` is not a sensitivity"),
            Self::Kind => format!("`{word}` is not a kind of target"),
            Self::Initiator => format!("`{word}` is not an initiator"),
            Self::Source => format!("`{word}` is not a source of delegations"),
            Self::Answer => format!("`{word}` is not a kind of answer"),
            Self::Inclusion => format!("`{word}` is not a scope of context"),
            Self::Label => format!("nothing here yields the label `{word}`"),
            Self::Role => format!("no registration gives a target the role `{word}`"),
            Self::Method => format!("`{word}` is not a known method of identification"),
            Self::Tag => format!("nothing here has the tag `{word}`"),
            Self::Scheme => format!("`{word}` is not a known scheme"),
            Self::Environment => format!("nothing here is in the environment `{word}`"),
        }
    }

    /// The configuration setting that adds words.
    pub(super) fn setting(self) -> Option<&'static str> {
        match self {
            Self::Label => Some("bundle.known.labels"),
            Self::Role => Some("bundle.known.roles"),
            Self::Method => Some("bundle.known.methods"),
            Self::Tag => Some("bundle.known.tags"),
            Self::Scheme => Some("bundle.known.schemes"),
            Self::Environment => Some("bundle.known.environments"),
            _ => None,
        }
    }
}

/// The vocabulary of an entity attribute; `path` is dotted.
pub(super) fn of_attribute(ty: &EntityType, path: &str) -> Option<Vocabulary> {
    let of_tool = || match path {
        "access" => Some(Vocabulary::AccessLevel),
        "sensitivity" => Some(Vocabulary::Sensitivity),
        "yields" => Some(Vocabulary::Label),
        "target_arguments.kind" => Some(Vocabulary::Kind),
        "target_arguments.role" => Some(Vocabulary::Role),
        _ => None,
    };
    let of_resource = || match path {
        "kind" => Some(Vocabulary::Kind),
        "sensitivity" => Some(Vocabulary::Sensitivity),
        "scheme" => Some(Vocabulary::Scheme),
        _ => None,
    };
    let has_environment = [&TYPES.agent, &TYPES.server, &TYPES.gateway];
    if path == "environment" && has_environment.contains(&ty) {
        Some(Vocabulary::Environment)
    } else if *ty == TYPES.tool {
        of_tool()
    } else if *ty == TYPES.resource {
        of_resource()
    } else if *ty == TYPES.server && path == "yields" {
        Some(Vocabulary::Label)
    } else {
        None
    }
}

/// The vocabulary of a context attribute; `path` is dotted.
pub(super) fn of_context(path: &str) -> Option<Vocabulary> {
    Some(match path {
        "initiator" => Vocabulary::Initiator,
        "identity.method" => Vocabulary::Method,
        "delegation.source" => Vocabulary::Source,
        "delegation.access" => Vocabulary::AccessLevel,
        "target_role" => Vocabulary::Role,
        "labels" | "session.labels" | "task.labels" | "delegation.labels" | "recent.labels" => {
            Vocabulary::Label
        }
        "answers.kinds" => Vocabulary::Answer,
        "sampling.include_context" => Vocabulary::Inclusion,
        "identity.asserted_attributes" => Vocabulary::Tag,
        "elicitation.scheme" => Vocabulary::Scheme,
        _ => return None,
    })
}
