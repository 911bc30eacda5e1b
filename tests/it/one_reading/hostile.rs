//! Texts of JSON that somebody writes who wants two readers to disagree.

use proptest::prelude::*;
use proptest::sample::select;

/// A text of JSON.
pub type Text = BoxedStrategy<String>;

/// A name as a text of JSON, mostly as it is, and otherwise so that some reader takes it for that.
pub fn name(of: &'static [&'static str]) -> Text {
    let written = (select(of), 0..40_usize, any::<prop::sample::Index>());
    written
        .prop_map(|(name, how, at)| spelled(name, how, at))
        .boxed()
}

fn spelled(name: &str, how: usize, at: prop::sample::Index) -> String {
    let chars: Vec<char> = name.chars().collect();
    let at = at.index(chars.len().max(1));
    let (before, rest): (String, String) =
        (chars[..at].iter().collect(), chars[at..].iter().collect());
    let replaced = |from: char, to: &str| name.replacen(from, to, 1);
    let inner = match how {
        0 => name.to_uppercase(),
        1 => format!("{}{}", name[..1].to_uppercase(), &name[1..]),
        2 => format!("{name}\\u0000"),
        3 => format!("{name}\\u0000x"),
        4 => format!("{before}\\u200b{rest}"),
        5 => format!("\\ufeff{name}"),
        6 => format!("{name}\\u202e"),
        7 => replaced('k', "\\u212a"),
        8 => replaced('s', "\\u017f"),
        9 => replaced('a', "\\uff41"),
        10 => replaced('e', "e\\u0301"),
        11 => format!("{before}\u{ad}{rest}"),
        12 => format!("{name}\\ud800"),
        13 => format!("{name} "),
        // A letter as an escape is that letter.
        14..=17 => match chars.get(at) {
            Some(c) => format!("{before}\\u{:04x}{}", u32::from(*c), &rest[c.len_utf8()..]),
            None => String::new(),
        },
        _ => name.to_owned(),
    };
    format!("\"{inner}\"")
}

/// A value that is no object.
pub fn scalar() -> Text {
    select(
        &[
            r#""/a""#,
            r#""/a""#,
            r#""/a""#,
            r#""""#,
            r#""\ud800""#,
            r#""\u0000""#,
            r#""\ud83d\ude00""#,
            "\"\u{202e}\"",
            "null",
            "true",
            "false",
            "0",
            "1",
            "7",
            "5.0",
            "1e0",
            "99.9999",
            "100",
            "1e2",
            "-0.0",
            "-1",
            "9007199254740991",
            "9007199254740992",
            "9007199254740993",
            "9007199254740992.0",
            "9007199254740993e0",
            "9.007199254740992e15",
            "9223372036854775807",
            "9223372036854775808",
            "1e400",
            "1e-400",
            "0.1",
            "0.1000000000000000055",
            "123456789012345678901234567890",
            "01",
            "+1",
            "1.",
            "NaN",
            "'a'",
            "undefined",
        ][..],
    )
    .prop_map(str::to_owned)
    .boxed()
}

/// An object of these members; now and then its punctuation is not JSON's.
pub fn object(members: impl Strategy<Value = Vec<(String, String)>> + 'static) -> Text {
    (members, 0..60_u8)
        .prop_map(|(members, how)| {
            let colon = if how == 0 { " : " } else { ":" };
            let members = members
                .iter()
                .map(|(name, value)| format!("{name}{colon}{value}"));
            let members: Vec<String> = members.collect();
            let members = members.join(if how == 1 { "\t, " } else { "," });
            match how {
                2 => format!("{{{members},}}"),
                3 => format!("{{{members}/* */}}"),
                4 => format!("{{{members}"),
                5 => format!("{{{members}}}}}"),
                6 => format!("{{{members}}} x"),
                7 => format!("\u{feff}{{{members}}}"),
                _ => format!("{{{members}}}"),
            }
        })
        .boxed()
}

/// A list of some.
pub fn list(items: Text) -> Text {
    prop::collection::vec(items, 0..3)
        .prop_map(|items| format!("[{}]", items.join(",")))
        .boxed()
}

/// Any value, some levels deep; once in a while deeper than anybody reads.
pub fn value(names: &'static [&'static str]) -> Text {
    let inner = scalar().prop_recursive(3, 12, 3, move |inner| {
        let member = (name(names), inner.clone());
        prop_oneof![list(inner), object(prop::collection::vec(member, 0..3))].boxed()
    });
    let deep =
        (28..36_usize).prop_map(|levels| format!("{}1{}", "[".repeat(levels), "]".repeat(levels)));
    prop_oneof![30 => inner, 1 => deep].boxed()
}
