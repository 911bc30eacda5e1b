//! What a name, label or digest may be. Every file and request that contains one is checked here.

/// The maximum length of a server name, in bytes.
const MAX_SERVER_NAME_BYTES: usize = 64;
/// The maximum length of a tool name, in bytes.
pub const MAX_TOOL_NAME_BYTES: usize = 512;
/// The maximum length of a label, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;

/// Why a text is not a name or label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the name of a server.
    #[error("`{0}` cannot name a server: use up to 64 letters, digits, `-`, `_` and `.`")]
    Server(String),
    /// An empty tool name.
    #[error("a tool without a name")]
    EmptyTool,
    /// A tool name that is too long.
    #[error("a tool's name is longer than {MAX_TOOL_NAME_BYTES} bytes")]
    LongTool,
    /// Not a label.
    #[error("`{0}` is not a label: use lower-case letters, digits, `-`, `_`, `:` and `.`")]
    Label(String),
}

/// Checks the name of a server.
///
/// # Errors
///
/// [`NameError::Server`].
pub fn check_server_name(name: &str) -> Result<(), NameError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.chars().all(is_allowed) && name.len() <= MAX_SERVER_NAME_BYTES {
        return Ok(());
    }
    Err(NameError::Server(name.to_owned()))
}

/// Checks the name of a tool.
///
/// # Errors
///
/// [`NameError::EmptyTool`] or [`NameError::LongTool`].
pub fn check_tool_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::EmptyTool);
    }
    if name.len() > MAX_TOOL_NAME_BYTES {
        return Err(NameError::LongTool);
    }
    Ok(())
}

/// Checks a label of data or the role of a target.
///
/// # Errors
///
/// [`NameError::Label`].
pub fn check_label(label: &str) -> Result<(), NameError> {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_:.".contains(&byte);
    if !label.is_empty() && label.len() <= MAX_LABEL_BYTES && label.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(NameError::Label(label.to_owned()))
}

/// Whether a text is `sha256:` and 64 lower-case hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_hex))
}
