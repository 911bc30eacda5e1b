use std::time::SystemTime;

use arc_swap::ArcSwap;
use callgate_engine::cedar::EntityUID;

use super::*;
use crate::config::limits::Limits;
use crate::domain::authority::approval::{ApprovalDecision, ApprovedCall};
use crate::domain::authority::change::ChangeOrigin;
use crate::domain::schema::{self, TYPES};
use crate::service::fixtures;
use crate::service::ledger::PlannedChange;
use crate::telemetry::span_fixtures::KeptSpans;

fn control() -> Arc<Control> {
    let service = Arc::new(fixtures::service(&KeptSpans::default()));
    let limits = Arc::new(ArcSwap::from_pointee(Limits::default()));
    Arc::new(Control::new(service, limits))
}

fn user(name: &str) -> EntityUID {
    schema::entity_uid(&TYPES.user, name)
}

/// An approval of a call by `subject`: pending, or decided for so many calls.
fn approval(id: &str, subject: &str, uses: Option<u32>, now: SystemTime) -> Approval {
    let by = user("approver");
    Approval {
        id: id.into(),
        digest: Default::default(),
        call: ApprovedCall {
            subject: user(subject),
            root: None,
            actors: Vec::new(),
            initiator: Default::default(),
            server: "s".into(),
            tool: "t".into(),
            definition: None,
            arguments: "{}".to_owned(),
            responses: None,
            request_state: None,
            target: None,
            task: None,
        },
        circumstances: Default::default(),
        requested_at: now,
        expires_at: now + Duration::from_secs(3_600),
        word: uses.map(|uses| ApprovalDecision {
            by,
            at: now,
            uses,
            comment: None,
            claims: Default::default(),
            identity: None,
        }),
    }
}

async fn write(control: &Control, id: &str, subject: &str, uses: Option<u32>) -> u64 {
    let now = control.service.now();
    let approval = Arc::new(approval(id, subject, uses, now));
    let asked = ChangeOrigin {
        caller: "test".into(),
        principal: None,
        key: None,
    };
    let plan = |_: &Generation| -> Result<PlannedChange, ()> {
        Ok(PlannedChange {
            verb: "RequestApproval",
            id: approval.id.text().clone(),
            change: Change::Approval(Arc::clone(&approval)),
        })
    };
    let ledger = control.service.ledger();
    ledger
        .write(asked, now, plan)
        .await
        .expect("written")
        .revision
}

async fn told(watch: &mut ApprovalWatch) -> (ApprovalId, ApprovalStatus, u64) {
    let (view, revision) = watch.next().await.expect("an approval");
    (view.approval.id.clone(), view.status, revision)
}

#[tokio::test]
async fn what_changes_while_the_beginning_is_told_is_told_after_it_and_each_once() {
    let control = control();
    let mut newest = 0;
    for number in 0..=LOOKED_AT {
        newest = write(&control, &format!("a{number:0>6}"), "u", None).await;
    }
    let last = ApprovalId::from(format!("a{LOOKED_AT:0>6}").as_str());
    let all = ApprovalFilter::default();
    let mut watch = control.watch_approvals(all).expect("a watch");
    let mut all = vec![told(&mut watch).await];
    // The last is none of the first piece.
    let approved = write(&control, last.as_str(), "u", Some(1)).await;
    let rejected = write(&control, last.as_str(), "u", Some(0)).await;
    let next = write(&control, "b", "u", None).await;
    for _ in 0..LOOKED_AT + 3 {
        all.push(told(&mut watch).await);
    }
    assert!(
        all.is_sorted_by_key(|(_, _, revision)| *revision),
        "{all:?}"
    );
    let of_last = all.iter().filter(|(id, ..)| *id == last);
    let of_last: Vec<_> = of_last.map(|(_, status, at)| (*status, *at)).collect();
    use ApprovalStatus::{Approved, Pending, Rejected};
    let wanted = [
        (Pending, newest),
        (Approved, approved),
        (Rejected, rejected),
    ];
    assert_eq!(of_last, wanted);
    assert_eq!(all.last(), Some(&("b".into(), Pending, next)));
}

#[tokio::test]
async fn what_is_polled_is_not_told_ahead_of_changes() {
    let control = control();
    // Which of the two comes first, if both are there, is by chance.
    for number in 0..20 {
        let (id, subject) = (format!("a{number}"), format!("u{number}"));
        let requested = write(&control, &id, &subject, None).await;
        let filter = ApprovalFilter {
            subject: Some(user(&subject)),
            ..ApprovalFilter::default()
        };
        let mut watch = control.watch_approvals(filter).expect("a watch");
        let mut all = vec![told(&mut watch).await];
        let approved = write(&control, &id, &subject, Some(1)).await;
        let rejected = write(&control, &id, &subject, Some(0)).await;
        all.push(told(&mut watch).await);
        all.push(told(&mut watch).await);
        let all: Vec<_> = all.iter().map(|(_, status, at)| (*status, *at)).collect();
        use ApprovalStatus::{Approved, Pending, Rejected};
        let wanted = [
            (Pending, requested),
            (Approved, approved),
            (Rejected, rejected),
        ];
        assert_eq!(all, wanted);
    }
}

#[tokio::test]
async fn a_watch_ends_where_the_store_has_turned_back() {
    let control = control();
    let revision = write(&control, "a", "u", None).await;
    let entry = |revision| {
        Ok(Arc::new(ChangeRecord {
            revision,
            at: control.service.now(),
            verb: "EndSession".into(),
            change: Change::SessionEnded {
                session: "s".into(),
            },
            asker: ChangeOrigin {
                caller: "test".into(),
                principal: None,
                key: None,
            },
        }))
    };
    let begin = || {
        let watch = control.watch_approvals(ApprovalFilter::default());
        watch.expect("a watch")
    };
    // What is part of the beginning, the next, and one above a gap.
    let mut watch = begin();
    assert!(watch.take(entry(revision)).is_ok());
    assert!(watch.take(entry(revision + 1)).is_ok());
    let end = watch.take(entry(revision + 3));
    assert!(matches!(end, Err(WatchError::Pruned { .. })), "{end:?}");
    // What is in service is earlier.
    let end = watch.tick();
    assert!(matches!(end, Err(WatchError::Pruned { .. })), "{end:?}");
    // It is later, and no change has led to it.
    let mut watch = begin();
    write(&control, "b", "u", None).await;
    watch.live = control.service.ledger().changes();
    assert!(watch.tick().is_ok(), "it may come yet");
    let end = watch.tick();
    assert!(matches!(end, Err(WatchError::Pruned { .. })), "{end:?}");
}
