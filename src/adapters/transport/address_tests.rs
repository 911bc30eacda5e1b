use crate::adapters::transport::address::read;

#[test]
fn an_address_is_read_in_every_form_that_gateways_write_and_is_the_same_one() {
    for (text, wanted) in [
        ("10.9.1.2", "10.9.1.2"),
        ("10.9.1.2:443", "10.9.1.2"),
        ("::ffff:10.9.1.2", "10.9.1.2"),
        ("::FFFF:10.9.1.2", "10.9.1.2"),
        ("::ffff:a09:102", "10.9.1.2"),
        ("0:0:0:0:0:ffff:10.9.1.2", "10.9.1.2"),
        ("[::ffff:10.9.1.2]", "10.9.1.2"),
        ("[::ffff:10.9.1.2]:443", "10.9.1.2"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:0", "2001:db8::1"),
        ("::1", "::1"),
    ] {
        let read = read(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        assert_eq!(read.to_string(), wanted, "{text}");
    }
}

#[test]
fn what_is_no_address_is_told() {
    for text in [
        "",
        " ",
        "localhost",
        "10.9.1",
        "10.9.1.256",
        "010.9.1.2",
        "0x0a.9.1.2",
        "168362242",
        "10.9.1.2/32",
        "10.9.1.2:",
        "10.9.1.2:65536",
        "[10.9.1.2]",
        "[::1",
        "::1]",
        "[[::1]]",
        "[::1]:",
        "fe80::1%eth0",
        "fe80::1%1",
        "[fe80::1%1]:80",
        "10.9.1.2, 10.9.1.3",
        " 10.9.1.2",
        "1:2:3:4:5:6:7:8:9",
        "/run/agent.sock",
    ] {
        let said = read(text).expect_err(text).to_string();
        assert_eq!(said, format!("`{text}` is not an IP address"), "{text}");
    }
}
