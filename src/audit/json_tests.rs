use crate::audit::fixtures::records;

#[test]
fn every_kind_of_record_has_its_shape() {
    let json: Vec<_> = records().iter().map(super::record).collect();
    insta::assert_json_snapshot!(json);
}
