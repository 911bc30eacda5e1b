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
