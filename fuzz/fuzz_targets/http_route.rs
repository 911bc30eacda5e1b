//! HTTP routes: a request that stands for a call has, to a reader of the WHATWG's URLs, the same segments and the same
//! query, and decoding it once more changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use url::Url;

// The matcher names these as it does at home.
use callgate::{config, domain};

// Paths of files within inline modules count from a folder of the module's name, unless that is said to be this one.
#[path = "."]
mod adapters {
    pub mod mcp {
        pub mod request {
            pub mod mirrored_headers {
                /// A request without headers.
                #[derive(Debug)]
                pub struct HeaderFields;

                impl HeaderFields {
                    pub fn has(&self, _name: &str) -> bool {
                        false
                    }
                }
            }
        }
    }

    #[path = "../../src/adapters/http_routes/matcher.rs"]
    #[allow(dead_code)]
    mod matcher;

    use callgate::config::http_routes::HttpRouteConfig;
    use callgate::config::limits::Limits;
    use callgate::domain::request::call_context::Operation;

    pub fn operation(path: &str, routes: &[HttpRouteConfig]) -> Option<Operation> {
        let request = matcher::RequestTarget {
            method: "GET",
            host: "api.example.org",
            path,
            headers: &mcp::request::mirrored_headers::HeaderFields,
        };
        matcher::operation(request, routes, &Limits::default())
            .ok()
            .flatten()
    }
}

fn routes() -> Vec<config::http_routes::HttpRouteConfig> {
    let route = |path: &str| config::http_routes::HttpRouteConfig {
        host: None,
        method: "GET".to_owned(),
        path: path.to_owned().try_into().expect("a pattern"),
        server: "tickets".to_owned(),
        tool: "get".to_owned(),
        query: vec!["q".to_owned(), "lang".to_owned()],
    };
    ["/", "/{one}", "/{one}/{two}", "/items/{one}/{two}"]
        .map(route)
        .into()
}

fuzz_target!(|path: &str| {
    let Some(operation) = adapters::operation(path, &routes()) else {
        return;
    };
    let domain::request::operation::OperationKind::CallTool(call) = operation.kind else {
        panic!("a route stands for a call");
    };
    let base = Url::parse("http://api.example.org").expect("a URL");
    // As servers join a target to their own address; a target that begins with `//` names no other host.
    let url = Url::parse(&format!("{}{}", base.as_str().trim_end_matches('/'), path));
    let url = url.expect("what stands for a call is a URL");
    assert_eq!(url.host_str(), Some("api.example.org"));
    assert!(url.fragment().is_none());
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .expect("text")
            .into_owned()
    };
    let mut segments: Vec<String> = url
        .path_segments()
        .expect("segments")
        .map(decoded)
        .collect();
    segments.retain(|it| !it.is_empty());
    for text in &segments {
        assert_eq!(&decoded(text), text, "nothing is left to decode");
        assert!(text != "." && text != ".." && !text.contains(['/', '\\']));
    }
    let first = segments.len().min(3);
    let from = usize::from(first == 3);
    for (name, text) in ["one", "two"].iter().zip(&segments[from..]) {
        assert_eq!(
            call.arguments.get(*name).and_then(|it| it.as_str()),
            Some(text.as_str())
        );
    }
    for (key, value) in url.query_pairs() {
        let found = call.arguments.get(key.as_ref()).and_then(|it| it.as_str());
        assert_eq!(found, Some(value.as_ref()), "{key}");
    }
});
