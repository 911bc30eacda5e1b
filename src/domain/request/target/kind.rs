//! The kinds of targets, their limits, and why a target is rejected.

/// The maximum length of a target, in bytes.
pub const MAX_TARGET_BYTES: usize = 4096;

/// The maximum depth of a target, in path segments.
pub const MAX_TARGET_SEGMENTS: usize = 64;

/// The kind of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A file or folder: `file:///srv/a b`.
    Path,
    /// A hierarchical URL: `https://example.com:8443/v1`.
    Url,
    /// A mail address: `mailto:bob@example.com`.
    Email,
    /// A UUID known to a server: `notion:0f4e…`.
    Uuid,
    /// Another id known to a server: `slack:C04SUPPORT`.
    Id,
    /// A URI without hierarchy: `urn:isbn:12`.
    Uri,
}

/// Why a target is rejected. The text completes "the target …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Empty.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_TARGET_BYTES`].
    #[error("is longer than {MAX_TARGET_BYTES} bytes")]
    TooLong,
    /// Deeper than [`MAX_TARGET_SEGMENTS`].
    #[error("has more than {MAX_TARGET_SEGMENTS} path segments")]
    TooDeep,
    /// A `..` segment.
    #[error("contains a `..` segment")]
    Climbs,
    /// A spelling that parsers read differently.
    #[error("can be read in two ways: it has {0}")]
    Ambiguous(&'static str),
    /// A relative path without a base.
    #[error("is a relative path, and nothing says to what")]
    Relative,
    /// Not of the required kind.
    #[error("is not {0}")]
    Not(&'static str),
    /// Several targets where one is required.
    #[error("names several things")]
    Several,
}

impl TargetKind {
    /// The kinds that a registration can name.
    pub const NAMED: [Self; 5] = [Self::Path, Self::Url, Self::Email, Self::Uuid, Self::Id];

    /// The name in registrations and attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Url => "url",
            Self::Email => "email",
            Self::Uuid => "uuid",
            Self::Id => "id",
            Self::Uri => "uri",
        }
    }

    /// The kind with this name in registrations.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|kind| kind.as_str() == name)
    }
}
