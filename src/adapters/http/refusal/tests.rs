use super::*;

#[test]
fn every_refusal_has_a_status_a_message_and_the_headers_that_go_with_it() {
    for (refusal, status, header) in [
        (Refusal::EmptyBody, 400, None),
        (Refusal::NotJson, 400, None),
        (Refusal::BrokenBody, 400, None),
        (Refusal::OtherPage, 400, None),
        (
            Refusal::Unauthenticated(authenticate::Refusal::NoCredentials),
            401,
            Some(("www-authenticate", "Bearer")),
        ),
        (
            Refusal::NotAllowed {
                caller: "edge".into(),
                rpc: Rpc::AuthzenSearch,
            },
            403,
            None,
        ),
        (Refusal::ForeignHost, 403, None),
        (Refusal::NotFound, 404, None),
        (
            Refusal::MethodNotAllowed { allowed: "POST" },
            405,
            Some(("allow", "POST")),
        ),
        (Refusal::TooLarge { limit: 4_096 }, 413, None),
        (Refusal::HeadersTooLarge { limit: 4_096 }, 431, None),
        (Refusal::Panicked, 500, None),
        (Refusal::NotReady, 503, Some(("retry-after", "1"))),
        (
            Refusal::TooManyRequests { limit: 1 },
            503,
            Some(("retry-after", "1")),
        ),
        (Refusal::DeadlineExceeded, 504, None),
    ] {
        let response = refusal.response("authzen");
        assert_eq!(response.status(), status);
        let body: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
        assert_eq!(body["error"]["status"], status);
        assert_eq!(body["error"]["message"], refusal.to_string());
        if let Some((name, value)) = header {
            assert_eq!(response.headers()[name], value);
        }
    }
}
