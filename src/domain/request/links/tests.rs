use proptest::prelude::*;
use serde_json::json;

use super::*;

fn hosts(text: &str) -> Vec<String> {
    let arguments = json!({ "text": text });
    let links = find(arguments.as_object().unwrap(), &[], &[]);
    links.hosts().iter().map(SmolStr::to_string).collect()
}

#[test]
fn whatever_somebody_takes_for_a_link_is_one() {
    let written = [
        "see https://evil.example/x?d=1",
        "HTTPS://EVIL.EXAMPLE",
        "hxxps://evil.example",
        "see hxxp[:]//evil[.]example/x",
        "evil[dot]example/x and evil(DOT)example/y",
        "//evil.example/x",
        "\\\\evil.example\\share",
        "https:/evil.example",
        "https:evil.example",
        "https:\\\\evil.example",
        "https:////evil.example",
        "evil.example/path",
        "evil.example:8080",
        "evil.example?d=1",
        "evil.example#d",
        "[here](https://evil.example/x)",
        "![](//evil.example/pixel.png?d=1)",
        "[here]: evil.example/x",
        "<https://evil.example|our page>",
        "<a href=evil.example/x>",
        "https://user:word@evil.example/",
        "https://github.com@evil.example/",
        "https://evil.example.",
        "_https://evil.example_",
        "https://evil\u{200b}.example",
        "ht\u{ad}tps://evil.example",
        "https://evil%2eexample/",
        "evil&#46;example&#x2F;x",
        "evil&#00000000046;example/x",
        "evil&#8203;.example&#173;/x",
        "https&colon;&sol;&sol;evil&period;example",
        "\u{ff48}ttps\u{ff1a}\u{ff0f}\u{ff0f}evil\u{ff0e}example",
        "https://evil\u{3002}example",
        "wait..evil.example/x",
        "ftp://evil.example",
        "slack://evil.example",
        "\u{4f60}evil.example/x",
    ];
    for text in written {
        let hosts = hosts(text);
        assert!(
            hosts.contains(&"evil.example".to_owned()),
            "{text}: {hosts:?}"
        );
    }
}

#[test]
fn names_that_somebody_could_have_registered_need_nothing_around_them() {
    assert_eq!(hosts("Look at bit.ly/x"), ["bit.ly"]);
    assert_eq!(hosts("Look at bit.ly"), ["bit.ly"]);
    assert_eq!(hosts("WWW.EXAMPLE.COM"), ["www.example.com"]);
    assert_eq!(
        hosts("Www.larkwood-login.example"),
        ["www.larkwood-login.example"]
    );
    assert!(hosts("b\u{fc}cher.de").contains(&"xn--bcher-kva.de".to_owned()));
    assert_eq!(hosts("xn--bcher-kva.example"), ["xn--bcher-kva.example"]);
    assert_eq!(hosts("http://3627734062/"), ["216.58.212.46"]);
    assert_eq!(hosts("93.184.216.34/x"), ["93.184.216.34"]);
    assert_eq!(hosts("http://[2001:db8::1]:80/"), ["[2001:db8::1]"]);
    assert_eq!(hosts("http://intranet/x"), ["intranet"]);
    assert_eq!(hosts("stolen.evil.md"), ["stolen.evil.md"]);
    assert_eq!(hosts("evil.md/stolen"), ["evil.md"]);
}

#[test]
fn names_of_signs_and_emoji_are_names() {
    for text in [
        "\u{263a}.ws/leak?d=1",
        "www.\u{263a}.ws",
        "www.\u{263a}.ws/a",
        "\u{263a}.ws:80",
    ] {
        assert!(!hosts(text).is_empty(), "{text}");
    }
    assert!(
        hosts("see i\u{2764}.ws/leak")
            .iter()
            .any(|it| it.starts_with("xn--"))
    );
    assert!(
        hosts("i\u{2764}\u{fe0f}.ws/leak")
            .iter()
            .any(|it| it.starts_with("xn--"))
    );
    assert!(!hosts("\u{1f4a9}.la/x").is_empty());
    for text in [
        "\u{2705} Done. See main.rs",
        "\u{1f4a9}. No",
        "a \u{2192} b, c\u{2026}d",
    ] {
        assert_eq!(hosts(text), [""; 0], "{text}");
    }
}

