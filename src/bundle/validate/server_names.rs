//! Names of servers that differ in the case of their letters only: to Callgate they are two servers, to people and to some file
//! systems they are one.

use std::collections::HashMap;

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::SourceFile;
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::registration::Registration;

/// Warns of every server whose name is that of an earlier one in other letters.
pub(crate) fn warn(
    registrations: &[(&SourceFile, Registration)],
    warnings: &mut Vec<BundleDiagnostic>,
) {
    let mut first: HashMap<String, &str> = HashMap::with_capacity(registrations.len());
    for (source, registration) in registrations {
        let name = registration.server.name.as_str();
        let earlier = *first.entry(name.to_ascii_lowercase()).or_insert(name);
        // One that is there twice is a fault of its own.
        if earlier != name {
            let path = [Step::Key("server"), Step::Key("name")];
            let said =
                format!("the servers `{earlier}` and `{name}` differ in the case of letters only");
            let warning = json::diagnostic_at(source.origin(), &path, said);
            let help =
                "callers name a server as it is registered: keep one, or tell them apart by more";
            warnings.push(warning.with_help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
    use crate::bundle::parse::registration;

    #[test]
    fn names_in_other_letters_are_told_and_others_are_not() {
        let warnings = |names: &[&str]| {
            let source = |name: &&str| SourceFile {
                kind: FileKind::Registration,
                file: format!("tools/{name}.json").into(),
                stem: (*name).into(),
                text: format!(
                    r#"{{"server": {{"name": "{name}", "owner": "ana"}}, "tools": {{}}}}"#
                )
                .into(),
                digest: None,
            };
            let files = BundleFiles::from_sources(names.iter().map(source).collect());
            let parse = |source| Some((source, registration::parse(source, &mut Vec::new())?));
            let read: Vec<_> = files.sources.iter().filter_map(parse).collect();
            assert_eq!(read.len(), names.len());
            let mut warnings = Vec::new();
            super::warn(&read, &mut warnings);
            warnings.len()
        };
        assert_eq!(warnings(&["docs", "Docs", "DOCS"]), 2);
        assert_eq!(warnings(&["docs", "doc", "docs-2"]), 0);
    }
}
