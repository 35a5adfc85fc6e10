//! The allowances of an ENI, as its attachment states them (QT-9): bandwidth, packets, connections.

use std::time::Duration;

use warren::{
    model::{Allowance, AttachmentOptions},
    pipeline::Reason,
};

use crate::{
    frames::{Outer, datagram, ip, packet, udp},
    lab::*,
};

const OPTIONS: AttachmentOptions = AttachmentOptions::NOTHING_STATED;

/// So many of a second, and as many at once.
fn a_second(rate: u64) -> Option<Allowance> {
    Some(Allowance { rate, burst: rate })
}

/// What A sends to B2.
fn out() -> Vec<u8> {
    datagram(B2, A, "10.0.1.10", "10.0.1.21")
}

/// What B2 sends to A.
fn back() -> Vec<u8> {
    datagram(A, B2, "10.0.1.21", "10.0.1.10")
}

#[test]
fn bandwidth_is_of_frames_by_direction_and_comes_back_with_time() {
    let bits = out().len() as u64 * 8;
    let mut lab = Lab::tracking(AttachmentOptions {
        bandwidth_out: a_second(3 * bits),
        bandwidth_in: a_second(bits),
        ..OPTIONS
    });
    for _ in 0..3 {
        lab.sends(AT_A, &out(), AT_B2, &out());
    }
    lab.drops(AT_A, &out(), Reason::BwOut);
    // What comes in has an allowance of its own, and is counted at the port that it is for.
    lab.sends(AT_B2, &back(), AT_A, &back());
    lab.drops(AT_B2, &back(), Reason::BwIn);
    assert_eq!(lab.counters.port(AT_A).drops(Reason::BwIn), 1);
    // Nobody else has one.
    let others = datagram(FW, B2, "10.0.1.21", "10.0.1.30");
    for _ in 0..100 {
        lab.sends(AT_B2, &others, AT_FW, &others);
    }
    lab.now += Duration::from_millis(334);
    lab.sends(AT_A, &out(), AT_B2, &out());
    lab.drops(AT_A, &out(), Reason::BwOut);
}

#[test]
fn packets_are_of_both_directions_and_whatever_becomes_of_them() {
    let mut lab = Lab::tracking(AttachmentOptions { packets: a_second(4), ..OPTIONS });
    lab.sends(AT_A, &out(), AT_B2, &out());
    lab.sends(AT_B2, &back(), AT_A, &back());
    // What A is refused, costs it; what others are refused on the way to A, does not.
    lab.drops(AT_A, &datagram(B2, A, "10.0.9.9", "10.0.1.21"), Reason::SrcCheck);
    let spoofed = datagram(A, B, "10.0.1.20", "10.0.1.99");
    lab.drops(UPLINK, &Outer::new(VXLAN, 2, V, None).around(&spoofed), Reason::DstCheck);
    lab.sends(AT_A, &out(), AT_B2, &out());
    lab.drops(AT_A, &out(), Reason::Pps);
    lab.drops(AT_B2, &back(), Reason::Pps);
}

#[test]
fn a_burst_passes_as_far_as_the_allowance_goes_in_order() {
    let mut lab = Lab::tracking(AttachmentOptions { packets: a_second(5), ..OPTIONS });
    let numbered = |port: u16| packet(B2, A, (ip("10.0.1.10"), ip("10.0.1.21")), 17, &udp(port, 9, b""));
    let frames: Vec<_> = (1..=9).map(numbered).collect();
    let outcomes = lab.burst(AT_A, frames.iter().map(|frame| warren::packet::HeapBuffer::new(frame)));
    let sent = frames[..5].iter().map(|frame| Outcome::Sent(AT_B2, frame.clone()));
    let expected: Vec<_> = sent.chain((0..4).map(|_| Outcome::Dropped(Reason::Pps))).collect();
    assert_eq!(outcomes, expected);
}

#[test]
fn new_connections_are_limited_and_known_ones_are_not() {
    let mut lab = Lab::tracking(AttachmentOptions { connections: a_second(2), ..OPTIONS });
    let to = |port: u16| packet(B2, A, (ip("10.0.1.10"), ip("10.0.1.21")), 17, &udp(4000, port, b""));
    for port in [1, 2] {
        lab.sends(AT_A, &to(port), AT_B2, &to(port));
    }
    lab.drops(AT_A, &to(3), Reason::ConnectionsLimited);
    for _ in 0..10 {
        lab.sends(AT_A, &to(1), AT_B2, &to(1));
    }
    lab.now += Duration::from_millis(500);
    lab.sends(AT_A, &to(3), AT_B2, &to(3));
}

#[test]
fn what_is_not_tracked_is_no_connection() {
    let mut lab = Lab::new(VXLAN);
    lab.change(|model| {
        let at = model.enis.get_mut("eni-a").unwrap().attachment.as_mut().unwrap();
        at.options = Some(Box::new(AttachmentOptions { connections: a_second(1), ..OPTIONS }));
    });
    for port in 1..10 {
        let frame = packet(B2, A, (ip("10.0.1.10"), ip("10.0.1.21")), 17, &udp(4000, port, b""));
        lab.sends(AT_A, &frame, AT_B2, &frame);
    }
}

#[test]
fn a_changed_allowance_holds_at_once_and_none_ends_it() {
    let mut lab = Lab::tracking(AttachmentOptions { packets: a_second(1), ..OPTIONS });
    lab.sends(AT_A, &out(), AT_B2, &out());
    lab.drops(AT_A, &out(), Reason::Pps);
    lab.change(|model| {
        model.enis.get_mut("eni-a").unwrap().attachment.as_mut().unwrap().options = None;
    });
    for _ in 0..10 {
        lab.sends(AT_A, &out(), AT_B2, &out());
    }
}
