use super::*;

fn shed(refusal: Shed) -> (u16, Option<&'static str>) {
    let response = (HTTP_ERRORS.encode)(refusal);
    let refused = (HTTP_ERRORS.kind)(&response).map(|(adapter, _)| adapter);
    (response.status().as_u16(), refused)
}

#[test]
fn what_the_shield_refuses_has_a_status_of_http_and_is_counted() {
    let counted = Some("http");
    assert_eq!(shed(Shed::TooManyRequests { limit: 1 }), (503, counted));
    assert_eq!(shed(Shed::DeadlineExceeded), (504, counted));
    assert_eq!(shed(Shed::Panicked), (500, counted));
}

#[test]
fn an_answer_is_no_refusal() {
    let answer = into_body(Response::new(Bytes::from_static(b"{}")));
    assert!((HTTP_ERRORS.kind)(&answer).is_none());
}
