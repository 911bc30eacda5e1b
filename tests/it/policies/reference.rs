//! The reference of facts, entities and actions in `docs/policies.md` is what the schema says.
//!
//! It is generated from the schema with its comments, between two markers. After a change of the schema:
//!
//! ```sh
//! CALLGATE_UPDATE_DOCS=1 cargo test --test it policies::reference
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use callgate::domain::schema::SCHEMA;

const PAGE: &str = "docs/policies.md";
const START: &str = "<!-- generated from the schema: CALLGATE_UPDATE_DOCS=1 cargo test --test it policies::reference -->";
const END: &str = "<!-- end of what is generated -->";
/// The record of the facts that every action has.
const OF_EVERY_ACTION: &str = "Facts";

struct Field {
    name: String,
    is_optional: bool,
    of: String,
    comment: String,
}

/// One declaration of the schema.
struct Declared {
    /// `entity`, `type` or `action`.
    kind: String,
    /// What stands between the kind and the braces, e.g. `User in [Group] =`.
    head: String,
    comment: String,
    fields: Vec<Field>,
    /// What stands behind the braces, e.g. `tags Set<String>`.
    tail: String,
}

impl Declared {
    fn name(&self) -> &str {
        let end = |c: char| !c.is_alphanumeric() && c != '_';
        self.head.split(end).next().unwrap_or_default()
    }

    /// Whether it is the context of some actions, and no record within one.
    fn is_context(&self) -> bool {
        self.kind == "type" && self.fields.iter().any(|it| it.name == "initiator")
    }
}

/// The declarations of the schema in their order. Its form is the one that the file keeps to: one field a line, comments
/// on lines of their own above what they are about.
fn declarations(schema: &str) -> Vec<Declared> {
    let mut found: Vec<Declared> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut is_open = false;
    for line in schema.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("//") {
            comment.push(text.trim());
            continue;
        }
        let said = std::mem::take(&mut comment).join(" ");
        let first = line.split(' ').next().unwrap_or_default();
        if is_open {
            let last = found.last_mut().expect("an open declaration");
            if let Some(tail) = line.strip_prefix('}') {
                last.tail = tail.trim_end_matches(';').trim().to_owned();
                is_open = false;
            } else if let Some((name, of)) = line.split_once(": ") {
                last.fields.push(Field {
                    name: name.trim_end_matches('?').to_owned(),
                    is_optional: name.ends_with('?'),
                    of: of.trim_end_matches([',', ';']).to_owned(),
                    comment: said,
                });
            }
        } else if ["entity", "type", "action"].contains(&first) {
            is_open = line.ends_with('{');
            let head = line[first.len()..].trim_end_matches(['{', ';']).trim();
            found.push(Declared {
                kind: first.to_owned(),
                head: head.to_owned(),
                comment: said,
                fields: Vec::new(),
                tail: String::new(),
            });
        }
    }
    assert!(!is_open, "the last declaration ends");
    found
}

/// A comment as a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|it| it.to_uppercase().to_string());
    let text = first.unwrap_or_default() + chars.as_str();
    if text.is_empty() || text.ends_with(['.', '…']) {
        text
    } else {
        text + "."
    }
}

/// A type as a table shows it: with a link if it has a table of its own.
fn linked(of: &str, all: &[Declared]) -> String {
    let has_table = |it: &Declared| it.kind != "action" && !it.is_context() && it.name() == of;
    match all.iter().any(has_table) {
        true => format!("[{of}](#{})", of.to_lowercase()),
        false => format!("`{of}`"),
    }
}

/// What a field means: by its own comment, or else by the first sentence about its type.
fn meaning<'a>(field: &'a Field, all: &'a [Declared]) -> &'a str {
    let of = all
        .iter()
        .find(|it| it.kind == "type" && it.name() == field.of);
    let of = of.map_or("", |it| it.comment.split(". ").next().unwrap_or_default());
    match field.comment.is_empty() {
        true => of.trim_end_matches('.'),
        false => &field.comment,
    }
}

fn table<'a>(
    page: &mut String,
    title: &str,
    fields: impl IntoIterator<Item = &'a Field>,
    all: &[Declared],
) {
    let _ = writeln!(page, "| {title} | type | |\n|---|---|---|");
    for field in fields {
        let optional = if field.is_optional { ", optional" } else { "" };
        let meaning = meaning(field, all).replace('|', "\\|");
        let (name, of) = (&field.name, linked(&field.of, all));
        let _ = writeln!(page, "| `{name}` | {of}{optional} | {meaning} |");
    }
    page.push('\n');
}

fn paragraph(page: &mut String, text: &str) {
    if !text.is_empty() {
        let _ = writeln!(page, "{}\n", sentence(text));
    }
}

fn facts(page: &mut String, all: &[Declared]) {
    let every = all.iter().find(|it| it.name() == OF_EVERY_ACTION);
    let every = every.expect("the facts of every action");
    page.push_str("### Facts of every action\n\nThey are attributes of `context`. An optional one has to be tested for with `has` first.\n\n");
    table(page, "fact", &every.fields, all);
    page.push_str("### Facts of some actions\n\n| actions | fact | type |\n|---|---|---|\n");
    for own in all.iter().filter(|it| it.is_context()) {
        let has_it = |it: &&Declared| it.fields.iter().any(|field| field.of == own.name());
        let actions = all.iter().filter(has_it).map(|it| names(&it.head).0);
        let actions = actions.collect::<Vec<_>>().join(", ");
        for field in &own.fields {
            if every.fields.iter().all(|it| it.name != field.name) {
                let _ = writeln!(
                    page,
                    "| {actions} | `{}` | {} |",
                    field.name,
                    linked(&field.of, all)
                );
            }
        }
    }
    page.push_str("\nTools that are registered as `typed` have an action of their own, with their arguments as `context.input`:\n[registrations.md](registrations.md#policies-over-arguments).\n\n");
}

