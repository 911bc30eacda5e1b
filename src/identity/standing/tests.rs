use super::*;

const PATIENCE: Patience = Patience {
    first: Duration::from_millis(20),
    idle: Duration::from_secs(60),
};

#[test]
fn a_connection_counts_as_a_strangers_until_somebody_known_asks() {
    let (connections, strangers) = (Count::default(), Count::default());
    let standing = Standing::new(&connections, &strangers);
    assert_eq!((connections.get(), strangers.get()), (1, 1));
    standing.prove();
    standing.prove();
    assert_eq!((connections.get(), strangers.get()), (1, 0));
    standing.close();
    standing.leave();
    assert_eq!((connections.get(), strangers.get()), (0, 0));
}

#[test]
fn who_leaves_as_a_stranger_is_counted_out_once() {
    let (connections, strangers) = (Count::default(), Count::default());
    let standing = Standing::new(&connections, &strangers);
    standing.close();
    standing.prove();
    standing.leave();
    assert!(standing.is_closed());
    assert_eq!((connections.get(), strangers.get()), (0, 0));
}

#[test]
fn silence_is_measured_from_the_last_request() {
    let standing = Arc::new(Standing::default());
    assert!(standing.patient_until(PATIENCE).is_some());
    std::thread::sleep(Duration::from_millis(30));
    assert!(
        standing.patient_until(PATIENCE).is_none(),
        "never asked anything"
    );
    let asked = Asked::through(&standing);
    assert!(standing.is_busy() && standing.patient_until(PATIENCE).is_some());
    drop(asked);
    assert!(!standing.is_busy() && standing.patient_until(PATIENCE).is_some());
    let hasty = Patience {
        idle: Duration::from_millis(1),
        ..PATIENCE
    };
    std::thread::sleep(Duration::from_millis(5));
    assert!(standing.patient_until(hasty).is_none());
}