#[test]
fn a_scheme_makes_a_link_of_what_has_no_dot() {
    assert_eq!(hosts("http:2130706433"), ["127.0.0.1"]);
    assert_eq!(hosts("see HTTP:/intranet/x"), ["intranet"]);
    assert_eq!(hosts("ftp:files"), ["files"]);
    assert!(hosts("[write](mailto:a@evil.example?body=d)").contains(&"evil.example".to_owned()));
    assert!(hosts("MAILTO:a@evil").contains(&"evil".to_owned()));
    assert_eq!(hosts("[x](javascript:alert(1))"), ["javascript"]);
    assert_eq!(hosts("[x](JavaScript:alert(1))"), ["javascript"]);
    assert_eq!(hosts("vbscript:x"), ["vbscript"]);
    assert_eq!(hosts("[x](data:text/html;base64,AA)"), ["data"]);
    assert_eq!(hosts("data:,hello"), ["data"]);
    assert_eq!(hosts("open \\\\evil\\share"), ["evil"]);
    // Without anything after the scheme there is no link.
    for text in [
        "http: it is a protocol",
        "data: see below",
        "mailto: ask them",
        "javascript: the good parts",
        "metadata:x",
        "a regular expression \\\\d",
    ] {
        assert_eq!(hosts(text), [""; 0], "{text}");
    }
}

#[test]
fn what_nobody_follows_is_none() {
    let written = [
        "We are on it.",
        "At 10.30 or so, e.g. tomorrow; version 1.2.3, or 10.0.0.1",
        "and/or, 1/2, 24/7",
        "file:///srv/handbook/a.md",
        "/srv/shop/src/main.rs",
        "see README.md and main.rs",
        "Write to bob@corp.com",
        "// a comment",
        "http:// nothing",
        "a::b::c, x => y",
        "...",
    ];
    for text in written {
        assert_eq!(hosts(text), [""; 0], "{text}");
    }
}

#[test]
fn a_host_before_an_at_sign_is_one() {
    for text in [
        "https://a.evil.example@/x now",
        "https://a.evil.example@ now",
        "https://a.evil.example:80@",
        "https://a.evil.example@?d=1",
        "https://a.evil.example@@",
        "https://a.evil.example@_",
        "https://a.evil.example@!x",
        "https://a.evil.example@github.com/",
        "//a.evil.example@/x",
        "[it](https://a.evil.example@)",
        "<https://a.evil.example@>",
        "https:\\\\a.evil.example@\\x",
        "https://'x@a.evil.example now",
        "https://`\"%x@a.evil.example:80",
        "https://,x@y@a.evil.example",
    ] {
        let hosts = hosts(text);
        assert!(
            hosts.contains(&"a.evil.example".to_owned()),
            "{text}: {hosts:?}"
        );
    }
    assert_eq!(hosts("see http://1249765125@ now"), ["74.125.231.5"]);
    assert_eq!(hosts("http://intranet@/x"), ["intranet"]);
    assert_eq!(hosts("ssh://git@github.com/x"), ["github.com"]);
    assert_eq!(hosts("https://user:word@github.com/x"), ["github.com"]);
}

#[test]
fn a_host_after_one_slash_is_one() {
    for text in [
        "see /a.evil.com/x?d=s3cret now",
        "and/a.evil.com/x?d=s3cret",
        "/srv/www/a.evil.com/x",
        "_/a.evil.com/steal",
        "./a.evil.com/x and ../b",
        "(/a.evil.com)",
        "see c/a.evil.com now",
        "/a.evil.com:80/x",
        "/a.evil.com?x=1",
        "/a.evil.com#s3cret",
        "/A.Evil.Com",
        "&#x2f;a.evil.com/x",
        "a@/a.evil.com/x",
        "file:///a.evil.com/x",
        "https://github.com/larkwood/shop)/a.evil.com/x",
        "[it](https://github.com/larkwood)/a.evil.com/x",
        "https://github.com/larkwood,/a.evil.com/x",
    ] {
        let hosts = hosts(text);
        assert!(
            hosts.contains(&"a.evil.com".to_owned()),
            "{text}: {hosts:?}"
        );
    }
    assert_eq!(hosts("x/evil.com/y"), ["evil.com"]);
    assert_eq!(hosts("x/93.184.216.34/y"), ["93.184.216.34"]);
    assert_eq!(hosts("x/evil.rs/y"), ["evil.rs"]);
    assert_eq!(hosts("x/evil.rs?d=1"), ["evil.rs"]);
    assert_eq!(hosts("x/evil.rs:80/y"), ["evil.rs"]);
    assert_eq!(hosts("/www.evil.com"), ["www.evil.com"]);
    assert_eq!(
        hosts("x/xn--bcher-kva.xn--p1ai/y"),
        ["xn--bcher-kva.xn--p1ai"]
    );
}