fn records(page: &mut String, all: &[Declared], kind: &str) {
    let is_shown = |it: &&Declared| it.kind == kind && !it.is_context();
    for declared in all.iter().filter(is_shown) {
        let _ = writeln!(page, "#### {}\n", declared.name());
        paragraph(page, &declared.comment);
        let parents = declared.head.split_once(" in ").map(|(_, it)| it);
        let parents = parents.map(|it| {
            it.trim_matches(['[', ']', ' ', '='])
                .replace(", ", "` and `")
        });
        if let Some(parents) = parents {
            let _ = write!(page, "In `{parents}`.");
            page.push_str(if declared.tail.is_empty() {
                "\n\n"
            } else {
                " "
            });
        }
        if let Some(tags) = declared.tail.strip_prefix("tags ") {
            let _ = writeln!(page, "Tags are `{tags}`.\n");
        }
        if !declared.fields.is_empty() {
            table(page, "attribute", &declared.fields, all);
        }
    }
}

/// The actions that a declaration names, and the group that they are in.
fn names(head: &str) -> (String, Option<String>) {
    let head = head.trim_end_matches("appliesTo").trim();
    let (names, group) = match head.split_once(" in ") {
        Some((names, group)) => (names, Some(group.trim_matches(['[', ']']).to_owned())),
        None => (head, None),
    };
    let names = names.split(", ").map(|name| format!("`{name}`"));
    (names.collect::<Vec<_>>().join(", "), group)
}

fn actions(page: &mut String, all: &[Declared]) {
    page.push_str("### Actions\n\n");
    let mut groups: BTreeMap<String, String> = BTreeMap::new();
    for declared in all.iter().filter(|it| it.kind == "action") {
        let (named, group) = names(&declared.head);
        match group {
            None => {
                groups.insert(named.trim_matches('`').to_owned(), declared.comment.clone());
            }
            Some(group) => assert!(groups.contains_key(&group), "{group} is declared first"),
        }
    }
    page.push_str("| group | actions | principal | resource | |\n|---|---|---|---|---|\n");
    for declared in all.iter().filter(|it| it.kind == "action") {
        let (named, Some(group)) = names(&declared.head) else {
            continue;
        };
        let of = |name: &str| {
            let field = declared.fields.iter().find(|it| it.name == name);
            let text = field.map_or("", |it| it.of.as_str());
            text.trim_matches(['[', ']']).to_owned()
        };
        let (principal, resource) = (of("principal"), of("resource"));
        let note = sentence(&declared.comment);
        let _ = writeln!(
            page,
            "| `{group}` | {named} | {principal} | {resource} | {note} |"
        );
    }
    page.push('\n');
    for (group, comment) in groups {
        let _ = writeln!(page, "- `{group}`: {}", sentence(&comment));
    }
}

/// The generated part of the page.
fn reference() -> String {
    let all = declarations(SCHEMA);
    let mut page = String::from("\n");
    facts(&mut page, &all);
    page.push_str("### Records of facts\n\n");
    records(&mut page, &all, "type");
    page.push_str("### Entities\n\n");
    records(&mut page, &all, "entity");
    actions(&mut page, &all);
    page
}

#[test]
fn the_page_says_what_the_schema_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(&path).expect("the page");
    let (before, rest) = text.split_once(START).expect("the first marker");
    let (shown, after) = rest.split_once(END).expect("the second marker");
    let wanted = format!("\n{}", reference());
    if shown == wanted {
        return;
    }
    assert!(
        std::env::var_os("CALLGATE_UPDATE_DOCS").is_some(),
        "{PAGE} is stale: run CALLGATE_UPDATE_DOCS=1 cargo test --test it policies::reference"
    );
    fs::write(&path, format!("{before}{START}{wanted}{END}{after}")).expect("the page is written");
}

#[test]
fn the_reference_has_every_declaration_and_its_comments() {
    let all = declarations(SCHEMA);
    let declared = SCHEMA.lines().map(str::trim).filter(|line| {
        ["entity ", "type ", "action "]
            .iter()
            .any(|it| line.starts_with(it))
    });
    assert_eq!(all.len(), declared.count());
    let text = "namespace N {\n  // A tool.\n  entity Tool in [Server, Group] = {\n    // read\n    // or write\n    access?: String,\n  } tags Set<String>;\n  action go;\n  action run, walk in [go] appliesTo {\n    principal: [User],\n  };\n}";
    let found = declarations(text);
    assert_eq!(found.len(), 3);
    let field = &found[0].fields[0];
    assert_eq!(
        (
            found[0].name(),
            found[0].comment.as_str(),
            found[0].tail.as_str()
        ),
        ("Tool", "A tool.", "tags Set<String>")
    );
    assert_eq!(
        (
            field.name.as_str(),
            field.is_optional,
            field.comment.as_str()
        ),
        ("access", true, "read or write")
    );
    assert_eq!(
        names(&found[2].head),
        ("`run`, `walk`".to_owned(), Some("go".to_owned()))
    );
}
