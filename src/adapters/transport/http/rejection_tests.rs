use super::*;

#[test]
fn every_refusal_has_a_status_a_message_and_the_headers_that_go_with_it() {
    for (refusal, status, header) in [
        (HttpRejection::EmptyBody, 400, None),
        (HttpRejection::NotJson, 400, None),
        (HttpRejection::BrokenBody, 400, None),
        (HttpRejection::OtherPage, 400, None),
        (
            HttpRejection::Unauthenticated(authenticate::AuthenticationError::NoCredentials),
            401,
            Some(("www-authenticate", "Bearer")),
        ),
        (
            HttpRejection::NotAllowed {
                caller: "edge".into(),
                rpc: Rpc::AuthzenSearch,
            },
            403,
            None,
        ),
        (HttpRejection::ForeignHost, 403, None),
        (HttpRejection::NotFound, 404, None),
        (
            HttpRejection::MethodNotAllowed { allowed: "POST" },
            405,
            Some(("allow", "POST")),
        ),
        (HttpRejection::TooLarge { limit: 4_096 }, 413, None),
        (HttpRejection::HeadersTooLarge { limit: 4_096 }, 431, None),
        (HttpRejection::Panicked, 500, None),
        (HttpRejection::NotReady, 503, Some(("retry-after", "1"))),
        (
            HttpRejection::TooManyRequests { limit: 1 },
            503,
            Some(("retry-after", "1")),
        ),
        (HttpRejection::DeadlineExceeded, 504, None),
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
