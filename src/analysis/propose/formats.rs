//! What the `format` of a text says of where something is.
//!
//! Start at [`place`].

use crate::analysis::propose::lexicon::WordList;
use crate::analysis::propose::places::ArgumentPlace;

/// Formats of addresses that a call reaches. The kind is by the look of the value: a URI may be a path, a host is a name.
const ADDRESSES: WordList = WordList::new(
    "uri iri uri-reference iri-reference uri-template hostname idn-hostname host domain fqdn ipv4 ipv6 ip ipvanyaddress \
     ipv4network ipv6network cidr multi-host-uri",
);
const URLS: WordList = WordList::new("url http-url https-url httpurl anyurl");
const EMAILS: WordList = WordList::new("email idn-email emailstr");
const PATHS: WordList = WordList::new(
    "path file-path filepath file directory directory-path directorypath folder filename",
);

/// The place that the formats of a text say; `None` if they say nothing of one.
pub(super) fn place(formats: &[String]) -> Option<ArgumentPlace> {
    let says = |list: WordList| list.first(formats).is_some();
    match () {
        () if says(EMAILS) => Some(ArgumentPlace::new(Some("email"), false)),
        () if says(URLS) => Some(ArgumentPlace::new(Some("url"), true)),
        () if says(ADDRESSES) => Some(ArgumentPlace::new(None, true)),
        () if says(PATHS) => Some(ArgumentPlace::new(Some("path"), false)),
        () => None,
    }
}

/// Whether the formats say that it is a time.
pub(super) fn is_time(formats: &[String]) -> bool {
    let times = WordList::new("date date-time time duration");
    times.first(formats).is_some()
}
