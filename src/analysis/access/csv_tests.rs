use super::*;

#[test]
fn fields_are_quoted_and_no_formula_begins_one() {
    assert_eq!(quoted("plain"), "plain");
    assert_eq!(quoted("a, b"), "\"a, b\"");
    assert_eq!(quoted("Mcp::User::\"sam\""), "\"Mcp::User::\"\"sam\"\"\"");
    assert_eq!(quoted("=1+1"), "'=1+1");
    assert_eq!(quoted("@x\r\n"), "\"'@x\r\n\"");
}
