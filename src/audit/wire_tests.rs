use callgate_engine::cedar::{Eid, EntityUID};
use proptest::prelude::*;

use super::{WireWriter, as_recorded};

proptest! {
    /// What is looked for is what was written.
    #[test]
    fn a_text_is_looked_for_as_it_is_written(text in prop_oneof!["\\PC{0,20}", "[a-zé\u{0}]{500,600}", any::<String>()]) {
        let mut written = Vec::new();
        WireWriter::new(&mut written).text(9, &text);
        let looked_for = as_recorded(&text);
        prop_assert!(looked_for.len() <= super::MAX_TEXT);
        prop_assert!(written.ends_with(looked_for.as_bytes()));
        prop_assert!(text.is_empty() || written.len() <= looked_for.len() + 4);
    }


    /// An entity is written as Cedar displays it, whatever its id needs to be escaped.
    #[test]
    fn an_entity_is_written_as_cedar_displays_it(
        of_type in prop_oneof![Just("User"), Just("Mcp::Agent"), Just("A::B::C::Type_1")],
        id in prop_oneof!["[ -~]{0,40}", "\\PC{0,20}", any::<String>(), "[a-z\"'\\\\\u{7f}\t]{0,600}"],
    ) {
        let of_type = of_type.parse().expect("a type");
        let uid = EntityUID::from_components(of_type, Eid::new(id), None);
        let (mut written, mut displayed) = (Vec::new(), Vec::new());
        WireWriter::new(&mut written).entity(9, &uid);
        WireWriter::new(&mut displayed).display(9, &uid);
        prop_assert_eq!(written, displayed);
    }
}
