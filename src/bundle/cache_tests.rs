use std::collections::BTreeMap;
use std::path::Path;

use callgate_engine::Query;
use callgate_engine::cedar::{Context, EntityUID};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::bundle;
use crate::bundle::files::FilesBuilder;

/// The files of a bundle, by their paths.
type Texts = BTreeMap<&'static str, String>;

const PEOPLE: &str = r#"[
  {"uid": {"type": "Mcp::Group", "id": "staff"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Mcp::User", "id": "owen"}, "attrs": {"active": true}, "parents": [{"type": "Mcp::Group", "id": "staff"}]},
  {"uid": {"type": "Mcp::Agent", "id": "bot"}, "attrs": {"active": true, "owner": {"type": "Mcp::User", "id": "owen"}},
   "parents": []}]"#;

const POLICIES: [&str; 22] = [
    "permit (principal in Mcp::Group::\"staff\", action, resource);\n",
    "permit (principal in Mcp::Group::\"staf\", action, resource);\n",
    "forbid (principal is Mcp::User, action == Mcp::Action::\"call_read\", resource);\n",
    "permit (principal is Mcp::Agent, action, resource);\n",
    "permit (principal is Mcp::Agent, action, resource)\n  when { principal.active };\n",
    "permit (principal is Mcp::Agent, action, resource) when { principal.owner has active && principal.owner.active };\n",
    "@id(\"t\") permit (principal in ?principal, action, resource);\n",
    "@id(\"one\") permit (principal == Mcp::User::\"ana\", action, resource);\n",
    "@id(\"one\") forbid (principal, action, resource) when { principal == Mcp::User::\"owen\" };\n",
    "@obligation(\"{\\\"type\\\": \\\"step-up\\\", \\\"id\\\": \\\"x\\\", \\\"properties\\\": {\\\"a\\\": \\\"1\\\"}}\") permit (principal is Mcp::User, action, resource);\n",
    "@obligation(\"{\\\"type\\\": \\\"step-up\\\", \\\"id\\\": \\\"x\\\", \\\"properties\\\": {\\\"a\\\": \\\"2\\\"}}\") permit (principal, action, resource);\n",
    "@onwer(\"me\") permit (principal, action in Mcp::Action::\"call_tool\", resource);\n",
    "@mode(\"shadow\") forbid (principal, action in Mcp::Action::\"call_tool\", resource);\n",
    "permit (principal, action, resource) when { principal.nme == 1 };\n",
    "permit (principal",
    "forbid (principal, action in Mcp::Action::\"call_tool\", resource) when { context.labels.contains(\"privet\") };\n",
    "forbid (principal, action in Mcp::Action::\"call_tool\", resource) when { context.labels.contains(\"finance\") };\n",
    "forbid (principal, action in Mcp::Action::\"call_tool\", resource) when { context.arguments.names.contains(\"pth\") };\n",
    "permit (principal, action == Mcp::Action::\"git/git_log\", resource) when { context.input.path == \"a\" };\n",
    "permit (principal, action == Mcp::Action::\"call_write\", resource == Mcp::Tool::\"git/git_log\");\n",
    "permit (principal is Mcp::User, action == Lab::Action::\"feed\", resource);\n",
    "forbid (principal, action, resource in Mcp::Server::\"git\") when { principal in Mcp::Group::\"ops\" };\n",
];

/// What a file may be replaced with; an empty text takes it away.
fn edit() -> impl Strategy<Value = (&'static str, String)> {
    let files = select(&["a.cedar", "b.cedar", "c.cedar", "more/a.cedar"][..]);
    let texts = vec(select(&POLICIES[..]), 0..4).prop_map(|texts| texts.concat());
    let one = |path: &'static str, texts: Vec<String>| (Just(path), select(texts));
    let people = [
        PEOPLE.to_owned(),
        PEOPLE.replace("staff", "ops"),
        PEOPLE.replace("\"owen\"}}", "\"onwe\"}}"),
        PEOPLE.replace("\"parents\": [{", "\"parnets\": [{"),
    ];
    let schema = [
        String::new(),
        "namespace Lab { entity Rat; action feed appliesTo { principal: [Mcp::User], resource: [Rat] }; }"
            .to_owned(),
        "namespace Lab { entity Rat in [Cage]; }".to_owned(),
    ];
    let tools = [
        String::new(),
        tool("finance", ""),
        tool("fnance", ""),
        tool("finance", r#", "typed": true"#),
        tool("finance", r#", "typde": true"#),
    ];
    let links = [
        String::new(),
        r#"[{"template": "t", "id": "l", "principal": {"type": "Mcp::Group", "id": "staff"}}]"#
            .to_owned(),
        r#"[{"template": "t", "id": "one", "principal": {"type": "Mcp::Group", "id": "ops"}}]"#
            .to_owned(),
    ];
    let config = [
        String::new(),
        "[schema]\nmax_dereference_level = 1\n".to_owned(),
        "[bundle]\nstrict = true\n".to_owned(),
        "[bundle.known]\nentities = ['Mcp::Group::\"staf\"']\n".to_owned(),
    ];
    prop_oneof![
        6 => (files, texts),
        1 => one("entities/people.json", people.to_vec()),
        1 => one("s.cedarschema", schema.to_vec()),
        1 => one("tools/git.json", tools.to_vec()),
        1 => one("links/l.json", links.to_vec()),
        1 => one("callgate.toml", config.to_vec()),
    ]
}

fn tool(label: &str, extra: &str) -> String {
    let schema = r#"{"type": "object", "properties": {"path": {"type": "string"}}}"#;
    format!(
        r#"{{"server": {{"name": "git", "owner": "owen"}}, "tools": {{"git_log": {{
 "access": "read", "status": "confirmed", "yields": ["{label}"], "egress": false, "sensitivity": "internal",
 "input_schema": {schema}{extra}}}}}}}"#
    )
}

