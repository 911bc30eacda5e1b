use serde_json::json;

use super::*;

fn read(results: &[Json]) -> Result<ClientResponses, ClientResponseError> {
    let mut answers = ClientResponses::default();
    for result in results {
        answers.add(result.as_object().expect("an object"))?;
    }
    Ok(answers)
}

#[test]
fn the_shape_says_what_was_asked() {
    let sampled =
        json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "hello"}});
    let filled = json!({"action": "accept", "content": {"city": "Bern", "apiKey": "k"}});
    let declined = json!({"action": "decline"});
    let roots = json!({"roots": [{"uri": "file:///srv"}]});
    let all = read(&[sampled, filled, declined, roots]).expect("known");
    assert_eq!(all.kinds, ["sampling", "elicitation", "roots"]);
    let mut names = all.field_names;
    names.sort_unstable();
    assert_eq!(names, ["apiKey", "city"]);
    assert_eq!(all.secret_fields, ["apiKey"]);
}

#[test]
fn what_could_be_several_or_nothing_is_not_guessed() {
    for result in [
        json!({}),
        json!({"content": {}}),
        json!({"model": 1}),
        json!({"action": "agree"}),
        json!({"roots": {}}),
        json!({"model": "m", "action": "accept"}),
        json!({"model": [1], "action": "accept"}),
        json!({"action": "accept", "model": null}),
        json!({"action": "accept", "roots": 1}),
        json!({"action": "accept", "roots": []}),
        json!({"action": "accept", "content": "k"}),
    ] {
        assert_eq!(
            read(std::slice::from_ref(&result)),
            Err(ClientResponseError),
            "{result}"
        );
    }
    let many: Map<String, Json> = (0..=MAX_FIELDS)
        .map(|n| (n.to_string(), json!(1)))
        .collect();
    assert_eq!(
        read(&[json!({"action": "accept", "content": many})]),
        Err(ClientResponseError)
    );
}

#[test]
fn a_key_that_is_no_identifier_counts_as_a_text_of_a_model() {
    let declined = |key: &str| {
        let responses = json!({ key: {"action": "decline"} });
        let responses = responses.as_object().expect("an object");
        ClientResponses::from_json(responses)
            .expect("known")
            .expect("one")
    };
    for key in ["q", "elicitation-1", "github_login", "urn:q/1.a"] {
        assert_eq!(declined(key).kinds, ["elicitation"], "{key}");
    }
    for key in ["", "all my data", "a\u{200b}", "pässe", &"x".repeat(65)] {
        assert_eq!(declined(key).kinds, ["sampling", "elicitation"], "{key}");
    }
    assert_eq!(declined("the api key").secret_fields, ["the api key"]);
    let many = |count: usize| {
        let keys = (0..count).map(|it| (format!("{it:064}"), json!({"action": "decline"})));
        let responses = ClientResponses::from_json(&keys.collect());
        responses.expect("known").expect("some").kinds
    };
    assert_eq!(many(4), ["elicitation"]);
    assert_eq!(many(5), ["elicitation", "sampling"]);
}

#[test]
fn what_is_not_of_the_shape_of_its_kind_counts_as_a_text_of_a_model() {
    let plain = json!({"io.modelcontextprotocol/related-task": {"taskId": "t-1"}});
    for (result, kinds) in [
        (json!({"action": "decline"}), vec!["elicitation"]),
        (
            json!({"action": "cancel", "content": null}),
            vec!["elicitation"],
        ),
        (
            json!({"action": "decline", "content": {}}),
            vec!["elicitation"],
        ),
        (
            json!({"action": "accept", "resultType": "complete", "_meta": {}}),
            vec!["elicitation"],
        ),
        (
            json!({"action": "accept", "content": {"a": "x", "b": 1, "c": true, "d": ["x"], "e": null}}),
            vec!["elicitation"],
        ),
        (
            json!({"action": "accept", "_meta": plain}),
            vec!["elicitation", "metadata"],
        ),
        (
            json!({"roots": [
                {"uri": "file:///srv/a%20b", "name": "a b", "_meta": plain},
                {"uri": "file:///c%3A/x/", "name": "x"},
                {"uri": "file:///srv"},
            ]}),
            vec!["roots"],
        ),
        (
            json!({"model": "m", "role": "assistant", "content": {}, "stopReason": "endTurn"}),
            vec!["sampling"],
        ),
        (
            json!({"action": "accept", "role": "assistant", "content": {"type": "text", "text": "x"}}),
            vec!["elicitation", "sampling"],
        ),
        (
            json!({"action": "decline", "x": "y"}),
            vec!["elicitation", "sampling"],
        ),
        (
            json!({"action": "decline", "content": {"a": "x"}}),
            vec!["elicitation", "sampling"],
        ),
        (
            json!({"action": "accept", "content": {"a": {"b": "x"}}}),
            vec!["elicitation", "sampling"],
        ),
        (
            json!({"action": "accept", "content": {"a": [1]}}),
            vec!["elicitation", "sampling"],
        ),
        (
            json!({"action": "accept", "resultType": "x"}),
            vec!["elicitation", "sampling"],
        ),
        (
            json!({"action": "accept", "_meta": {"x": "y"}}),
            vec!["elicitation", "metadata", "sampling"],
        ),
        (
            json!({"roots": [{"uri": "file:///srv", "name": "what was read"}]}),
            vec!["roots", "sampling"],
        ),
        (
            json!({"roots": [{"uri": "https://a.example/x"}]}),
            vec!["roots", "sampling"],
        ),
        (
            json!({"roots": [{"uri": "file:///a", "x": "y"}]}),
            vec!["roots", "sampling"],
        ),
        (
            json!({"roots": ["what was read"]}),
            vec!["roots", "sampling"],
        ),
        (json!({"roots": [], "x": "y"}), vec!["roots", "sampling"]),
    ] {
        let answers = read(std::slice::from_ref(&result)).expect("known");
        assert_eq!(answers.kinds, kinds, "{result}");
        assert!(answers.secret_fields.is_empty(), "{result}");
    }
}

#[test]
fn a_secret_is_found_wherever_it_has_no_place() {
    for (result, secret) in [
        (
            json!({"action": "accept", "content": {}, "password": "x"}),
            "password",
        ),
        (
            json!({"action": "accept", "content": {"a": {"password": "x"}}}),
            "password",
        ),
        (
            json!({"action": "accept", "content": {"a": [{"b": "password=x"}]}}),
            "b",
        ),
        (
            json!({"action": "accept", "_meta": {"password": "x"}}),
            "password",
        ),
        (
            json!({"action": "decline", "content": {"password": "x"}}),
            "password",
        ),
        (json!({"action": "decline", "note": "my password"}), "note"),
        (
            json!({"roots": [{"uri": "file:///a", "name": "password x"}]}),
            "name",
        ),
        (json!({"model": "m", "_meta": {"a": ["the password"]}}), "a"),
    ] {
        let answers = read(std::slice::from_ref(&result)).expect("known");
        assert_eq!(answers.secret_fields, [secret], "{result}");
    }
    let mut answers = ClientResponses::default();
    let error = json!({"code": 1, "message": "m", "data": {"x": "the password"}});
    answers.add_error(error.as_object().expect("an object"));
    assert_eq!(answers.kinds, ["error", "sampling"]);
    assert_eq!(answers.secret_fields, ["x"]);
}