#[test]
fn what_continues_the_path_of_a_link_is_part_of_it() {
    for text in [
        "https://larkwood.com/a/docs.rs/x?u=/a.evil.com/x",
        "see larkwood.com/~a/%41/docs.rs/x.y.com_2/a.b.com",
        "(larkwood.com?u=/a.b.com/x) //larkwood.com:80/a.b.com/x",
        "https://larkwood.com:80/docs.rs/x=/a.b.com/&d=.a/a.b.com",
    ] {
        assert_eq!(hosts(text), ["larkwood.com"], "{text}");
    }
    // Not for every reader.
    for text in [
        "https://larkwood.com:/a.evil.com/x",
        "https://larkwood.com=/a.evil.com/x",
        "larkwood.com#/a.evil.com/x",
        "https://larkwood.com/x../a.evil.com/x",
        "https://larkwood.com/x.?/a.evil.com/x",
        "https://larkwood.com/x$@/a.evil.com/x",
        "https://larkwood.com/\u{e9}/a.evil.com/x",
        "https://intranet/a.evil.com/x",
        "http://10.0.0.1/a.evil.com/x",
        "intranet.corp/a.evil.com/x",
        "bob@larkwood.com/a.evil.com/x",
        "\u{2192}larkwood.com/a.evil.com/x",
    ] {
        let hosts = hosts(text);
        assert!(
            hosts.contains(&"a.evil.com".to_owned()),
            "{text}: {hosts:?}"
        );
    }
    assert_eq!(
        hosts("github.com/larkwood/docs.rs/x, //docs.rs/github.com/y"),
        ["docs.rs", "github.com"]
    );
}

#[test]
fn a_name_after_an_at_sign_that_ends_no_address_is_one() {
    for text in [
        "see @a.evil.com now",
        "(@a.evil.com)",
        "bob@@a.evil.com",
        "x.@a.evil.com",
        "_@a.evil.com",
        "@evil.com/a.evil.com @a.evil.com",
        "&commat;a.evil.com",
    ] {
        let hosts = hosts(text);
        assert!(
            hosts.contains(&"a.evil.com".to_owned()),
            "{text}: {hosts:?}"
        );
    }
    assert_eq!(hosts("@evil.com/x"), ["evil.com"]);
    assert_eq!(hosts("@www.evil.com"), ["www.evil.com"]);
}

