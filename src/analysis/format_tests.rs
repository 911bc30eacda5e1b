use std::fs;

use super::*;

const STYLE: Style = Style {
    line_width: 80,
    indent: 2,
};

fn formatted(text: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.cedar");
    fs::write(&path, text).expect("a file");
    let files = format(&path, STYLE).map_err(|faults| faults.to_string())?;
    Ok(files[0].text.clone())
}

#[test]
fn policies_are_laid_out_and_comments_stay() {
    let text = "// why\npermit(principal,action,resource) when{context.a==1 // one\n};";
    let once = formatted(text).expect("it parses");
    assert!(once.contains("// why") && once.contains("// one"), "{once}");
    assert!(once.lines().count() > 3, "{once}");
    assert_eq!(formatted(&once).as_deref(), Ok(once.as_str()));
}

#[test]
fn the_comment_of_a_file_stays_apart_from_its_first_policy() {
    let policy = "permit (principal, action, resource);\n";
    for (text, wanted) in [
        (
            format!("// of all\n\n{policy}"),
            format!("// of all\n\n{policy}"),
        ),
        (
            format!("\n// of all\n//\n// in two\n\n\n// of one\n{policy}"),
            format!("// of all\n//\n// in two\n\n// of one\n{policy}"),
        ),
        (
            format!("// of one\n{policy}"),
            format!("// of one\n{policy}"),
        ),
        (format!("\n\n{policy}"), policy.to_owned()),
    ] {
        assert_eq!(formatted(&text).as_deref(), Ok(wanted.as_str()), "{text}");
        assert_eq!(formatted(&wanted).as_deref(), Ok(wanted.as_str()));
    }
}

#[test]
fn the_shipped_policies_are_formatted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for place in ["policies", "tests/policy_sets"] {
        let files = format(&root.join(place), STYLE).expect("they parse");
        let others = files.iter().filter(|it| it.is_changed());
        let others: Vec<_> = others.map(|it| it.path.display()).collect();
        assert!(others.is_empty(), "run `callgate fmt {place}`: {others:?}");
    }
}

#[test]
fn a_file_of_comments_is_left_alone() {
    let text = "// nothing   yet\n";
    assert_eq!(formatted(text).as_deref(), Ok(text));
}

#[test]
fn what_does_not_parse_is_a_fault_with_its_place() {
    let said =
        formatted("permit (principal, action, resource\n").expect_err("it lacks a parenthesis");
    assert!(said.contains("a.cedar:"), "{said}");
}

#[test]
fn one_file_with_a_fault_keeps_all_from_being_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("proofs")).expect("a directory");
    fs::write(
        dir.path().join("a.cedar"),
        "permit(principal,action,resource);",
    )
    .expect("a file");
    fs::write(dir.path().join("proofs/b.cedar"), "permit(").expect("a file");
    assert!(format(dir.path(), STYLE).is_err());
    fs::write(
        dir.path().join("proofs/b.cedar"),
        "permit(principal,action,resource);",
    )
    .expect("a file");
    let files = format(dir.path(), STYLE).expect("both parse");
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(Formatted::is_changed));
}