/// Files as they are read from a directory.
fn files(texts: &Texts) -> BundleFiles {
    let mut files = FilesBuilder::new(Path::new("bundle"));
    for (name, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
        let kind = FileKind::from_path(Path::new(name)).expect("a file of a bundle");
        files.add(name, kind, text.clone().into_bytes());
    }
    files.finish()
}

fn good() -> Texts {
    Texts::from([
        ("entities/people.json", PEOPLE.to_owned()),
        ("a.cedar", POLICIES[0].to_owned()),
        ("b.cedar", POLICIES[4].to_owned()),
    ])
}

/// What the policies of a bundle say of some requests.
fn decisions(bundle: &Bundle) -> Vec<String> {
    let uid = |text: &str| -> EntityUID { text.parse().expect("a uid") };
    let mut said = Vec::new();
    for principal in ["User::\"owen\"", "User::\"ana\"", "Agent::\"bot\""] {
        for action in ["call_read", "call_write", "git/git_log"] {
            for resource in ["Tool::\"git/git_log\"", "Tool::\"other/x\""] {
                let query = Query {
                    action: &uid(&format!("Mcp::Action::\"{action}\"")),
                    resource: &uid(&format!("Mcp::{resource}")),
                    context: &Context::empty(),
                    overlays: &[],
                    unknown: &[],
                };
                let principal = uid(&format!("Mcp::{principal}"));
                let found = bundle.snapshot.evaluate(&query, &principal);
                said.push(format!("{found:?}"));
            }
        }
    }
    said
}

/// Compares a bundle that was compiled with what another one left with one that was compiled by itself.
fn compare(cached: &Result<Bundle, BundleError>, fresh: &Result<Bundle, BundleError>) {
    let (cached, fresh) = match (cached, fresh) {
        (Ok(cached), Ok(fresh)) => (cached, fresh),
        (Err(cached), Err(fresh)) => return assert_eq!(cached, fresh),
        (cached, fresh) => panic!("{cached:?}\n{fresh:?}"),
    };
    assert_eq!(cached.warnings, fresh.warnings);
    assert_eq!(cached.counts, fresh.counts);
    assert_eq!(cached.policies, fresh.policies);
    assert_eq!(cached.tools, fresh.tools);
    assert_eq!(cached.config, fresh.config);
    assert_eq!(cached.digest, fresh.digest);
    assert_eq!(cached.files, fresh.files);
    let counts = |bundle: &Bundle| {
        let snapshot = &bundle.snapshot;
        let reads = ["labels", "arguments", "input"].map(|it| snapshot.reads_context(it));
        (snapshot.policy_count(), snapshot.entity_count(), reads)
    };
    assert_eq!(counts(cached), counts(fresh));
    assert_eq!(decisions(cached), decisions(fresh));
}