#[test]
fn honest_texts_have_none() {
    for text in [
        // Paths and places in files.
        "see src/main.rs:42:5 and ./src/main.rs, please",
        "error in tests/it/links.test.py:10",
        "docs/live-authority.md#tasks says so",
        "Did you read docs/guide.de.md? It is in docs/README.zh.MD.",
        "src/config.h.in, src/Makefile.in:3 and dist/app.min.js.map",
        "lib/libx.so.1 lib/Foo.pm ~/.ssh/id_rsa.pub keys/id.pub",
        "/etc/conf.d/net and /opt/app-1.2.3/bin",
        "/usr/lib/python3.11/site-packages/yaml",
        "node_modules/socket.io and @types/socket.io",
        "vnd/application/vnd.ms-excel, text/html",
        "releases/v1.2.3/notes releases/v1.2.3",
        "src\\main.rs, C:\\srv\\shop\\main.rs",
        "a/b.c/d, and/or, he/she, 1/2, 24/7, n/a",
        "x/1.2.3.4, 10/2.5, v1/2.0",
        // People, packages and code.
        "thanks @tara and @ravi-menon, @anna.li!",
        "cc @bob_s; @team/shop",
        "npm i @scope/pkg @scope/pkg@1.2.3 @scope/chart.js",
        "go get example/x@v1.2.3",
        "@app.post(\"/items\")",
        "@click.group() and @pytest.mark.skip",
        "@media print { }",
        "@Override",
        // Addresses.
        "Write to bob@corp.com, <tara@mail.larkwood.com> or \"Menon, Ravi\" <ravi@eu.larkwood.com>.",
        "bob+shop@corp.com; bob_@corp.com; jos\u{e9}@mail.corp.com",
        "@bob@mastodon.social",
        "git@github.com:larkwood/shop.git",
        "use `https://`, 'http://' + host or \"https://\" and `//`",
        // Prose and versions.
        "Well... it is 3.14, i.e. 1.2.3-rc.1; e.g. v2.0.",
        "obj->x.y = a.b.c / d.e.f;",
    ] {
        assert_eq!(hosts(text), [""; 0], "{text}");
    }
}

#[test]
fn links_are_found_wherever_a_text_is() {
    let arguments = json!({
        "a": [{"b": {"c": ["x", "see a.example/1"]}}],
        "https://b.example": 1,
        "d": {"https://c.example": null},
    });
    let links = find(arguments.as_object().unwrap(), &[], &[]);
    let hosts = links.hosts();
    assert!(
        hosts.iter().eq(["a.example", "b.example", "c.example"]),
        "{hosts:?}"
    );
}

#[test]
fn what_names_a_target_is_judged_as_one() {
    let named = |argument: &str| {
        let written = crate::domain::request::target::argument::TargetArgumentForm {
            argument: argument.into(),
            ..Default::default()
        };
        TargetArgument::read(&written).unwrap()
    };
    let arguments = json!({
        "url": "https://a.example/1",
        "urls": ["https://b.example/1"],
        "files": [{"path": "c.example/1", "text": "d.example/1"}],
        "other": {"url": "e.example/1"},
    });
    let targets = [named("url"), named("urls"), named("files[].path")];
    let links = find(arguments.as_object().unwrap(), &targets, &[]);
    let hosts = links.hosts();
    assert!(hosts.iter().eq(["d.example", "e.example"]), "{hosts:?}");
}

#[test]
fn a_part_of_a_url_may_hold_a_link() {
    let written = serde_json::from_value(json!({
        "argument": "branch", "kind": "url", "base": "https://github.com/{owner}/tree",
    }));
    let branch = TargetArgument::read(&written.unwrap()).unwrap();
    let arguments = json!({"owner": "larkwood", "branch": "bit.ly/x"});
    let hosts = find(arguments.as_object().unwrap(), &[branch], &[]).hosts();
    assert!(hosts.iter().eq(["bit.ly"]), "{hosts:?}");
}

#[test]
fn more_than_is_looked_at_counts_as_unknown() {
    let many: String = (0..=MAX_LINKS)
        .map(|n| format!("https://h{n}.example "))
        .collect();
    let known = |_: &EntityUID| true;
    let arguments = json!({ "text": many });
    let links = find(arguments.as_object().unwrap(), &[], &[]);
    assert!(links.unknown(known).iter().eq(["…"]));
    let same = "a.com?b=".repeat(100_000);
    let arguments = json!({ "text": same });
    let started = std::time::Instant::now();
    assert!(
        !find(arguments.as_object().unwrap(), &[], &[])
            .unknown(known)
            .is_empty()
    );
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    let arguments = json!({ "text": "x".repeat(MAX_BYTES), "y": "" , "z": "zz"});
    assert!(
        !find(arguments.as_object().unwrap(), &[], &[])
            .unknown(known)
            .is_empty()
    );
}

