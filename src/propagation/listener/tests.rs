use std::io::Write;

use crossbeam::channel::{Receiver, bounded};
use ipnet::IpNet;

use super::*;

/// What an RTM_NEWROUTE or RTM_DELROUTE for 10.x.y.0/24 through interface 1 looks like in a frame.
fn frame(n: u16, new: bool) -> Vec<u8> {
    let [x, y] = n.to_be_bytes();
    let route = [2, 24, 0, 0, 254, 186, 0, 1, 0, 0, 0, 0];
    let destination = [&8_u16.to_ne_bytes()[..], &1_u16.to_ne_bytes(), &[10, x, y, 0]].concat();
    let interface = [&8_u16.to_ne_bytes()[..], &4_u16.to_ne_bytes(), &1_u32.to_ne_bytes()].concat();
    let kind: u16 = if new { 24 } else { 25 };
    let header = [&44_u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
    [&[1, 1, 0, 48][..], &header, &route, &destination, &interface].concat()
}

fn start(graceful: Duration, capacity: usize) -> (Intake, Receiver<Event>) {
    let (sender, receiver) = bounded(capacity);
    let settings = Settings { address: "127.0.0.1:0".parse().unwrap(), namespace: None, graceful };
    (Intake::start("vgw-1".into(), &settings, sender).unwrap(), receiver)
}

#[track_caller]
fn next(events: &Receiver<Event>) -> What {
    events.recv_timeout(Duration::from_secs(10)).expect("an event").what
}

#[track_caller]
fn changes(events: &Receiver<Event>) -> Vec<(IpNet, bool)> {
    match next(events) {
        What::Changes(changes) => {
            changes.iter().map(|change| (change.prefix, change.new.is_some())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn down(events: &Receiver<Event>) -> String {
    match next(events) {
        What::Down { why } => why,
        other => panic!("{other:?}"),
    }
}

fn prefix(n: u16) -> IpNet {
    let [x, y] = n.to_be_bytes();
    IpNet::new([10, x, y, 0].into(), 24).unwrap()
}

#[track_caller]
fn dial(intake: &Intake, events: &Receiver<Event>) -> TcpStream {
    let stream = TcpStream::connect(intake.address()).unwrap();
    assert_eq!(next(events), What::Up { from: stream.local_addr().unwrap() });
    stream
}

#[test]
fn bgp_9_a_withdrawal_arrives_at_once() {
    let (intake, events) = start(GRACEFUL, 4);
    let mut zebra = dial(&intake, &events);
    zebra.write_all(&frame(1, true)).unwrap();
    assert_eq!(changes(&events), [(prefix(1), true)]);
    let sent = Instant::now();
    zebra.write_all(&frame(1, false)).unwrap();
    assert_eq!(changes(&events), [(prefix(1), false)]);
    assert!(sent.elapsed() < Duration::from_millis(100), "{:?}", sent.elapsed());
}

#[test]
fn a_fault_ends_the_connection_and_says_what_it_is() {
    let (intake, events) = start(GRACEFUL, 4);
    let mut zebra = dial(&intake, &events);
    zebra.write_all(&[&frame(1, true)[..], b"GET"].concat()).unwrap();
    assert_eq!(changes(&events), [(prefix(1), true)]);
    assert!(down(&events).starts_with("an FPM frame of version 71"), "{:?}", intake.status());
    let mut zebra = dial(&intake, &events);
    zebra.write_all(&frame(1, true)[..20]).unwrap();
    drop(zebra);
    assert_eq!(down(&events), "zebra closed it within a frame");
    let status = intake.status();
    assert_eq!((status.peer, status.routes, status.stale, status.frames), (None, 1, 1, 1));
}

#[test]
fn another_connection_replaces_the_first_and_what_it_does_not_say_goes_late() {
    let (intake, events) = start(Duration::from_millis(300), 4);
    let mut first = dial(&intake, &events);
    first.write_all(&[frame(1, true), frame(2, true)].concat()).unwrap();
    assert_eq!(changes(&events).len(), 2);
    let mut second = TcpStream::connect(intake.address()).unwrap();
    let connected = Instant::now();
    assert_eq!(down(&events), "another connection replaced it");
    assert!(matches!(next(&events), What::Up { .. }));
    second.write_all(&frame(2, true)).unwrap();
    assert_eq!(changes(&events), [(prefix(1), false)]);
    assert!(connected.elapsed() >= Duration::from_millis(250), "{:?}", connected.elapsed());
}

/// A burst that nobody takes is gathered: every prefix once, in few messages, none lost.
#[test]
fn a_burst_becomes_few_changes_while_the_receiver_is_busy() {
    let (intake, events) = start(GRACEFUL, 1);
    let mut zebra = TcpStream::connect(intake.address()).unwrap();
    let rounds = 40;
    for round in 0..rounds {
        let burst: Vec<u8> = (0..1000).flat_map(|n| frame(n, round % 2 == 0 || n == 7)).collect();
        zebra.write_all(&burst).unwrap();
    }
    // The last: all but one are gone.
    let mut messages = 0;
    let mut known = std::collections::BTreeSet::new();
    while intake.status().frames < rounds * 1000
        || !events.is_empty()
        || intake.status().routes != known.len()
    {
        if let Ok(Event { what: What::Changes(changes), .. }) = events.recv_timeout(Duration::from_millis(20))
        {
            messages += 1;
            for change in changes {
                assert_eq!(change.old.is_some(), known.contains(&change.prefix));
                if change.new.is_some() {
                    known.insert(change.prefix)
                } else {
                    known.remove(&change.prefix)
                };
            }
        }
    }
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [prefix(7)]);
    assert!(messages < 200, "{messages} messages");
}

#[test]
fn it_stops_when_dropped_even_if_nobody_listens() {
    let (intake, events) = start(GRACEFUL, 1);
    let mut zebra = TcpStream::connect(intake.address()).unwrap();
    for n in 0..200 {
        zebra.write_all(&frame(n, true)).unwrap();
    }
    let begin = Instant::now();
    drop(intake);
    assert!(begin.elapsed() < Duration::from_secs(2));
    drop(events);
}

#[test]
fn a_namespace_that_is_not_there_is_an_error_with_its_name() {
    let settings = Settings {
        address: "127.0.0.1:0".parse().unwrap(),
        namespace: Some("/run/netns/there-is-none".into()),
        graceful: GRACEFUL,
    };
    let error = Intake::start("vgw-1".into(), &settings, bounded(1).0).err().unwrap();
    assert!(error.to_string().contains("there-is-none"), "{error}");
}