#[test]
fn what_a_file_changes_is_all_that_is_compiled() {
    let (cache, mut texts) = (CompileCache::default(), good());
    let first = cache.compile(&files(&texts)).expect("nothing is wrong");
    let kept = cache.last().expect("a bundle was compiled");
    texts.insert("b.cedar", POLICIES[3].to_owned());
    let second = cache.compile(&files(&texts)).expect("nothing is wrong");
    assert!(second.snapshot.shares_entities(&first.snapshot));
    let now = cache.last().expect("a bundle was compiled");
    let parsed = |parts: &KeptParts, file: &str| Arc::clone(&parts.policies[file].parsed);
    let is_same = |file: &str| Arc::ptr_eq(&parsed(&kept, file), &parsed(&now, file));
    assert!(is_same("bundle/a.cedar"));
    assert!(!is_same("bundle/b.cedar"));
    // The policy in `a.cedar` permits it.
    let permit = |bundle: &Bundle| {
        let uid = |text: &str| -> EntityUID { text.parse().expect("a uid") };
        let query = Query {
            action: &uid("Mcp::Action::\"call_read\""),
            resource: &uid("Mcp::Tool::\"git/git_log\""),
            context: &Context::empty(),
            overlays: &[],
            unknown: &[],
        };
        let owen = uid("Mcp::User::\"owen\"");
        let mut permits = bundle.snapshot.evaluate(&query, &owen).permits;
        permits.pop().expect("a permit")
    };
    assert!(Arc::ptr_eq(&permit(&first), &permit(&second)));
    texts.insert("entities/people.json", PEOPLE.replace("bot", "tob"));
    let third = cache.compile(&files(&texts)).expect("nothing is wrong");
    assert!(!Arc::ptr_eq(&permit(&second), &permit(&third)));
}

#[test]
fn a_cache_holds_nothing_that_the_bundle_has_no_longer() {
    let (cache, mut texts) = (CompileCache::default(), good());
    cache.compile(&files(&texts)).expect("nothing is wrong");
    texts.remove("b.cedar");
    cache.compile(&files(&texts)).expect("nothing is wrong");
    let kept = cache.last().expect("a bundle was compiled");
    assert_eq!(kept.policies.len(), 1);
    assert_eq!((kept.levels.len(), kept.names.len()), (1, 1));
}

#[test]
fn a_bundle_with_a_fault_leaves_what_is_kept_as_it_was() {
    let (cache, mut texts) = (CompileCache::default(), good());
    cache.compile(&files(&texts)).expect("nothing is wrong");
    let before = cache.last().expect("a bundle was compiled");
    texts.insert("b.cedar", "permit (principal".to_owned());
    assert!(cache.compile(&files(&texts)).is_err());
    let after = cache.last().expect("a bundle was compiled");
    assert!(Arc::ptr_eq(&before, &after));
}

#[test]
fn policies_that_are_as_they_were_are_held_against_new_entities() {
    let (cache, mut texts) = (CompileCache::default(), good());
    let first = cache.compile(&files(&texts)).expect("nothing is wrong");
    assert_eq!(first.warnings, []);
    texts.insert("entities/people.json", PEOPLE.replace("staff", "ops"));
    let second = cache.compile(&files(&texts)).expect("warnings alone");
    let told = second.warnings.iter().map(|it| it.message.as_str());
    assert!(
        told.clone()
            .any(|it| it.contains("`Mcp::Group::\"staff\"` is not defined"))
    );
    assert!(!second.snapshot.shares_entities(&first.snapshot));
    compare(&Ok(second), &bundle::compile(&files(&texts)));
}

