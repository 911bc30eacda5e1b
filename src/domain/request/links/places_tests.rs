use serde_json::json;

use crate::domain::request::links::find;
use crate::domain::schema::{TYPES, entity_uid};

fn unknown(text: &str, known: &str) -> bool {
    let arguments = json!({ "text": text });
    let known = entity_uid(&TYPES.resource, known);
    let links = find(arguments.as_object().unwrap(), &[], &[]);
    !links.unknown(|place| *place == known).is_empty()
}

#[test]
fn a_link_into_a_known_place_is_known() {
    let known = "https://github.com/larkwood";
    for text in [
        "see https://github.com/larkwood/shop/issues/1.",
        "(https://github.com/larkwood)",
        "github.com/larkwood/shop",
        "[it](https://GitHub.com/larkwood/shop)",
    ] {
        assert!(!unknown(text, known), "{text}");
    }
    for text in [
        "https://github.com/larkwood-mirror/shop",
        "https://github.com/LARKWOOD/shop",
        "https://github.com/larkwood/../evil",
        "https://github.com/larkwood%2f..%2fevil",
        "https://github.com\\larkwood",
        "https://github.com/larkwood%3fx",
        "https://github.com@evil.example/larkwood",
        "https://evil.example/https://github.com/larkwood",
        "https://github.com/larkwood and www.evil.example",
        "http://github.com/larkwood",
        "https://github.com:8443/larkwood",
        "https://github\u{3002}com/larkwood",
    ] {
        assert!(unknown(text, known), "{text}");
    }
}

/// Where readers differ about the end of a link, both readings have to lie in the known place.
#[test]
fn a_link_is_known_however_far_it_is_read() {
    let known = "https://github.com/larkwood";
    for odd in [
        "'", "`", "{", "|", "}", "^", "\"", "_", "*", "**", "'\"", "|`",
    ] {
        for text in [
            format!("see https://github.com/larkwood{odd}x/steal?d=1"),
            format!("see github.com/larkwood{odd}x"),
            format!("'https://github.com/larkwood{odd}x/steal"),
            format!("`https://github.com/larkwood`{odd}/steal`"),
        ] {
            assert!(unknown(&text, known), "{text}");
        }
        let within = format!("see https://github.com/larkwood/shop{odd}x/y");
        assert!(!unknown(&within, known), "{within}");
    }
    for text in [
        "https://github.com/larkwood_",
        "https://github.com/larkwood* now",
        "_https://github.com/larkwood_",
        "[it](https://github.com/larkwood_)",
        "https://github.com/larkwood's",
        "'https://github.com/larkwood'x/steal'",
        "\"https://github.com/larkwood\"/steal",
        "*https://github.com/larkwood*x",
    ] {
        assert!(unknown(text, known), "{text}");
    }
    for text in [
        "'https://github.com/larkwood'",
        "`https://github.com/larkwood`.",
        "`github.com/larkwood`, and",
        "**https://github.com/larkwood**",
        "**https://github.com/larkwood.** And",
        "{\"url\":\"https://github.com/larkwood\",\"n\":1}",
        "{'url': 'https://github.com/larkwood'}",
        "<a href=\"https://github.com/larkwood\">our page</a>",
        "<https://github.com/larkwood>",
        "<b>https://github.com/larkwood</b>",
        "| https://github.com/larkwood | x |",
        "|https://github.com/larkwood|",
        "see https://github.com/larkwood: it is ours!",
        "(see https://github.com/larkwood.)",
        "{https://github.com/larkwood}",
        "[it](https://github.com/larkwood)",
    ] {
        assert!(!unknown(text, known), "{text}");
    }
    let plain = "http://shop.larkwood.com";
    assert!(!unknown("http://shop.larkwood.com", plain));
    assert!(!unknown(
        "http://shop.larkwood.com:80/docs.rs/x, http://shop.larkwood.com.",
        plain
    ));
    // A known host.
    let known = "https://larkwood.example";
    assert!(unknown("https://larkwood.example'.evil.com/x", known));
    assert!(unknown("https://larkwood.example_", known));
    assert!(!unknown("'https://larkwood.example'", known));
}
