//! The link-layer addresses of the underlay's next hops, per uplink: a state machine without I/O or clock.
//!
//! It is the management thread's. What it wants to know it asks for ([`Neighbours::tick`]); what the workers hear it is
//! told ([`Neighbours::learned`]); whenever one of those changes a mapping, the outer header templates have to be made
//! anew. States and times are RFC 4861 §7.3's and §10's, in short.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use arrayvec::ArrayVec;
use serde::Serialize;

use crate::packet::{
    Mac,
    arp::{Arp, Operation},
    nd,
};

/// How long a mapping counts as fresh: RFC 4861 §10, REACHABLE_TIME.
pub const FRESH: Duration = Duration::from_secs(30);
/// Time between requests: RFC 4861 §10, RETRANS_TIMER.
pub const RETRY: Duration = Duration::from_secs(1);
/// Unanswered probes after which a mapping is withdrawn: RFC 4861 §10, MAX_UNICAST_SOLICIT.
pub const PROBES: u8 = 3;

/// A next hop: the uplink's number and the address on its link.
pub type Hop = (u16, IpAddr);

/// The next hops that packets need, and what is known of them. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Neighbours {
    wanted: BTreeMap<Hop, Resolution>,
    fixed: BTreeMap<Hop, Mac>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// Nothing known; the next request is due at `next`.
    Incomplete { next: Duration },
    /// Known; the next probe is due at `next`, `probes` are unanswered.
    Reachable { mac: Mac, next: Duration, probes: u8 },
}

/// A request to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The uplink to send it from.
    pub uplink: u16,
    /// The address asked for.
    pub target: IpAddr,
    /// The station to probe; `None` to ask the whole link.
    pub unicast: Option<Mac>,
}

/// What [`Neighbours::tick`] found due.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The requests to send now.
    pub requests: Vec<Request>,
    /// Whether a mapping was withdrawn.
    pub changed: bool,
}

/// How well a neighbour is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Configured, never asked for.
    Static,
    /// Asked for, without an answer so far.
    Incomplete,
    /// Known.
    Reachable,
    /// Known, and asked whether that is still right.
    Probe,
}

/// A neighbour, as shown to an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// The uplink's number.
    pub uplink: u16,
    /// The neighbour's address.
    pub address: IpAddr,
    /// The neighbour's MAC, where known.
    pub mac: Option<Mac>,
    /// How well it is known.
    pub state: State,
}

impl Neighbours {
    /// Replaces the configured entries, which nothing heard on the link overrides.
    pub fn set_static(&mut self, entries: impl IntoIterator<Item = (Hop, Mac)>) {
        self.fixed = entries.into_iter().collect();
    }

    /// Replaces the set of next hops to resolve. What is known of those that stay, stays; the others are forgotten.
    pub fn set_wanted(&mut self, hops: impl IntoIterator<Item = Hop>) {
        let mut known = std::mem::take(&mut self.wanted);
        let asked_at_once = Resolution::Incomplete { next: Duration::ZERO };
        self.wanted =
            hops.into_iter().map(|hop| (hop, known.remove(&hop).unwrap_or(asked_at_once))).collect();
    }

    /// Takes in what was heard on an uplink, and says whether [`Neighbours::resolved`] of a hop changed by it. Of hops that
    /// are not wanted or are configured, it takes nothing.
    pub fn learned(&mut self, now: Duration, uplink: u16, address: IpAddr, mac: Mac) -> bool {
        let hop = (uplink, address);
        let before = self.resolved(uplink, address);
        match self.wanted.get_mut(&hop) {
            Some(entry) if !self.fixed.contains_key(&hop) => {
                *entry = Resolution::Reachable { mac, next: now + FRESH, probes: 0 };
                before != Some(mac)
            }
            _ => false,
        }
    }

