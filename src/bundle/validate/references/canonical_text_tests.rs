use callgate_engine::cedar::{Pattern, PatternElem};

use crate::bundle::validate::references::canonical_text::CanonicalText::{
    self, Domain, Host, LinkHost, Name, Scheme,
};
use crate::bundle::validate::references::canonical_text::{domain_help, host_help, scheme_help};
use crate::bundle::validate::references::known_entities::pattern;

fn help_of(form: CanonicalText, text: &str) -> Option<String> {
    match form {
        Scheme => scheme_help(text),
        Domain => domain_help(text),
        _ => host_help(text),
    }
}

#[test]
fn a_text_that_requests_contain_is_not_told() {
    for (form, text) in [
        (Scheme, "https"),
        (Scheme, "git+ssh"),
        (Scheme, "htps"),
        (Host, "example.com"),
        (Host, "localhost"),
        (Host, "10.0.0.1"),
        (Host, "[::1]"),
        (Host, "xn--bcher-kva.example"),
        (Host, "a_b.example.com"),
        (Domain, "example.com"),
        (Domain, "example.co.uk"),
        (Domain, "someone.github.io"),
    ] {
        assert_eq!(help_of(form, text), None, "{text}");
    }
}

#[test]
fn another_spelling_is_told_with_the_right_one() {
    for (form, text, help) in [
        (Scheme, "HTTPS", "write `https`"),
        (Scheme, "https:", "write `https`"),
        (Scheme, "https://", "write `https`"),
        (Scheme, "http*", "only in a `like`"),
        (Scheme, "", "lower-case letters"),
        (Scheme, "ht tp", "lower-case letters"),
        (Host, "Example.COM", "write `example.com`"),
        (Host, "example.com.", "write `example.com`"),
        (Host, "example.com:8443", "write `example.com`"),
        (Host, "https://example.com", "write `example.com`"),
        (Host, "https://Example.com/a?b", "write `example.com`"),
        (Host, "example.com/a", "write `example.com`"),
        (Host, "*.example.com", "only in a `like`"),
        (Host, "me@example.com", "a user before the host"),
        (Host, "b\u{fc}cher.example", "xn--"),
        (Host, "0x7f.1", "another way"),
        (Host, "[0:0::1]", "write `[::1]`"),
        (Host, "", "is empty"),
        (Host, "exa mple.com", "it "),
        (Domain, "Example.com", "write `example.com`"),
        (Domain, "https://example.com", "write `example.com`"),
        (Domain, "www.example.com", "registered is `example.com`"),
        (Domain, "localhost", "compare `host`"),
        (Domain, "printer.local", "compare `host`"),
        (Domain, "co.uk", "compare `host`"),
        (Domain, "10.0.0.1", "compare `host`"),
        (Domain, "*.example.com", "only in a `like`"),
    ] {
        let told = help_of(form, text);
        assert!(
            told.as_ref().is_some_and(|it| it.contains(help)),
            "{text}: {told:?}"
        );
    }
}

#[test]
fn a_pattern_that_can_match_is_not_told() {
    for (form, text) in [
        (Scheme, "http*"),
        (Host, "*.example.com"),
        (Host, "10.*"),
        (Host, "[fe80:*"),
        (LinkHost, "*Example*"),
        (Domain, "*.com"),
        (Domain, "example.*"),
        (Domain, "*example.com"),
        (Name, "*"),
        (Name, "*/Secrets/*"),
        (Name, "https://*"),
        (Name, "https://*.example.com/A/*"),
        (Name, "https://example.com/*"),
        (Name, "https://example.com:8443/A b/*"),
        (Name, "https://exam*"),
        (Name, "file:///*"),
        (Name, "file:///srv/App/*.Env"),
        (Name, "file:*"),
        (Name, "mailto:*@example.com"),
        (Name, "Notion:*"),
        (Name, "jira:ISSUE-*"),
        (Name, "urn:ISBN:*"),
    ] {
        let told = form.pattern_refusal(&pattern(text));
        assert_eq!(told, None, "{text}");
    }
}

#[test]
fn a_pattern_that_never_matches_is_told() {
    for (form, text, help) in [
        (Scheme, "HTTP*", "lower-case"),
        (Scheme, "https:*", "lower-case"),
        (Host, "*.Example.com", "lower case"),
        (Host, "https://*", "without scheme"),
        (Host, "*.example.com/*", "without scheme"),
        (Domain, "*.example.com", "write `domain == \"example.com\"`"),
        (
            Domain,
            "*.example.github.io",
            "write `domain == \"example.github.io\"`",
        ),
        (Domain, "https://*", "without scheme"),
        (Domain, "*.EXAMPLE.*", "lower case"),
        (Name, "HTTPS://*", "write `https://*`"),
        (Name, "https://Example.com/*", "lower case"),
        (Name, "https://*.Example.com/*", "lower case"),
        (Name, "https://me@*", "without a user"),
        (Name, "https://example.com/a?*", "compare `query`"),
        (
            Name,
            "https://example.com:443/*",
            "begins with `https://example.com`",
        ),
        (
            Name,
            "https://example.com/a/../*",
            "contains a `..` segment",
        ),
        (
            Name,
            "https://example.com//a/*",
            "begins with `https://example.com/a`",
        ),
        (
            Name,
            "https://example.com/%61/*",
            "begins with `https://example.com/a`",
        ),
        (Name, "/etc/*", "write `file:///etc/*`"),
        (Name, "file:/etc/*", "begins with `file:///`"),
        (Name, "FILE:///etc/*", "write `file:///etc/*`"),
        (Name, "file://server/etc/*", "begins with `file:///`"),
        (Name, "MAILTO:*", "write `mailto:*`"),
        (Name, "mailto:*@Example.com", "write `mailto:*@example.com`"),
    ] {
        let told = form.pattern_refusal(&pattern(text));
        assert!(
            told.as_ref().is_some_and(|it| it.help.contains(help)),
            "{text}: {told:?}"
        );
    }
    // A star that is meant as such is a character.
    let star: Pattern = "https://*".chars().map(PatternElem::Char).collect();
    assert_eq!(
        Host.pattern_refusal(&star).map(|it| it.message),
        Some("no target has the host `https://\\*`".to_owned())
    );
}