#[test]
fn entities_that_are_as_they_were_are_held_against_a_new_configuration() {
    let (cache, mut texts) = (CompileCache::default(), good());
    let owner = r#""owner": {"type": "Mcp::User", "id": "onwe"}"#;
    let people = PEOPLE.replace(r#""owner": {"type": "Mcp::User", "id": "owen"}"#, owner);
    texts.insert("entities/people.json", people);
    let mut told = Vec::new();
    for config in [
        "",
        "[bundle.known]\nentities = ['Mcp::User::\"onwe\"']\n",
        "",
    ] {
        texts.insert("callgate.toml", config.to_owned());
        let bundle = cache.compile(&files(&texts)).expect("warnings alone");
        told.push(bundle.warnings.len());
        compare(&Ok(bundle), &bundle::compile(&files(&texts)));
    }
    assert_eq!(told, [1, 0, 1]);
}

#[test]
fn policies_that_are_as_they_were_are_validated_with_new_links() {
    let (cache, mut texts) = (CompileCache::default(), good());
    texts.insert("c.cedar", POLICIES[6].to_owned());
    let link = |ty: &str| {
        format!(r#"[{{"template": "t", "id": "l", "principal": {{"type": "{ty}", "id": "x"}}}}]"#)
    };
    texts.insert("links/l.json", link("Mcp::Group"));
    cache.compile(&files(&texts)).expect("warnings alone");
    texts.insert("links/l.json", link("Mcp::Tool"));
    let impossible = cache.compile(&files(&texts));
    assert!(impossible.is_err(), "{impossible:?}");
    compare(&impossible, &bundle::compile(&files(&texts)));
}

#[test]
fn a_policy_that_looks_further_takes_the_level_along_and_back() {
    let (cache, mut texts) = (CompileCache::default(), good());
    let mut levels = Vec::new();
    for text in [POLICIES[5], POLICIES[3], POLICIES[5]] {
        texts.insert("c.cedar", text.to_owned());
        let bundle = cache.compile(&files(&texts)).expect("nothing is wrong");
        levels.push(bundle.counts.level);
        compare(&Ok(bundle), &bundle::compile(&files(&texts)));
    }
    assert_eq!(levels, [2, 1, 2]);
}

#[test]
fn files_without_digests_are_compiled_anew() {
    let (cache, texts) = (CompileCache::default(), good());
    let undigested = BundleFiles::from_sources(
        (files(&texts).sources.into_iter())
            .map(|source| SourceFile {
                digest: None,
                ..source
            })
            .collect(),
    );
    let first = cache.compile(&undigested).expect("nothing is wrong");
    let second = cache.compile(&undigested).expect("nothing is wrong");
    assert!(!second.snapshot.shares_entities(&first.snapshot));
}

#[test]
fn a_policy_whose_id_another_file_takes_is_not_taken_for_the_one_before() {
    let (cache, mut texts) = (CompileCache::default(), good());
    let staff = "permit (principal in Mcp::Group::\"staff\", action, resource);\n";
    texts.insert("more/a.cedar", format!("{staff}{staff}"));
    texts.remove("a.cedar");
    cache.compile(&files(&texts)).expect("nothing is wrong");
    let wrong = "permit (principal, action, resource) when { principal.nme == 1 };\n";
    texts.insert("a.cedar", format!("{staff}{wrong}"));
    let (cached, fresh) = (
        cache.compile(&files(&texts)),
        bundle::compile(&files(&texts)),
    );
    let told = fresh.as_ref().expect_err("an id comes twice").to_string();
    assert!(told.contains("attribute `nme`"), "{told}");
    compare(&cached, &fresh);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_edited_is_compiled_as_by_itself(steps in vec(vec(edit(), 1..3), 1..10)) {
        let (cache, mut texts) = (CompileCache::default(), good());
        cache.compile(&files(&texts)).expect("nothing is wrong");
        for edits in steps {
            for (name, text) in edits {
                texts.insert(name, text);
            }
            let files = files(&texts);
            compare(&cache.compile(&files), &bundle::compile(&files));
        }
    }
}