    /// Does what is due by `now`.
    pub fn tick(&mut self, now: Duration) -> Due {
        let mut due = Due::default();
        for (hop, entry) in &mut self.wanted {
            if self.fixed.contains_key(hop) {
                continue;
            }
            let unicast = match entry {
                Resolution::Incomplete { next } | Resolution::Reachable { next, .. } if *next > now => {
                    continue;
                }
                Resolution::Reachable { mac, next, probes } if *probes < PROBES => {
                    *probes += 1;
                    *next = now + RETRY;
                    Some(*mac)
                }
                entry => {
                    due.changed |= matches!(entry, Resolution::Reachable { .. });
                    *entry = Resolution::Incomplete { next: now + RETRY };
                    None
                }
            };
            due.requests.push(Request { uplink: hop.0, target: hop.1, unicast });
        }
        due
    }

    /// When [`Neighbours::tick`] has something to do next; `None` as long as nothing is wanted.
    pub fn next_deadline(&self) -> Option<Duration> {
        let open = self.wanted.iter().filter(|(hop, _)| !self.fixed.contains_key(*hop));
        open.map(|(_, entry)| match entry {
            Resolution::Incomplete { next } | Resolution::Reachable { next, .. } => *next,
        })
        .min()
    }

    /// The MAC of a next hop, where known.
    pub fn resolved(&self, uplink: u16, address: IpAddr) -> Option<Mac> {
        let hop = (uplink, address);
        let heard = self.wanted.get(&hop).and_then(|entry| match entry {
            Resolution::Reachable { mac, .. } => Some(*mac),
            Resolution::Incomplete { .. } => None,
        });
        self.fixed.get(&hop).copied().or(heard)
    }

    /// All neighbours, wanted or configured, by uplink and address.
    pub fn snapshot(&self) -> Vec<Neighbour> {
        let fixed = self.fixed.keys().map(|hop| (*hop, State::Static));
        let heard = self.wanted.iter().map(|(hop, entry)| {
            let state = match entry {
                Resolution::Incomplete { .. } => State::Incomplete,
                Resolution::Reachable { probes: 0, .. } => State::Reachable,
                Resolution::Reachable { .. } => State::Probe,
            };
            (*hop, state)
        });
        // Configured entries stand in for those of the same hop.
        let states: BTreeMap<Hop, State> = heard.chain(fixed).collect();
        let neighbour = |((uplink, address), state)| Neighbour {
            uplink,
            address,
            mac: self.resolved(uplink, address),
            state,
        };
        states.into_iter().map(neighbour).collect()
    }
}

