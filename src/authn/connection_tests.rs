use super::*;

const PATIENCE: IdleTimeouts = IdleTimeouts {
    first: Duration::from_millis(20),
    idle: Duration::from_secs(60),
};

#[test]
fn a_connection_counts_as_a_strangers_until_somebody_known_asks() {
    let (connections, strangers) = (UsageCount::default(), UsageCount::default());
    let standing = ConnectionState::new(&connections, &strangers);
    assert_eq!((connections.get(), strangers.get()), (1, 1));
    standing.mark_authenticated();
    standing.mark_authenticated();
    assert_eq!((connections.get(), strangers.get()), (1, 0));
    standing.close();
    standing.leave();
    assert_eq!((connections.get(), strangers.get()), (0, 0));
}

#[test]
fn who_leaves_as_a_stranger_is_counted_out_once() {
    let (connections, strangers) = (UsageCount::default(), UsageCount::default());
    let standing = ConnectionState::new(&connections, &strangers);
    standing.close();
    standing.mark_authenticated();
    standing.leave();
    assert!(standing.is_closed());
    assert_eq!((connections.get(), strangers.get()), (0, 0));
}

#[test]
fn silence_is_measured_from_the_last_request() {
    let standing = Arc::new(ConnectionState::default());
    assert!(standing.idle_deadline(PATIENCE).is_some());
    std::thread::sleep(Duration::from_millis(30));
    assert!(
        standing.idle_deadline(PATIENCE).is_none(),
        "never asked anything"
    );
    let asked = ConnectionRequest::new(&standing);
    assert!(standing.is_busy() && standing.idle_deadline(PATIENCE).is_some());
    drop(asked);
    assert!(!standing.is_busy() && standing.idle_deadline(PATIENCE).is_some());
    let hasty = IdleTimeouts {
        idle: Duration::from_millis(1),
        ..PATIENCE
    };
    std::thread::sleep(Duration::from_millis(5));
    assert!(standing.idle_deadline(hasty).is_none());
}

#[test]
fn what_came_after_a_moment_was_not_behind_at_it() {
    let connection = ConnectionState::default();
    let before = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    connection.note_read();
    let later = Instant::now() + Duration::from_secs(1);
    assert_eq!(connection.behind_at(before), Duration::ZERO);
    assert!(connection.behind_at(later) >= Duration::from_secs(1));
    connection.note_all_read();
    assert_eq!(connection.behind_at(later), Duration::ZERO);
}