/// Texts that would take long if any part of them were looked at again and again.
#[test]
fn no_text_takes_long() {
    for piece in [
        "a.",
        "..",
        "//",
        "a.b/",
        "//a@",
        ":",
        "[.",
        "&#4",
        "%2",
        "\u{e9}.a",
        "a.com ",
        "[.]",
        "-_",
        "mailto:",
        "mailto:a",
        "data:",
        "data:a",
        "javascript:",
        "http:",
        "a.b ",
        "\u{fdfa}.",
        "\u{fdfa}",
        "/a.com",
        "/a.b.com/",
        "@a.b.com",
        "//a.com/",
        "//a.com@",
        "//a@a@",
        "https://a.com/a.com/",
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        let started = std::time::Instant::now();
        let _ = hosts(&text);
        let taken = started.elapsed();
        assert!(
            taken < std::time::Duration::from_secs(10),
            "{piece}: {taken:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,80}") {
        let _ = hosts(&text);
    }

    #[test]
    fn what_makes_up_links_is_never_too_odd(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "http", ":", "/", "//", "\\", "@", ".", "[", "]", "(", ")", "%", "&#", "&#x2e;", "2e", "é", "a", "com",
                "\u{200b}", "\u{3002}", " ", "xn--", "-", "_", "?", "#", "1", "www",
            ]),
            0..40,
        )
    ) {
        let _ = hosts(&parts.concat());
    }

    /// Wherever a link stands in a text, and however a scheme is written before it.
    #[test]
    fn a_link_is_found_in_any_text(
        before in "([a-z ]{0,20} )?",
        scheme in prop::sample::select(vec!["https://", "HTTP://", "hxxp://", "//", "ftp://", "www."]),
        label in "[a-z][a-z0-9]{0,10}",
        after in "( [a-z. ]{0,20})?",
    ) {
        let text = format!("{before}{scheme}{label}.example/x{after}");
        let wanted = match scheme {
            "www." => format!("www.{label}.example"),
            _ => format!("{label}.example"),
        };
        prop_assert!(hosts(&text).contains(&wanted), "{}", text);
    }

    #[test]
    fn a_character_that_nobody_sees_hides_none(at in 0_usize..22) {
        let mut text: Vec<char> = "https://evil.example/x".chars().collect();
        text.insert(at, '\u{200b}');
        let text: String = text.into_iter().collect();
        prop_assert!(hosts(&text).contains(&"evil.example".to_owned()), "{}", text);
    }
}

#[test]
fn what_a_text_expands_to_counts() {
    let is_cut = |text: String| hosts(&text).contains(&MORE.to_owned());
    assert!(is_cut("\u{fdfa}".repeat(MAX_BYTES / 30)));
    assert!(!is_cut("\u{fdfa}".repeat(1_000)));
    assert!(is_cut("a.b ".repeat(MAX_NAMES + 1)));
    assert!(!is_cut("a.b ".repeat(MAX_NAMES / 4)));
}

#[test]
fn the_host_of_a_mail_link_is_found_wherever_it_stands() {
    for text in [
        "mailto:a@evil.example",
        "mailto:mailto:a@evil.example",
        "mailto:a:b@evil.example",
        "mailto:?to=a@evil.example",
    ] {
        assert_eq!(hosts(text), ["evil.example"], "{text}");
    }
    assert_eq!(hosts("data:text/html,x data:,y"), ["data"]);
    assert!(hosts("data: text, and mailto: nobody").is_empty());
}

