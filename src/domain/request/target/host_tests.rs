use super::*;

fn host(url: &str) -> Host {
    let parsed = Url::parse(url).expect(url);
    let authority = url.split("://").nth(1).unwrap_or_default();
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    Host::of_authority(authority, &parsed).unwrap_or_else(|fault| panic!("{url} {fault}"))
}

#[test]
fn an_address_is_open_as_the_registries_say() {
    for closed in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.8",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::1]",
        "[100::1]",
        "[100:0:0:1::1]",
        "[2001::1]",
        "[2001:2::1]",
        "[2001:10::1]",
        "[2001:db8::1]",
        "[2002:a00:1::]",
        "[2002:808:808::]",
        "[3fff::1]",
        "[5f00::1]",
        "[fc00::1]",
        "[fd12::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[::8.8.8.8]",
        "[4000::1]",
    ] {
        assert!(!host(&format!("https://{closed}/")).is_open, "{closed}");
    }
    for open in [
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.0.9",
        "192.0.1.1",
        "192.31.196.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "[2606:4700::1]",
        "[2001:20::1]",
        "[2001:4:112::1]",
        "[2001:4860::8]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::8.8.8.8]",
        "[2620:4f:8000::1]",
    ] {
        assert!(host(&format!("https://{open}/")).is_open, "{open}");
    }
}

#[test]
fn a_name_is_open_if_somebody_registered_it() {
    for (name, domain) in [
        ("example.com", "example.com"),
        ("www.example.co.uk", "example.co.uk"),
        ("larkwood.github.io", "larkwood.github.io"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de"),
        // What somebody registered to let others have names below it.
        ("github.io", "github.io"),
        ("s3.amazonaws.com", "s3.amazonaws.com"),
        ("s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"),
        ("pages.dev", "pages.dev"),
        ("loot.s3.amazonaws.com", "loot.s3.amazonaws.com"),
    ] {
        let host = host(&format!("https://{name}/"));
        assert_eq!(
            (host.domain.as_deref(), host.is_open),
            (Some(domain), true),
            "{name}"
        );
    }
    for name in [
        "intranet",
        "localhost",
        "a.localhost",
        "printer.local",
        "db.internal",
        "metadata.google.internal",
        "a.test",
        "a.invalid",
        "a.example",
        "abc.onion",
        "router.home.arpa",
        "1.0.0.127.in-addr.arpa",
        "a.alt",
        "wiki.corp",
        "nas.lan",
        "kubernetes.default.svc",
        "com",
        "co.uk",
        "gov.uk",
    ] {
        let host = host(&format!("https://{name}/"));
        assert_eq!(
            (host.domain.as_deref(), host.is_open),
            (None, false),
            "{name}"
        );
    }
}

#[test]
fn an_embedded_address_is_itself() {
    let mapped = host("http://[::ffff:10.0.0.1]/");
    assert_eq!(mapped.address, "10.0.0.1".parse().ok());
    assert_eq!(mapped.name, "[::ffff:a00:1]");
    assert_eq!(host("db://10.0.0.1/x").address, "10.0.0.1".parse().ok());
    for (url, address) in [
        ("http://[64:ff9b::10.0.0.1]/", "10.0.0.1"),
        ("http://[64:ff9b:1::a9fe:a9fe]/", "169.254.169.254"),
        ("http://[::127.0.0.1]/", "127.0.0.1"),
        ("http://[2002:a00:1::]/", "10.0.0.1"),
        ("http://[::ffff:0:7f00:1]/", "127.0.0.1"),
        ("http://[2001:0:4136:e378:8000:63bf:f5ff:fffe]/", "10.0.0.1"),
        ("http://[2001:4860::5efe:10.0.0.1]/", "10.0.0.1"),
        ("http://[2001:4860::200:5efe:a00:1]/", "10.0.0.1"),
        ("ssh://[::ffff:10.0.0.1]/x", "10.0.0.1"),
        ("ssh://[64:ff9b::a00:1]:22/x", "10.0.0.1"),
        ("ssh://167772161/x", "10.0.0.1"),
        ("ssh://10.1/x", "10.0.0.1"),
        ("http://[::1]/", "::1"),
        ("http://[::]/", "::"),
        ("http://[2001:4860::8]/", "2001:4860::8"),
    ] {
        assert_eq!(host(url).address, address.parse().ok(), "{url}");
    }
    let numbered = host("users://123/profile");
    assert_eq!((numbered.name.as_str(), numbered.is_open), ("123", false));
    let names: Vec<_> = mapped.facts().map(|(name, _)| name).collect();
    assert_eq!(names, ["host", "public", "address"]);
}

#[test]
fn a_name_has_no_empty_part() {
    for url in [
        "https://example..com/",
        "https://.example.com/",
        "https://example.com../",
        "tps://examp../",
        "tps://./",
    ] {
        let read = crate::domain::request::target::parse_one("files", url);
        assert!(
            matches!(read, Err(TargetError::Ambiguous(_))),
            "{url}: {read:?}"
        );
    }
    assert_eq!(host("https://example.com./").name, "example.com");
}

#[test]
fn an_address_is_as_open_as_the_one_that_it_holds() {
    for closed in [
        "[2606:4700::5efe:169.254.169.254]",
        "[2606:4700::5efe:127.0.0.1]",
        "[2606:4700::200:5efe:7f00:1]",
        "[2606:4700:0:1:0:5efe:a00:1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::808:808]",
        "[2002:a00:1::]",
        "[2002:808:808::]",
        "[2001:0:4136:e378:8000:63bf:f5ff:fffe]",
        "[::127.0.0.1]",
        "[::ffff:0:7f00:1]",
    ] {
        assert!(!host(&format!("https://{closed}/")).is_open, "{closed}");
    }
    for open in [
        "[::ffff:8.8.8.8]",
        "[64:ff9b::8.8.8.8]",
        "[2606:4700::5efe:8.8.8.8]",
        "[2606:4700:4700::1111]",
    ] {
        assert!(host(&format!("https://{open}/")).is_open, "{open}");
    }
}
