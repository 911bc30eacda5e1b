use serde_json::json;

use super::*;

#[test]
fn a_number_is_a_decimal_of_four_places_or_refused() {
    for (number, text) in [
        (json!(7), "7.0000"),
        (json!(-12.5), "-12.5000"),
        (json!(0.0001), "0.0001"),
        (json!(99.9999), "99.9999"),
        (json!(922_337_203_685_477_i64), "922337203685477.0000"),
    ] {
        let value = decimal(&number).unwrap_or_else(|| panic!("{number} is a decimal"));
        assert!(
            value.to_string().contains(text.trim_end_matches('0')),
            "{value} {text}"
        );
    }
    for number in [
        json!(0.00001),
        json!(1.23456),
        json!(922_337_203_685_478_i64),
        json!(1e300),
        json!(-1e-300),
        json!("1.5"),
        json!(null),
        json!([1]),
    ] {
        assert!(decimal(&number).is_none(), "{number}");
    }
}

#[test]
fn a_number_that_doubles_round_is_told_apart() {
    for exact in [
        0,
        1,
        -1,
        1 << 53,
        -(1 << 53),
        (1 << 53) + 2,
        1 << 62,
        i64::MIN,
    ] {
        assert!(is_exact_in_double(exact), "{exact}");
    }
    for rounded in [
        (1 << 53) + 1,
        -(1 << 53) - 1,
        1_122_334_455_667_788_991,
        i64::MAX,
    ] {
        assert!(!is_exact_in_double(rounded), "{rounded}");
    }
}
