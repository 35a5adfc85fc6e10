//! How connections are tracked: SEC-10, SEC-11 and the check of TCP's sequence numbers.

use warren::{model::AttachmentOptions, packet::Mac, pipeline::Reason, tables::PortIndex};

use crate::{
    frames::{ACK, FIN, RST, SYN, ip, packet},
    lab::*,
};

const OPTIONS: AttachmentOptions = AttachmentOptions::NOTHING_STATED;

/// A segment without data of the connection between a port of A and port 80 of B2.
fn segment(from_a: bool, port: u16, flags: u8, sequence: u32, acknowledgment: u32) -> (PortIndex, Vec<u8>) {
    let ports = if from_a { [port, 80] } else { [80, port] };
    let mut tcp: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    tcp.extend(sequence.to_be_bytes());
    tcp.extend(acknowledgment.to_be_bytes());
    tcp.extend([0x50, flags, 0x04, 0x00, 0, 0, 0, 0]);
    let (a, b2) = (("10.0.1.10", A), ("10.0.1.21", B2));
    let ((source, from), (destination, to)): ((&str, Mac), (&str, Mac)) =
        if from_a { (a, b2) } else { (b2, a) };
    (if from_a { AT_A } else { AT_B2 }, packet(to, from, (ip(source), ip(destination)), 6, &tcp))
}

#[track_caller]
fn passes(lab: &mut Lab, (from, frame): (PortIndex, Vec<u8>)) {
    let to = if from == AT_A { AT_B2 } else { AT_A };
    lab.sends(from, &frame, to, &frame);
}

/// The handshake: the sides' numbers are 101 and 901 then.
fn open(lab: &mut Lab, port: u16) {
    passes(lab, segment(true, port, SYN, 100, 0));
    passes(lab, segment(false, port, SYN | ACK, 900, 101));
    passes(lab, segment(true, port, ACK, 101, 901));
}

#[test]
fn sec_10_a_new_connection_beyond_the_quota_is_refused_and_the_old_ones_stay() {
    let mut lab = Lab::tracking(AttachmentOptions { connections_max: Some(2), ..OPTIONS });
    open(&mut lab, 1);
    open(&mut lab, 2);
    let (from, third) = segment(true, 3, SYN, 100, 0);
    lab.drops(from, &third, Reason::ConntrackFull);
    for port in [1, 2] {
        passes(&mut lab, segment(false, port, ACK, 901, 101));
        passes(&mut lab, segment(true, port, ACK, 101, 901));
    }
    let stats = lab.connections.port_stats(AT_A);
    assert_eq!((stats.established, stats.available, stats.refused), (2, 0, 1));
    // One that is over makes way.
    passes(&mut lab, segment(false, 1, FIN | ACK, 901, 101));
    passes(&mut lab, segment(true, 1, FIN | ACK, 101, 902));
    passes(&mut lab, (from, third));
}

#[test]
fn sec_11_connections_go_with_their_eni() {
    let mut lab = Lab::tracking(OPTIONS);
    (1..=100).for_each(|port| open(&mut lab, port));
    lab.change(|model| model.enis.get_mut("eni-a").unwrap().attachment = None);
    let (from, frame) = segment(false, 1, ACK, 901, 101);
    lab.drops(from, &frame, Reason::Unattached);
    assert_eq!(lab.connections.port_stats(AT_A).established, 100);
    (0..10).for_each(|_| lab.connections.advance(lab.now, 10));
    assert_eq!(lab.connections.port_stats(AT_A).established, 0);
    assert_eq!(lab.connections.port_stats(AT_B2).established, 100);
}

#[test]
fn a_segment_that_nobody_expects_is_dropped_where_windows_are_checked() {
    let mut lab = Lab::tracking(AttachmentOptions { tcp_window_check: true, ..OPTIONS });
    open(&mut lab, 1);
    for sequence in [1 << 20, 1 << 31] {
        let (from, blind) = segment(false, 1, RST, sequence, 0);
        lab.drops(from, &blind, Reason::TcpWindow);
    }
    let (from, blind) = segment(true, 1, ACK, 101, 1 << 30);
    lab.drops(from, &blind, Reason::TcpWindow);
    assert_eq!(lab.connections.port_stats(AT_A).established, 1, "nothing has changed");
    passes(&mut lab, segment(false, 1, RST, 901, 0));
    assert_eq!(lab.connections.port_stats(AT_A).established, 0);
}

#[test]
fn sec_9_ends_that_are_used_again_open_a_new_connection() {
    let mut lab = Lab::tracking(OPTIONS);
    open(&mut lab, 1);
    passes(&mut lab, segment(false, 1, RST, 901, 0));
    open(&mut lab, 1);
    let stats = lab.connections.port_stats(AT_A);
    assert_eq!((stats.established, stats.created, stats.closed), (1, 2, 1));
}
