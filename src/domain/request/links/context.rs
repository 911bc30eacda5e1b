//! Whether a name in a text is taken for a link, by what is around it.

use std::net::Ipv4Addr;

/// File name extensions that are top-level domains as well. A two-part name with such an extension and
/// nothing around it is taken for a file name: such a link can transport nothing but itself.
const FILES: [&str; 13] = [
    "cc", "md", "ml", "mm", "mov", "pl", "ps", "py", "rs", "sh", "so", "tf", "zip",
];

/// More of them, for names at the end of a path: `config.h.in`, `app.js.map`.
const FILES_IN_PATHS: [&str; 6] = ["am", "in", "map", "mk", "pm", "pub"];

/// What stands right before a host name in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// A web scheme.
    Scheme,
    /// A single slash, or several after which no host was read: the name may be part of a path.
    Slash,
    /// An `@` that belongs to no mail address.
    At,
    /// A mail address up to its `@`.
    Local,
    /// Anything else.
    Other,
}

/// The context of a host name in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkContext<'t> {
    pub(super) before: Before,
    /// The text from the end of the name on.
    pub(super) after: &'t str,
}

impl LinkContext<'_> {
    /// Whether some reader takes the name for a link; `None` if that depends on whether its domain is registered.
    pub(super) fn make_link(self, name: &str) -> Option<bool> {
        let is_followed = is_followed(self.after);
        // Mail programs link a mail address; browsers do not.
        if self.before == Before::Local && !is_followed {
            return Some(false);
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_word = last.chars().all(char::is_alphabetic) && last.chars().count() > 1;
        let is_address = is_followed && name.parse::<Ipv4Addr>().is_ok();
        let is_short = !is_followed && name.split('.').count() == 2;
        if self.before == Before::Slash && !is_address {
            let is_file = is_one_of(&FILES, last) || is_one_of(&FILES_IN_PATHS, last);
            let is_path = is_short
                || !(is_word || starts_with(last, "xn--"))
                || is_file && path_after(self.after).is_none();
            return is_path.then_some(false);
        }
        let is_encoded = name.split('.').any(|label| starts_with(label, "xn--"));
        if self.before == Before::Scheme || starts_with(name, "www.") || is_encoded {
            return Some(true);
        }
        if is_address || is_followed && is_word {
            return Some(true);
        }
        // What is called `@anna.li` or `@app.post` is a person or code.
        let is_own = is_short && self.before == Before::At;
        let is_file = name.split('.').count() == 2 && is_one_of(&FILES, last);
        (is_own || is_file).then_some(false)
    }
}

fn is_one_of(extensions: &[&str], last: &str) -> bool {
    extensions.iter().any(|it| it.eq_ignore_ascii_case(last))
}

fn starts_with(label: &str, start: &str) -> bool {
    let begin = label.get(..start.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

/// Whether the text continues as a URL does after its host.
fn is_followed(after: &str) -> bool {
    let mut chars = after.chars();
    match (chars.next(), chars.next()) {
        (Some('/'), _) => true,
        (Some(':'), Some(c)) => c.is_ascii_digit(),
        (Some('?' | '#'), Some(c)) => c.is_alphanumeric(),
        _ => false,
    }
}

/// The path or query of a URL that continues after its host and port: `main.rs:42` and `guide.md#links` are places in
/// files.
pub(super) fn path_after(host_end: &str) -> Option<&str> {
    let port = host_end.strip_prefix(':');
    let path = port.map_or(host_end, |port| {
        port.trim_start_matches(|c: char| c.is_ascii_digit())
    });
    let is_path = path.starts_with(['/', '?']) && is_followed(path);
    (is_path && is_followed(host_end)).then_some(path)
}
