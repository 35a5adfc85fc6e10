//! What an instance finds out about a path: its length and its MTU.

use std::net::IpAddr;

use crate::lab::{netns::Netns, setup::Setup};

/// What `tracepath` finds: the hops to the destination, and the path's MTU.
#[track_caller]
fn tracepath(guest: &Netns, to: impl Into<IpAddr>) -> (u32, u32) {
    let to = to.into();
    let report = guest.run("tracepath", "iputils-tracepath", &format!("-n {to}")).ok();
    // `Resume: pmtu 1500 hops 1 back 1`, after a line for each hop.
    let last = report.lines().find(|line| line.contains("Resume:")).unwrap_or_else(|| panic!("{report}"));
    let number = |name: &str| {
        let mut words = last.split_whitespace().skip_while(|word| *word != name).skip(1);
        words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {name}: {report}"))
    };
    (number("hops"), number("pmtu"))
}

#[track_caller]
fn direct(lab: &Setup, mtu: u32) {
    for eni in &lab.enis[1..] {
        assert_eq!(tracepath(&lab.guests[0], eni.v4()), (1, mtu), "{}", eni.v4());
        assert_eq!(tracepath(&lab.guests[0], eni.v6()), (1, mtu), "{}", eni.v6());
    }
}

/// FWD-5, MTU-1: in a VPC every destination is the first hop, in the subnet and across.
#[test]
fn fwd_5_every_destination_is_the_first_hop() {
    direct(&Setup::usual(), 1500);
}

/// FWD-5, MTU-1: with jumbo frames.
#[test]
fn fwd_5_mtu_1_with_9001_bytes() {
    direct(&Setup::jumbo(), 9001);
}
