use super::{FleetStatus, ReplicaStatus, is_well, text};

fn replica(name: &str) -> ReplicaStatus {
    ReplicaStatus {
        id: "1".into(),
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        started_at: 0.0,
        max_staleness_ms: 2_000,
        confirmed_ms_ago: 130.0,
        revision: 7,
        facts: 3,
        bundle_digest: "sha256:a".to_owned(),
        clock_ahead_ms: -3,
    }
}

#[test]
fn a_replica_that_lags_or_is_not_confirmed_is_told() {
    let fleet = FleetStatus {
        history: "s 1 00000001".to_owned(),
        revision: 7,
        facts: 3,
        bundle_digest: Some("sha256:a".to_owned()),
        replicas: vec![
            replica("one/1"),
            ReplicaStatus {
                revision: 5,
                confirmed_ms_ago: 2_600.0,
                bundle_digest: "sha256:b".to_owned(),
                ..replica("two/1")
            },
        ],
    };
    insta::assert_snapshot!(text(&fleet), @r"
    revision  7
    bundle    sha256:a
    database  s 1 00000001
    one/1  0.1.0
      revision  7, 0 behind
      lease     confirmed 130 ms ago, decides for 2000 ms
      bundle    sha256:a
    two/1  0.1.0
      revision  5, 2 behind
      lease     NOT CONFIRMED for 2.6 s: it decides nothing
      bundle    sha256:b  (NOT THE ONE PUT INTO SERVICE LAST)
    ");
}

#[test]
fn a_fleet_is_well_once_as_many_as_expected_decide_by_all_that_is_in_force() {
    let fleet = |replicas: Vec<ReplicaStatus>| FleetStatus {
        history: "s 1 00000001".to_owned(),
        revision: 7,
        facts: 3,
        bundle_digest: Some("sha256:a".to_owned()),
        replicas,
    };
    let with = |other: ReplicaStatus| is_well(&fleet(vec![replica("one/1"), other]), 2);
    assert!(with(replica("two/1")));
    assert!(
        !is_well(&fleet(vec![replica("one/1")]), 2),
        "one is missing"
    );
    assert!(!is_well(&fleet(Vec::new()), 0), "nobody is there");
    assert!(!with(ReplicaStatus {
        revision: 6,
        ..replica("lags")
    }));
    assert!(!with(ReplicaStatus {
        confirmed_ms_ago: 2_600.0,
        ..replica("unconfirmed")
    }));
    assert!(!with(ReplicaStatus {
        bundle_digest: String::new(),
        ..replica("has just come")
    }));
}

#[test]
fn a_clock_that_is_not_believed_and_a_name_that_two_have_are_told() {
    let fleet = FleetStatus {
        history: "s 1 00000001".to_owned(),
        revision: 7,
        facts: 3,
        bundle_digest: Some("sha256:a".to_owned()),
        replicas: vec![
            ReplicaStatus {
                clock_ahead_ms: -3_600_000,
                ..replica("one/1")
            },
            ReplicaStatus {
                id: "2".into(),
                ..replica("two")
            },
            ReplicaStatus {
                id: "3".into(),
                ..replica("two")
            },
        ],
    };
    let said = text(&fleet);
    assert!(
        said.contains("clock     3600 s BEHIND THE DATABASE'S"),
        "{said}"
    );
    assert_eq!(said.matches("decides nothing").count(), 1, "{said}");
    assert_eq!(
        said.matches("two  0.1.0  (ANOTHER ONE HAS THIS NAME)")
            .count(),
        2
    );
    assert!(!is_well(&fleet, 2));
    let mut twins = fleet;
    twins.replicas.remove(0);
    assert!(!is_well(&twins, 1), "two have one name");
    twins.replicas.remove(0);
    assert!(is_well(&twins, 1));
}
