use callgate_engine::cedar::parse_policyset;

use super::*;

fn condition(text: &str) -> Expr {
    let set = parse_policyset(&format!(
        "permit (principal, action, resource) when {{ {text} }};"
    ));
    let set = set.expect("a policy");
    let policy = set.policies().next().expect("one");
    policy.non_scope_constraints().expect("a condition").clone()
}

#[test]
fn conditions_and_their_contraries_read_as_sentences() {
    for (text, yes, no) in [
        (
            "context has approval",
            "a person approved the call",
            "nobody approved the call",
        ),
        (
            "context.labels.contains(\"secret\")",
            "the labels of the call contain `secret`",
            "the labels of the call do not contain `secret`",
        ),
        (
            "context.usage.last_hour < 100",
            "the calls of this tool in the last hour are less than 100",
            "the calls of this tool in the last hour are at least 100",
        ),
        (
            "context.approval.age_seconds <= 3600",
            "the age of the approval in seconds is at most 3600",
            "the age of the approval in seconds is more than 3600",
        ),
        (
            "!context.identity.verified",
            "the identity is not verified",
            "the identity is verified",
        ),
        (
            "context has task && (context has session || context.target.public)",
            "the call belongs to a task and (the call names a session or the target is on the open internet)",
            "the call belongs to no task or (the call names no session and the target is not on the open internet)",
        ),
        (
            "[\"read\", \"write\"].contains(context.delegation.access)",
            "the access level of the delegation is one of [`read`, `write`]",
            "the access level of the delegation is none of [`read`, `write`]",
        ),
        (
            "context.input.url like \"*?*\"",
            "the argument `url` matches `*?*`",
            "the argument `url` does not match `*?*`",
        ),
        (
            "context.target in Mcp::Resource::\"known-destinations\"",
            "the target is in Mcp::Resource::\"known-destinations\"",
            "the target is not in Mcp::Resource::\"known-destinations\"",
        ),
        (
            "context.input.count + 1 == 2",
            "`((context.input).count) + 1` is 2",
            "`((context.input).count) + 1` is not 2",
        ),
    ] {
        let condition = condition(text);
        let own = of(&condition);
        let literal = text.contains("+ 1");
        // How Cedar writes an expression is not ours to hold.
        if literal {
            assert!(own.ends_with(" is 2"), "{own}");
            assert!(contrary(&condition).ends_with(" is not 2"));
        } else {
            assert_eq!(own, yes, "{text}");
            assert_eq!(contrary(&condition), no, "{text}");
        }
    }
}
