use serde_json::json;

use super::*;

fn types(text: impl Iterator<Item = (String, Json)>) -> Json {
    json!({"": {"entityTypes": {}, "actions": {}, "commonTypes": text.collect::<Map<_, _>>()}})
}

/// Each type is a record with so many attributes of the type before it.
fn built_up(count: usize, attributes: usize) -> Json {
    types((0..count).map(|number| {
        let inner = match number {
            0 => json!({"type": "Long"}),
            _ => json!({"type": "EntityOrCommon", "name": format!("T{}", number - 1)}),
        };
        let attributes: Map<_, _> = (0..attributes)
            .map(|at| (format!("a{at}"), inner.clone()))
            .collect();
        let record = json!({"type": "Record", "attributes": attributes});
        (format!("T{number}"), record)
    }))
}

#[test]
fn types_are_bounded_as_they_are_written_out() {
    assert_eq!(find_excess(&[built_up(30, 1)]), None);
    assert_eq!(find_excess(&[built_up(15, 2)]), None);
    let said = |fragment: Json| find_excess(&[fragment]).map(|(_, said)| said);
    let deep = said(built_up(10_000, 1)).expect("too deep");
    assert!(deep.contains("deeper than 64"), "{deep}");
    let wide = said(built_up(30, 2)).expect("too much");
    assert!(wide.contains("more than 1000000 parts"), "{wide}");
}

#[test]
fn a_type_that_holds_itself_is_left_to_cedar() {
    let itself = json!({"type": "Record", "attributes": {"a": {"type": "T"}}});
    let fragment = types(std::iter::once(("T".to_owned(), itself)));
    assert_eq!(find_excess(&[fragment]), None);
}

#[test]
fn ancestors_of_types_and_actions_are_bounded() {
    let chain = |count: usize| {
        let entities: Map<_, _> = (0..count)
            .map(|at| {
                let above = format!("E{}", at + 1);
                (format!("E{at}"), json!({"memberOfTypes": [above]}))
            })
            .collect();
        json!({"Shop": {"entityTypes": entities, "actions": {}}})
    };
    assert_eq!(find_excess(&[chain(60)]), None);
    let (at, said) = find_excess(&[chain(3), chain(10_000)]).expect("too many");
    assert_eq!(at, 1);
    assert!(said.contains("more than 64 generations"), "{said}");
    let wide: Map<_, _> = (0..2_000)
        .map(|at| {
            let above: Vec<_> = (0..100).map(|of| format!("P{of}")).collect();
            (format!("E{at}"), json!({"memberOfTypes": above}))
        })
        .collect();
    let (_, said) = find_excess(&[json!({"": {"entityTypes": wide}})]).expect("too many");
    assert!(said.contains("more than 100000 ancestors"), "{said}");
    let actions: Map<_, _> = (0..10_000)
        .map(|at| {
            (
                format!("a{at}"),
                json!({"memberOf": [{"id": format!("a{}", at + 1)}]}),
            )
        })
        .collect();
    let actions = json!({"Shop": {"entityTypes": {}, "actions": actions}});
    assert!(find_excess(&[actions]).is_some());
}
