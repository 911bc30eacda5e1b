use callgate_engine::cedar::EntityUID;

use super::*;
use crate::domain::reason::Reason;

fn uid(ty: &str, id: &str) -> EntityUID {
    format!("Mcp::{ty}::\"{id}\"").parse().expect("a uid")
}

#[test]
fn nothing_of_policies_groups_or_people_is_told() {
    let mut reason = Reason::new(ReasonCode::Forbidden, "secret-sentence");
    reason.policies = vec!["secret-policy".into()];
    reason.principal = Some(uid("User", "secret-person"));
    reason.detail = Some("secret-detail".to_owned());
    let verdict = Verdict::deny(reason);
    let changes = [
        Change::AddToGroup {
            entity: uid("User", "secret-person"),
            group: uid("Group", "secret-group"),
        },
        Change::Approve {
            by: uid("User", "secret-person"),
        },
        Change::Delegate {
            root: uid("User", "secret-person"),
        },
    ];
    for count in 0..=changes.len() {
        for change in &changes {
            let proposals = [changes[..count].to_vec(), vec![change.clone()]];
            let said = text(&verdict, &proposals);
            assert!(!said.contains("secret"), "{said}");
        }
    }
    let approval = [vec![changes[1].clone()]];
    assert!(text(&verdict, &approval).contains("a person approved exactly this call"));
    let group = [vec![changes[0].clone()]];
    assert!(text(&verdict, &group).contains("ask the person you work for"));
}

#[test]
fn what_is_missing_is_told() {
    let reason = Reason::context_missing(vec!["arguments.path".to_owned()]);
    let said = text(&Verdict::deny(reason), &[]);
    assert!(said.contains("It lacks arguments.path."), "{said}");
}
