use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::authority::session::MAX_LABELS;
use crate::domain::ids::TaskId;
use crate::domain::schema::{TYPES, entity_uid};

const HOUR: Duration = Duration::from_secs(3_600);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn memory() -> CarrierLabels {
    CarrierLabels::new(100, HOUR)
}

fn pair() -> (EntityUID, EntityUID) {
    (
        entity_uid(&TYPES.agent, "a"),
        entity_uid(&TYPES.user, "sam"),
    )
}

fn names(labels: &[&'static str]) -> Vec<SmolStr> {
    labels.iter().copied().map(SmolStr::new_static).collect()
}

fn sorted(labels: Option<Arc<Labels>>) -> Vec<SmolStr> {
    let mut names = labels.map_or_else(Vec::new, |labels| labels.items().to_vec());
    names.sort();
    names
}

fn parts(write: Option<StoreWrite>) -> (LabelCarrier, Vec<LabelTimes>) {
    match write {
        Some(StoreWrite::Labels {
            carrier, labels, ..
        }) => (carrier, labels),
        other => panic!("{other:?}"),
    }
}

/// What a store holds after these writes.
fn on_disk(writes: &[(LabelCarrier, Vec<LabelTimes>)]) -> Vec<StoredLabel> {
    let mut rows: BTreeMap<(LabelCarrier, SmolStr), LabelTimes> = BTreeMap::new();
    for (carrier, labels) in writes {
        for brought in labels {
            let key = (carrier.clone(), brought.label.clone());
            let row = rows.entry(key).or_insert_with(|| brought.clone());
            row.through = row.through.max(brought.through);
            row.loose_through = row.loose_through.max(brought.loose_through);
        }
    }
    let row = |((carrier, _), brought)| StoredLabel { carrier, brought };
    rows.into_iter().map(row).collect()
}

#[test]
fn a_task_keeps_its_labels_until_it_ends() {
    let memory = memory();
    let (one, other) = ("t1".into(), "t2".into());
    let same = "t1".into();
    let task = LabelCarrierRef::Task(&one);
    assert!(memory.is_empty());
    memory
        .add(task, &names(&["private"]), false, at(0))
        .unwrap();
    memory.add(task, &names(&["secret"]), false, at(9)).unwrap();
    assert_eq!(sorted(memory.get(task)), names(&["private", "secret"]));
    assert!(memory.get(LabelCarrierRef::Task(&other)).is_none());
    assert!(memory.get(LabelCarrierRef::Delegation(&same)).is_none());
    memory.sweep(at(1_000_000));
    assert_eq!(memory.len(), 1, "time takes nothing from a task");
    memory.remove(task);
    assert!(memory.get(task).is_none() && memory.is_empty());
}

#[test]
fn what_a_pair_has_read_counts_for_its_time() {
    let memory = memory();
    let (agent, sam) = pair();
    let pair = LabelCarrierRef::Pair {
        actor: &agent,
        root: Some(&sam),
    };
    let lately = |counts, now| sorted(memory.recent_of_pair(&agent, Some(&sam), counts, at(now)));
    memory
        .add(pair, &names(&["untrusted"]), true, at(0))
        .unwrap();
    memory
        .add(pair, &names(&["private"]), false, at(10))
        .unwrap();
    assert_eq!(
        lately(LabelWindow::All, 3_600),
        names(&["private", "untrusted"])
    );
    assert_eq!(lately(LabelWindow::All, 3_601), names(&["private"]));
    // Reading again starts the time anew.
    memory
        .add(pair, &names(&["private"]), false, at(3_610))
        .unwrap();
    assert_eq!(lately(LabelWindow::All, 7_210), names(&["private"]));
    assert_eq!(lately(LabelWindow::All, 7_211), [""; 0]);
    assert!(
        memory
            .recent_of_pair(&agent, None, LabelWindow::All, at(10))
            .is_none()
    );
    memory.sweep(at(7_211));
    assert!(memory.is_empty());
}

#[test]
fn loose_labels_count_from_a_moment_on() {
    let memory = memory();
    let (agent, sam) = pair();
    let pair = LabelCarrierRef::Pair {
        actor: &agent,
        root: Some(&sam),
    };
    let since = |from, now| {
        let counts = LabelWindow::LooseSince(at(from));
        sorted(memory.recent_of_pair(&agent, Some(&sam), counts, at(now)))
    };
    memory
        .add(pair, &names(&["untrusted"]), true, at(10))
        .unwrap();
    memory
        .add(pair, &names(&["private"]), false, at(20))
        .unwrap();
    assert_eq!(since(10, 30), names(&["untrusted"]));
    assert_eq!(since(11, 30), [""; 0]);
    // The same label in a vouched session does not make it loose at that time, nor less loose at the earlier one.
    memory
        .add(pair, &names(&["untrusted"]), false, at(40))
        .unwrap();
    assert_eq!(since(10, 50), names(&["untrusted"]));
    assert_eq!(since(11, 50), [""; 0]);
    // For whoever counts those of any call, it does.
    let any = |from| {
        let counts = LabelWindow::Since(at(from));
        sorted(memory.recent_of_pair(&agent, Some(&sam), counts, at(50)))
    };
    assert_eq!(any(20), names(&["private", "untrusted"]));
    assert_eq!(any(21), names(&["untrusted"]));
    assert_eq!(any(41), [""; 0]);
    assert_eq!(since(10, 3_611), [""; 0]);
}

#[test]
fn what_nobody_has_reported_as_written_is_written_again() {
    let memory = memory();
    let id = "t".into();
    let task = LabelCarrierRef::Task(&id);
    let bring = |labels: &[&'static str]| memory.add(task, &names(labels), false, at(0)).unwrap();
    let (carrier, first) = parts(bring(&["private"]));
    assert_eq!(parts(bring(&["private"])).1, first);
    let (_, both) = parts(bring(&["private", "secret"]));
    assert_eq!(both.len(), 2);
    memory.mark_written(&carrier, &first);
    let (_, left) = parts(bring(&["private", "secret"]));
    assert_eq!(left, both[1..]);
    memory.mark_written(&carrier, &left);
    assert!(bring(&["private", "secret"]).is_none());
    assert!(bring(&[]).is_none());
}

#[test]
fn a_pair_is_written_once_in_a_while() {
    let memory = memory();
    let (agent, sam) = pair();
    let pair = LabelCarrierRef::Pair {
        actor: &agent,
        root: Some(&sam),
    };
    let bring = |now| memory.add(pair, &names(&["x"]), true, at(now)).unwrap();
    let (carrier, written) = parts(bring(0));
    assert_eq!(written[0].through, at(900));
    memory.mark_written(&carrier, &written);
    assert!(bring(1).is_none() && bring(900).is_none());
    let (_, later) = parts(bring(901));
    assert_eq!(later[0].through, at(1_801));
    // What was written of an earlier moment is not what has to be written now.
    memory.mark_written(&carrier, &written);
    assert_eq!(parts(bring(902)).1, later);
}

#[test]
fn what_does_not_fit_is_refused_and_never_forgotten() {
    let memory = CarrierLabels::new(2, HOUR);
    let (agent, sam) = pair();
    let (one, other) = ("t1".into(), "t2".into());
    let pair = LabelCarrierRef::Pair {
        actor: &agent,
        root: Some(&sam),
    };
    let bring = |carrier, now| memory.add(carrier, &names(&["x"]), false, at(now));
    bring(pair, 0).unwrap();
    bring(LabelCarrierRef::Task(&one), 0).unwrap();
    assert!(matches!(
        bring(LabelCarrierRef::Task(&other), 3_600),
        Err(LabelCapacityError)
    ));
    bring(pair, 1).unwrap();
    assert_eq!(memory.len(), 2);
    // Once the pair's time is over there is room.
    bring(LabelCarrierRef::Task(&other), 3_602 + 900).unwrap();
    assert_eq!(memory.len(), 2);
    assert!(
        memory
            .recent_of_pair(&agent, Some(&sam), LabelWindow::All, at(3_602))
            .is_none()
    );
    let many: Vec<SmolStr> = (0..MAX_LABELS).map(|n| n.to_string().into()).collect();
    let full = memory.add(LabelCarrierRef::Task(&one), &many, false, at(0));
    assert_eq!(
        full.unwrap_err(),
        LabelCapacityError,
        "one more than a carrier keeps"
    );
    assert!(
        memory
            .get(LabelCarrierRef::Task(&one))
            .unwrap()
            .items()
            .contains(&"x".into())
    );
}

#[derive(Debug, Clone)]
enum Event {
    Bring {
        carrier: usize,
        label: usize,
        is_loose: bool,
        is_written: bool,
    },
    Restart,
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let bring = (0..4usize, 0..3usize, any::<bool>(), any::<bool>());
    let bring = bring.prop_map(|(carrier, label, is_loose, is_written)| Event::Bring {
        carrier,
        label,
        is_loose,
        is_written,
    });
    let event = prop_oneof![8 => bring, 1 => Just(Event::Restart)];
    let pause = prop_oneof![3 => Just(0), 4 => 1..900u64, 2 => 900..4_000u64];
    proptest::collection::vec((pause, event), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Whatever was answered is known while its time lasts, across restarts, and a quarter of the time longer at most.
    #[test]
    fn what_was_answered_stays_known(events in events()) {
        let mut memory = memory();
        let (agent, sam) = pair();
        let carriers = [
            LabelCarrier::Task("x".into()),
            LabelCarrier::Delegation("x".into()),
            LabelCarrier::Pair { actor: agent.clone(), root: Some(sam) },
            LabelCarrier::Pair { actor: agent, root: None },
        ];
        let labels = names(&["p", "q", "r"]);
        let mut disk: Vec<(LabelCarrier, Vec<LabelTimes>)> = Vec::new();
        // Of each label of each carrier, when an answer that relied on it last left: of any call, and of a loose one.
        let mut answered: BTreeMap<(usize, usize), (u64, Option<u64>)> = BTreeMap::new();
        let mut now = 0;
        for (pause, event) in events {
            now += pause;
            match event {
                Event::Bring { carrier, label, is_loose, is_written } => {
                    let is_pair = carrier > 1;
                    let brought = [labels[label].clone()];
                    let loose = is_loose && is_pair;
                    let write = memory.add(carriers[carrier].as_ref(), &brought, loose, at(now));
                    let write = write.unwrap().map(|write| parts(Some(write)));
                    let has_to_wait = write.is_some();
                    if let (Some((carrier, rows)), true) = (write, is_written) {
                        memory.mark_written(&carrier, &rows);
                        disk.push((carrier, rows));
                    }
                    if is_written || !has_to_wait {
                        let known = answered.entry((carrier, label)).or_insert((now, None));
                        known.0 = now;
                        if loose {
                            known.1 = Some(now);
                        }
                    }
                }
                Event::Restart => {
                    memory = CarrierLabels::new(100, HOUR);
                    memory.restore(on_disk(&disk));
                }
            }
            for ((carrier, label), (any, loose)) in &answered {
                let LabelCarrier::Pair { actor, root } = &carriers[*carrier] else {
                    let known = sorted(memory.get(carriers[*carrier].as_ref()));
                    prop_assert!(known.contains(&labels[*label]));
                    continue;
                };
                let known = |counts| {
                    let known = memory.recent_of_pair(actor, root.as_ref(), counts, at(now));
                    sorted(known).contains(&labels[*label])
                };
                prop_assert!(known(LabelWindow::All) || now - any > 3_600);
                if let Some(loose) = loose {
                    let counts = LabelWindow::LooseSince(at(*loose));
                    prop_assert!(known(counts) || now - loose > 3_600);
                }
            }
        }
        now += 3_600 + 901;
        memory.sweep(at(now));
        prop_assert!(memory.len() <= 2, "pairs are forgotten after their time");
    }
}

#[test]
fn what_another_server_has_written_counts_at_once_and_is_settled_by_a_write_of_its_own() {
    let memory = memory();
    let id = TaskId::from("t1");
    let task = LabelCarrierRef::Task(&id);
    let stored = StoredLabel {
        carrier: LabelCarrier::Task(id.clone()),
        brought: LabelTimes {
            label: "private".into(),
            through: at(5),
            loose_through: None,
        },
    };
    memory.merge([(stored.clone(), false)]);
    assert_eq!(sorted(memory.get(task)), names(&["private"]));
    let bring = || {
        memory
            .add(task, &names(&["private"]), false, at(9))
            .unwrap()
    };
    let (carrier, labels) = parts(bring());
    memory.mark_written(&carrier, &labels);
    assert!(bring().is_none());
    // It comes back from the store, and stays settled; after a restart it does not count as that.
    memory.merge([(stored, true)]);
    assert!(bring().is_none());
    memory.unsettle();
    assert!(bring().is_some());
}
