use http::HeaderValue;

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn read(headers: &[(&'static str, &[u8])]) -> Option<String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value).expect("a value"));
    }
    let read = trace_context(&map);
    read.parent().map(|_| read.state().to_owned())
}

#[test]
fn states_of_several_headers_are_one_and_a_repeated_parent_is_none() {
    let parent = ("traceparent", PARENT.as_bytes());
    let state = |text: &'static str| ("tracestate", text.as_bytes());
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[state("a=1")]), None);
    assert_eq!(read(&[parent, parent]), None);
    assert_eq!(read(&[parent]).as_deref(), Some(""));
    let several = [state("b=1,a=2"), parent, state("c=3")];
    assert_eq!(read(&several).as_deref(), Some("b=1,a=2,c=3"));
    let broken = [parent, state("b=1"), ("tracestate", b"\xff=1")];
    assert_eq!(read(&broken).as_deref(), Some(""), "the parent stays");
}
