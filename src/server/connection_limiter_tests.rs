use super::*;
use crate::authn::connection::ConnectionRequest;

const NEAR: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

fn gate(connections: u32, percent: u32) -> (ConnectionLimiter, Arc<ServerLoad>) {
    let limits = Limits {
        connections,
        stranger_connections_percent: percent,
        ..Limits::default()
    };
    let load = Arc::new(ServerLoad::default());
    (ConnectionLimiter::new(&limits, Arc::clone(&load)), load)
}

fn enter(gate: &ConnectionLimiter) -> ConnectionPermit {
    gate.enter(NEAR).expect("room")
}

#[test]
fn a_new_connection_closes_the_oldest_silent_stranger() {
    let (gate, load) = gate(8, 25);
    let (first, second) = (enter(&gate), enter(&gate));
    let third = enter(&gate);
    assert!(first.standing().is_closed());
    assert!(!second.standing().is_closed() && !third.standing().is_closed());
    assert_eq!((gate.open(), load.strangers.get()), (2, 2));
    assert_eq!(load.turned_away().pushed_out, 1);
    drop((first, second, third));
    assert_eq!((gate.open(), load.strangers.get()), (0, 0));
}

#[test]
fn who_has_something_under_way_is_closed_last() {
    let (gate, _) = gate(8, 25);
    let (first, second) = (enter(&gate), enter(&gate));
    let asked = ConnectionRequest::new(first.standing());
    let third = enter(&gate);
    assert!(second.standing().is_closed() && !first.standing().is_closed());
    let also = ConnectionRequest::new(third.standing());
    let _fourth = enter(&gate);
    assert!(first.standing().is_closed() && !third.standing().is_closed());
    drop((asked, also));
}

#[test]
fn the_known_are_never_closed_and_fill_the_gate() {
    let (gate, load) = gate(4, 25);
    let known: Vec<_> = (0..4)
        .map(|_| {
            let pass = enter(&gate);
            pass.standing().mark_authenticated();
            pass
        })
        .collect();
    assert!(gate.enter(NEAR).is_none(), "nobody to close");
    assert_eq!(load.turned_away().connections, 1);
    assert!(known.iter().all(|it| !it.standing().is_closed()));
    drop(known);
    assert!(gate.enter(NEAR).is_some());
}

#[test]
fn a_stranger_makes_room_for_a_new_connection_when_all_the_rest_is_known() {
    let (gate, _) = gate(2, 100);
    let known = enter(&gate);
    known.standing().mark_authenticated();
    let stranger = enter(&gate);
    let new = enter(&gate);
    assert!(stranger.standing().is_closed());
    assert!(!known.standing().is_closed() && !new.standing().is_closed());
}

#[test]
fn one_address_of_another_machine_has_a_part_of_the_strangers_room() {
    let (gate, _) = gate(32, 25);
    let far = |last| Some(IpAddr::from([192, 0, 2, last]));
    let other = gate.enter(far(1)).expect("room");
    let from_one: Vec<_> = (0..6).filter_map(|_| gate.enter(far(2))).collect();
    let open = |it: &&ConnectionPermit| !it.standing().is_closed();
    assert_eq!(from_one.iter().filter(open).count(), 2);
    assert!(!other.standing().is_closed());
}

#[test]
fn the_patience_is_that_of_the_limits() {
    let (gate, _) = gate(1, 100);
    assert_eq!(gate.patience().first, Duration::from_secs(30));
    assert_eq!(gate.patience().idle, Duration::from_secs(900));
}
