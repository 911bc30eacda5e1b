use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits.chunks(2).map(|it| byte(it).expect("hex")).collect()
}

/// The examples of RFC 7541, appendix C.4 and C.6.
#[test]
fn the_code_is_that_of_the_rfc() {
    for (text, coded) in [
        ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
        ("no-cache", "a8eb10649cbf"),
        ("custom-key", "25a849e95ba97d7f"),
        ("custom-value", "25a849e95bb8e8b4bf"),
        ("302", "6402"),
    ] {
        let found = huffman(text.as_bytes()).expect("within the table");
        assert_eq!(*found, *hex(coded), "{text}");
    }
    assert_eq!(huffman(b"a b"), None, "a space is not in the table");
}

#[test]
fn decisions_may_be_refused_and_nothing_else() {
    let is_known = |path: &str| {
        let plain = is_sheddable(EncodedStr {
            is_huffman: false,
            bytes: path.as_bytes(),
        });
        let coded = huffman(path.as_bytes()).expect("within the table");
        let coded = is_sheddable(EncodedStr {
            is_huffman: true,
            bytes: &coded,
        });
        assert_eq!(plain, coded, "{path}");
        plain
    };
    for path in [
        "/callgate.v1.Authorization/Authorize",
        "/callgate.v1.Authorization/AuthorizeBatch",
        "/callgate.v1.Authorization/FilterTools",
        "/envoy.service.auth.v3.Authorization/Check",
        "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest",
    ] {
        assert!(is_known(path), "{path}");
    }
    for path in [
        "/callgate.v1.Control/RevokeDelegation",
        "/callgate.v1.Control/GetStatus",
        "/callgate.v1.Authorization/AuthorizeStream",
        "/envoy.service.ext_proc.v3.ExternalProcessor/Process",
        "/grpc.health.v1.Health/Check",
        "/callgate.v1.Authorization/Authoriz",
    ] {
        assert!(!is_known(path), "{path}");
    }
}