#[test]
fn in_the_content_of_a_file_a_link_is_only_what_is_written_as_one() {
    let hosts = |text: &str| -> Vec<String> {
        let arguments = json!({ "files": [{ "path": "a.py", "content": text }], "message": "m" });
        let contents = [ArgumentPath::parse("files[].content").unwrap()];
        let links = find(arguments.as_object().unwrap(), &[], &contents);
        links.hosts().iter().map(SmolStr::to_string).collect()
    };
    for code in [
        "await self.io.run(user.id, time.now)",
        "logging.info(a.map) // see node.id",
        "evil.example/x evil[.]example bit.ly/x who@evil.example",
        "C:\\\\Users\\\\me.name \\\\evil.example\\share",
        "awww.evil.example",
        "a && b&c; x&#46;map(y) &sol; &#x2f;",
        "(/\\d+\\.com/) (/\\bid.node/) \"\\/srv\\/a.rs\"",
        "{\"file\": \"\\/README.md\", \"of\": ['\\/manage.py', \"\\\\lib.rs\"]}",
        "/dist/\n/index.js\n\\\n/README.md = /\\n.md/",
        "http:\n\tserver: a.b",
    ] {
        assert_eq!(hosts(code), [] as [String; 0], "{code}");
    }
    for link in [
        "see https://evil.example/x",
        "hxxps://evil.example",
        "[here](https:evil.example)",
        "mailto:who@evil.example",
        "<img src=//evil.example/x>",
        "http:/evil.example",
        "<img src=\"https:\\\\evil.example/?d=1\">",
        "https:/\\evil.example",
        "\"https:\\/\\/evil.example\"",
        "[a](&#104;ttps&colon;&sol;&sol;evil.example/x)",
        "<img src=&#x2f;&#47evil&period;example/x>",
        "<a href='ht&#9;tp&#58;&NewLine;//evil.example'>",
        "<a href=\"&#00000000104;ttps&#00000000058;&#00000000047;&#x000000000002f;evil.example/x\">",
        "<a href=\"https:/\n/evil.example/x\">",
        "<a href='https:\t\\\r\n/evil.example'>",
        "<a href='https:/&Tab;/evil.example'>",
        "[a](mailto&colon;who&commat;evil.example)",
    ] {
        assert_eq!(hosts(link), ["evil.example"], "{link}");
    }
    for link in [
        "![a](/\\evil.com/?d=1)",
        "<a href=\"\\/evil.com\">",
        "<a href = '\\/evil.com'>",
        "<img src=\"\\\\evil.com/?d=1\">",
        "<img src=&bsol;&bsol;evil.com/x>",
        "<img src='\\\\/evil.com'>",
        "<a href=\" /\\evil.com\">",
        "<a href=\"/\t/evil.com\">",
        "<a href=\"\n/&#10;/evil.com\">",
        "![a](/\n\\evil.com)",
        "<a href=&bsol;&sol;evil.com>",
    ] {
        assert_eq!(hosts(link), ["evil.com"], "{link}");
    }
    let page = "https://larkwood.example/a &#47;";
    let contents = [ArgumentPath::parse("content").unwrap()];
    let links = find(
        json!({"content": page}).as_object().unwrap(),
        &[],
        &contents,
    );
    let is_known = |place: &EntityUID| place.eid().as_ref() as &str == "https://larkwood.example";
    assert!(links.unknown(is_known).is_empty(), "{links:?}");
    // As many as are examined, and one character reference among them.
    let page = "https://larkwood.example/a ".repeat(MAX_TRIED) + "it&#39;s";
    let links = find(
        json!({"content": page}).as_object().unwrap(),
        &[],
        &contents,
    );
    assert!(links.unknown(is_known).is_empty(), "{links:?}");
    for link in [
        "_WWW.evil.example/x",
        "wait..www.evil.example/x",
        "\u{8bbf}\u{95ee}www.evil.example/x",
        "\u{8bbf}..-WWW.evil.example",
    ] {
        assert_eq!(hosts(link), ["www.evil.example"], "{link}");
    }
}

#[test]
fn only_the_registered_argument_is_the_content_of_a_file() {
    let hosts = |arguments: Json, targets: &[TargetArgument]| -> Vec<String> {
        let contents = ["content", "parts"].map(|it| ArgumentPath::parse(it).unwrap());
        let links = find(arguments.as_object().unwrap(), targets, &contents);
        links.hosts().iter().map(SmolStr::to_string).collect()
    };
    assert_eq!(hosts(json!({"message": "bit.ly/x"}), &[]), ["bit.ly"]);
    assert_eq!(
        hosts(json!({"content": {"text": "bit.ly/x"}}), &[]),
        ["bit.ly"]
    );
    assert_eq!(
        hosts(json!({"parts": ["bit.ly/x", "//a.com"]}), &[]),
        ["a.com"]
    );
    // What is both is a target.
    let form = crate::domain::request::target::argument::TargetArgumentForm::named("content");
    let target = [TargetArgument::read(&form).unwrap()];
    assert!(hosts(json!({"content": "https://a.com"}), &target).is_empty());
}
