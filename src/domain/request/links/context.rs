//! Whether a name in a text is taken for a link, by what is around it.

use std::net::Ipv4Addr;

/// File name extensions that are top-level domains as well. A two-part name with such an extension and
/// nothing around it is taken for a file name: such a link can transport nothing but itself.
const FILES: [&str; 13] = [
    "cc", "md", "ml", "mm", "mov", "pl", "ps", "py", "rs", "sh", "so", "tf", "zip",
];

/// The context of a host name in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkContext {
    /// A web scheme precedes the name.
    pub(super) is_web: bool,
    /// A path, port or query follows the name.
    pub(super) is_followed: bool,
    /// The `@` of a mail address precedes the name.
    pub(super) is_mail: bool,
}

impl LinkContext {
    /// Whether some reader takes the name for a link; `None` if that depends on whether its domain is registered.
    pub(super) fn make_link(self, name: &str) -> Option<bool> {
        // Mail programs link a mail address; browsers do not.
        if self.is_mail && !self.is_followed {
            return Some(false);
        }
        let starts_with = |label: &str, start: &str| {
            let begin = label.get(..start.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        };
        let mut labels = name.split('.');
        if self.is_web || starts_with(name, "www.") || labels.any(|it| starts_with(it, "xn--")) {
            return Some(true);
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_word = last.chars().all(char::is_alphabetic) && last.chars().count() > 1;
        if self.is_followed && (is_word || name.parse::<Ipv4Addr>().is_ok()) {
            return Some(true);
        }
        let is_file = name.split('.').count() == 2 && FILES.contains(&last);
        is_file.then_some(false)
    }
}

/// Whether the text continues as a URL does after its host.
pub(super) fn is_followed(after: &str) -> bool {
    let mut chars = after.chars();
    match (chars.next(), chars.next()) {
        (Some('/'), _) => true,
        (Some(':'), Some(c)) => c.is_ascii_digit(),
        (Some('?' | '#'), Some(c)) => c.is_alphanumeric(),
        _ => false,
    }
}
