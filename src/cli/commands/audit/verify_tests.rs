use super::*;
use crate::audit::verify::fault::Fault;

#[test]
fn a_report_says_first_whether_all_is_well() {
    let good = Report {
        ok: true,
        origin: "callgate.example/test".to_owned(),
        signed: 900,
        root: "AAAA".to_owned(),
        end: 905,
        proven: 900,
        uncovered: 5,
        torn_bytes: 17,
        older_checkpoints: 1,
        ..Report::default()
    };
    insta::assert_snapshot!(text(&good));
    let bad = Report {
        ok: false,
        first: 100,
        removed: 100,
        faults: vec![Fault::Missing {
            first: 200,
            last: 299,
            is_noted: true,
        }],
        fault_count: 2,
        warnings: vec!["tree/frontier is missing".to_owned()],
        torn_bytes: 0,
        uncovered: 0,
        ..good
    };
    insta::assert_snapshot!(text(&bad));
}
