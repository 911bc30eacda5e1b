use super::*;
use crate::authn::connection::ConnectionRequest;

const NEAR: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

fn limiter(connections: u32, percent: u32) -> (ConnectionLimiter, Arc<ServerLoad>) {
    let limits = Limits {
        connections,
        stranger_connections_percent: percent,
        ..Limits::default()
    };
    let load = Arc::new(ServerLoad::default());
    (ConnectionLimiter::new(&limits, Arc::clone(&load)), load)
}

fn enter(limiter: &ConnectionLimiter) -> ConnectionPermit {
    limiter.enter(NEAR).expect("room")
}

#[test]
fn a_new_connection_closes_the_oldest_silent_stranger() {
    let (limiter, load) = limiter(8, 25);
    let (first, second) = (enter(&limiter), enter(&limiter));
    let third = enter(&limiter);
    assert!(first.connection().is_closed());
    assert!(!second.connection().is_closed() && !third.connection().is_closed());
    assert_eq!((limiter.open(), load.strangers.get()), (2, 2));
    assert_eq!(load.rejections().pushed_out, 1);
    drop((first, second, third));
    assert_eq!((limiter.open(), load.strangers.get()), (0, 0));
}

#[test]
fn who_has_something_under_way_is_closed_last() {
    let (limiter, _) = limiter(8, 25);
    let (first, second) = (enter(&limiter), enter(&limiter));
    let asked = ConnectionRequest::new(first.connection());
    let third = enter(&limiter);
    assert!(second.connection().is_closed() && !first.connection().is_closed());
    let also = ConnectionRequest::new(third.connection());
    let _fourth = enter(&limiter);
    assert!(first.connection().is_closed() && !third.connection().is_closed());
    drop((asked, also));
}

#[test]
fn the_known_are_never_closed_and_fill_the_gate() {
    let (limiter, load) = limiter(4, 25);
    let known: Vec<_> = (0..4)
        .map(|_| {
            let pass = enter(&limiter);
            pass.connection().mark_authenticated();
            pass
        })
        .collect();
    assert!(limiter.enter(NEAR).is_none(), "nobody to close");
    assert_eq!(load.rejections().connections, 1);
    assert!(known.iter().all(|it| !it.connection().is_closed()));
    drop(known);
    assert!(limiter.enter(NEAR).is_some());
}

#[test]
fn a_stranger_makes_room_for_a_new_connection_when_all_the_rest_is_known() {
    let (limiter, _) = limiter(2, 100);
    let known = enter(&limiter);
    known.connection().mark_authenticated();
    let stranger = enter(&limiter);
    let new = enter(&limiter);
    assert!(stranger.connection().is_closed());
    assert!(!known.connection().is_closed() && !new.connection().is_closed());
}

#[test]
fn one_address_of_another_machine_has_a_part_of_the_strangers_room() {
    let (limiter, _) = limiter(32, 25);
    let far = |last| Some(IpAddr::from([192, 0, 2, last]));
    let other = limiter.enter(far(1)).expect("room");
    let from_one: Vec<_> = (0..6).filter_map(|_| limiter.enter(far(2))).collect();
    let open = |it: &&ConnectionPermit| !it.connection().is_closed();
    assert_eq!(from_one.iter().filter(open).count(), 2);
    assert!(!other.connection().is_closed());
}

#[test]
fn the_patience_is_that_of_the_limits() {
    let (limiter, _) = limiter(1, 100);
    assert_eq!(limiter.idle_timeouts().first, Duration::from_secs(30));
    assert_eq!(limiter.idle_timeouts().idle, Duration::from_secs(900));
}
