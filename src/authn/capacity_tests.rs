use super::*;

fn held(has_others: bool) -> CallerUsage {
    CallerUsage {
        has_others,
        ..CallerUsage::default()
    }
}

#[test]
fn one_caller_leaves_room_for_others() {
    let all = UsageCount::default();
    let (greedy, modest) = (held(true), held(true));
    let bound = CapacityLimit::new(4, 75, &greedy);
    let taken: Vec<_> = (0..3)
        .map(|_| CapacityPermit::one(&all, &greedy.requests, bound).expect("a place"))
        .collect();
    let refused = CapacityPermit::one(&all, &greedy.requests, bound).map(|_| ());
    assert_eq!(refused, Err(CapacityError::Share));
    let last = CapacityPermit::one(&all, &modest.requests, bound).expect("the reserve");
    let refused = CapacityPermit::one(&all, &modest.requests, bound).map(|_| ());
    assert_eq!(refused, Err(CapacityError::All));
    drop((taken, last));
    assert_eq!((all.get(), greedy.requests.get()), (0, 0));
}

#[test]
fn a_share_is_at_least_one_place_and_all_of_them_for_who_is_alone() {
    assert_eq!(CapacityLimit::new(1, 75, &held(true)).share, 1);
    assert_eq!(CapacityLimit::new(100, 1, &held(true)).share, 1);
    assert_eq!(CapacityLimit::new(100, 75, &held(true)).share, 75);
    assert_eq!(CapacityLimit::new(100, 75, &held(false)).share, 100);
}

#[test]
fn what_did_not_fit_is_not_taken() {
    let all = UsageCount::default();
    let own = UsageCount::default();
    let bound = CapacityLimit {
        limit: 10,
        share: 10,
    };
    let mut taken = CapacityPermit::none(&all, &own);
    taken.grow(8, bound).expect("room");
    // Nobody has to leave room for others, so it is not the share that is used up.
    assert_eq!(taken.grow(3, bound), Err(CapacityError::All));
    let shared = CapacityLimit { share: 9, ..bound };
    assert_eq!(taken.grow(3, shared), Err(CapacityError::Share));
    assert_eq!(taken.grow(usize::MAX, bound), Err(CapacityError::All));
    assert_eq!((all.get(), own.get()), (8, 8));
    taken.shrink_to(2);
    assert_eq!((all.get(), own.get()), (2, 2));
    drop(taken);
    assert_eq!((all.get(), own.get()), (0, 0));
}