/// The frame of a request from the uplink's own MAC and address: ARP, or a neighbour solicitation. `None` where own and
/// target address are of different families.
pub fn build_request(mac: Mac, own: IpAddr, request: &Request) -> Option<ArrayVec<u8, { nd::FRAME }>> {
    let mut frame = ArrayVec::new();
    let written = match (own, request.target) {
        (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) => {
            let target_mac = request.unicast.unwrap_or(Mac::ZERO);
            let arp =
                Arp { operation: Operation::Request, sender_mac: mac, sender_ip, target_mac, target_ip };
            frame.try_extend_from_slice(&arp.frame(request.unicast.unwrap_or(Mac::BROADCAST)))
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            frame.try_extend_from_slice(&nd::solicitation(mac, source, target, request.unicast))
        }
        _ => return None,
    };
    written.ok().map(|()| frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Headers;

    const M: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const N: Mac = Mac([2, 0, 0, 0, 0, 8]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ask(unicast: Option<Mac>) -> Vec<Request> {
        vec![Request { uplink: 0, target: ip("192.0.2.2"), unicast }]
    }

    fn wanting() -> Neighbours {
        let mut neighbours = Neighbours::default();
        neighbours.set_wanted([(0, ip("192.0.2.2"))]);
        neighbours
    }

    #[test]
    fn asks_each_second_until_answered() {
        let mut neighbours = wanting();
        assert_eq!(neighbours.next_deadline(), Some(at(0)));
        assert_eq!(neighbours.tick(at(5)), Due { requests: ask(None), changed: false });
        assert_eq!(neighbours.tick(at(5)), Due::default());
        assert_eq!(neighbours.next_deadline(), Some(at(6)));
        assert_eq!(neighbours.tick(at(6)).requests, ask(None));
        assert!(neighbours.learned(at(6), 0, ip("192.0.2.2"), M));
        assert!(!neighbours.learned(at(6), 0, ip("192.0.2.2"), M), "nothing new");
        assert_eq!(neighbours.resolved(0, ip("192.0.2.2")), Some(M));
        assert_eq!(neighbours.next_deadline(), Some(at(36)));
        assert!(neighbours.learned(at(7), 0, ip("192.0.2.2"), N), "it moved");
    }

    #[test]
    fn probes_a_mapping_and_withdraws_it() {
        let mut neighbours = wanting();
        neighbours.learned(at(0), 0, ip("192.0.2.2"), M);
        assert_eq!(neighbours.tick(at(29)), Due::default());
        for probe in 30..33 {
            assert_eq!(neighbours.tick(at(probe)), Due { requests: ask(Some(M)), changed: false });
            assert_eq!(neighbours.snapshot()[0].state, State::Probe);
        }
        assert_eq!(neighbours.resolved(0, ip("192.0.2.2")), Some(M), "used while it is probed");
        assert_eq!(neighbours.tick(at(33)), Due { requests: ask(None), changed: true });
        assert_eq!(neighbours.resolved(0, ip("192.0.2.2")), None);
    }

    #[test]
    fn an_answered_probe_refreshes() {
        let mut neighbours = wanting();
        neighbours.learned(at(0), 0, ip("192.0.2.2"), M);
        neighbours.tick(at(30));
        assert!(!neighbours.learned(at(30), 0, ip("192.0.2.2"), M));
        assert_eq!(neighbours.next_deadline(), Some(at(60)));
        assert_eq!(neighbours.snapshot()[0].state, State::Reachable);
    }

    #[test]
    fn takes_nothing_of_strangers_nor_against_the_configuration() {
        let mut neighbours = wanting();
        neighbours.set_static([((0, ip("192.0.2.2")), M)]);
        assert!(!neighbours.learned(at(0), 0, ip("192.0.2.2"), N), "configured");
        assert!(!neighbours.learned(at(0), 0, ip("192.0.2.3"), N), "not wanted");
        assert!(!neighbours.learned(at(0), 1, ip("192.0.2.2"), N), "on another uplink");
        assert_eq!(neighbours.resolved(0, ip("192.0.2.2")), Some(M));
        assert_eq!((neighbours.tick(at(99)), neighbours.next_deadline()), (Due::default(), None));
        let shown = Neighbour { uplink: 0, address: ip("192.0.2.2"), mac: Some(M), state: State::Static };
        assert_eq!(neighbours.snapshot(), [shown]);
    }

    #[test]
    fn what_stays_wanted_stays_known() {
        let mut neighbours = wanting();
        neighbours.learned(at(0), 0, ip("192.0.2.2"), M);
        neighbours.set_wanted([(0, ip("192.0.2.2")), (0, ip("192.0.2.3"))]);
        assert_eq!(neighbours.resolved(0, ip("192.0.2.2")), Some(M));
        neighbours.set_wanted([(0, ip("192.0.2.3"))]);
        neighbours.set_wanted([(0, ip("192.0.2.2"))]);
        assert_eq!(neighbours.resolved(0, ip("192.0.2.2")), None, "forgotten");
    }

    #[test]
    fn requests_are_arp_or_solicitations() {
        let request = |target, unicast| Request { uplink: 0, target: ip(target), unicast };
        let build = |own, target, unicast| build_request(M, ip(own), &request(target, unicast));
        let frame = build("192.0.2.1", "192.0.2.2", None).unwrap();
        assert_eq!(frame[..6], Mac::BROADCAST.0);
        assert_eq!(Arp::parse(&frame).unwrap().target_ip, ip("192.0.2.2"));
        assert_eq!(build("192.0.2.1", "192.0.2.2", Some(N)).unwrap()[..6], N.0);
        let frame = build("2001:db8::1", "2001:db8::2", None).unwrap();
        let headers: Headers = crate::packet::parse(&frame).unwrap();
        assert!(matches!(nd::parse(&frame, &headers), Ok(nd::Message::Solicitation { mac: Some(M), .. })));
        assert_eq!(build("192.0.2.1", "2001:db8::2", None), None);
    }
}
