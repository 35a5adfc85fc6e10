//! The link-layer addresses of the next hops on uplinks and gateway ports, per link: a state machine without I/O or clock.
//!
//! It is the management thread's. What it wants to know it asks for ([`Neighbours::tick`]); what the workers hear it is
//! told ([`Neighbours::learned`]); whenever one of those changes a mapping, what the workers have of it has to be made
//! anew. States and times are RFC 4861 §7.3's and §10's, in short.
//!
//! Hops are wanted until further notice ([`Neighbours::set_wanted`]), or because a packet waits for them
//! ([`Neighbours::want`]): those stay as long as they answer.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use arrayvec::ArrayVec;
use serde::Serialize;

use crate::{
    packet::{
        Mac,
        arp::{Arp, Operation},
        nd,
    },
    tables::PortIndex,
};

/// How long a mapping counts as fresh: RFC 4861 §10, REACHABLE_TIME.
pub const FRESH: Duration = Duration::from_secs(30);
/// Time between requests: RFC 4861 §10, RETRANS_TIMER.
pub const RETRY: Duration = Duration::from_secs(1);
/// Unanswered probes after which a mapping is withdrawn: RFC 4861 §10, MAX_UNICAST_SOLICIT.
pub const PROBES: u8 = 3;

/// Requests to a whole link after which a hop that only packets asked for is forgotten: RFC 4861 §10,
/// MAX_MULTICAST_SOLICIT.
pub const ATTEMPTS: u8 = 3;
/// The most hops that only packets asked for, so that a scan costs no more memory than this.
pub const MOST_ASKED_FOR: usize = 4096;

/// A link: a VLAN of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The port.
    pub port: PortIndex,
    /// The VLAN; 0 for frames without a tag.
    pub vlan: u16,
}

impl Link {
    /// The frames of a port that carry no tag.
    pub fn untagged(port: PortIndex) -> Self {
        Self { port, vlan: 0 }
    }
}

/// A next hop: the link and the address on it.
pub type Hop = (Link, IpAddr);

/// The next hops that packets need, and what is known of them. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// The hops wanted until further notice.
    wanted: BTreeMap<Hop, Resolution>,
    /// The hops that packets asked for.
    asked_for: BTreeMap<Hop, Resolution>,
    fixed: BTreeMap<Hop, Mac>,
    /// Nothing is due before.
    quiet_until: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// Nothing known; the next request is due at `next`, `attempts` are unanswered.
    Incomplete { next: Duration, attempts: u8 },
    /// Known; the next probe is due at `next`, `probes` are unanswered.
    Reachable { mac: Mac, next: Duration, probes: u8 },
}

/// A request to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The link to send it on.
    pub link: Link,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link that it is on.
    pub link: Link,
    /// The neighbour's address.
    pub address: IpAddr,
    /// The neighbour's MAC, where known.
    pub mac: Option<Mac>,
    /// How well it is known.
    pub state: State,
}

impl Resolution {
    /// Nothing known, to be asked for at once.
    const NEW: Self = Self::Incomplete { next: Duration::ZERO, attempts: 0 };

    fn mac(&self) -> Option<Mac> {
        match self {
            Self::Reachable { mac, .. } => Some(*mac),
            Self::Incomplete { .. } => None,
        }
    }

    fn next(&self) -> Duration {
        match self {
            Self::Incomplete { next, .. } | Self::Reachable { next, .. } => *next,
        }
    }

    /// Goes on by a request that is due: whom to ask, `None` for the whole link.
    fn ask(&mut self, now: Duration) -> Option<Mac> {
        let retry = now + RETRY;
        match self {
            Self::Reachable { mac, next, probes } if *probes < PROBES => {
                *probes += 1;
                *next = retry;
                Some(*mac)
            }
            Self::Reachable { .. } => {
                *self = Self::Incomplete { next: retry, attempts: 1 };
                None
            }
            Self::Incomplete { next, attempts } => {
                *attempts = attempts.saturating_add(1);
                *next = retry;
                None
            }
        }
    }
}

impl Neighbours {
    /// Replaces the configured entries, which nothing heard on the link overrides.
    pub fn set_static(&mut self, entries: impl IntoIterator<Item = (Hop, Mac)>) {
        self.fixed = entries.into_iter().collect();
    }

    /// Replaces the set of next hops to resolve. What is known of those that stay, stays; the others are forgotten.
    pub fn set_wanted(&mut self, hops: impl IntoIterator<Item = Hop>) {
        let mut known = std::mem::take(&mut self.wanted);
        let mut of = |hop: Hop| {
            let asked_for = self.asked_for.remove(&hop);
            (hop, known.remove(&hop).or(asked_for).unwrap_or(Resolution::NEW))
        };
        self.wanted = hops.into_iter().map(&mut of).collect();
        self.quiet_until = Duration::ZERO;
    }

    /// A packet waits for a next hop: asks for it, and keeps it as long as it answers. Of more than [`MOST_ASKED_FOR`] at
    /// once it takes no notice.
    pub fn want(&mut self, hop: Hop) {
        let known = self.wanted.contains_key(&hop) || self.asked_for.contains_key(&hop);
        if !known && !self.fixed.contains_key(&hop) && self.asked_for.len() < MOST_ASKED_FOR {
            self.asked_for.insert(hop, Resolution::NEW);
            self.quiet_until = Duration::ZERO;
        }
    }

    /// Forgets the hops that packets asked for of which `keep` says so.
    pub fn retain_asked_for(&mut self, mut keep: impl FnMut(&Hop) -> bool) {
        self.asked_for.retain(|hop, _| keep(hop));
    }

    /// Takes in what was heard on a link, and says whether [`Neighbours::resolved`] of a hop changed by it. Of hops that
    /// are not wanted or are configured, it takes nothing.
    pub fn learned(&mut self, now: Duration, link: Link, address: IpAddr, mac: Mac) -> bool {
        let hop = (link, address);
        let before = self.resolved(link, address);
        match self.wanted.get_mut(&hop).or_else(|| self.asked_for.get_mut(&hop)) {
            Some(entry) if !self.fixed.contains_key(&hop) => {
                *entry = Resolution::Reachable { mac, next: now + FRESH, probes: 0 };
                self.quiet_until = self.quiet_until.min(now + FRESH);
                before != Some(mac)
            }
            _ => false,
        }
    }

    /// Does what is due by `now`.
    pub fn tick(&mut self, now: Duration) -> Due {
        let mut due = Due::default();
        if now < self.quiet_until {
            return due;
        }
        let Self { wanted, asked_for, fixed, .. } = self;
        let mut ask = |hop: &Hop, entry: &mut Resolution| {
            if fixed.contains_key(hop) || entry.next() > now {
                return;
            }
            let before = entry.mac();
            let unicast = entry.ask(now);
            due.changed |= before != entry.mac();
            due.requests.push(Request { link: hop.0, target: hop.1, unicast });
        };
        wanted.iter_mut().for_each(|(hop, entry)| ask(hop, entry));
        asked_for.retain(|hop, entry| {
            let given_up = |entry: &Resolution| matches!(entry, Resolution::Incomplete { next, attempts } if *next <= now && *attempts >= ATTEMPTS);
            let keep = !given_up(entry);
            if keep {
                ask(hop, entry);
            }
            keep
        });
        self.quiet_until = self.next_deadline().unwrap_or(Duration::MAX);
        due
    }

    /// When [`Neighbours::tick`] has something to do next; `None` as long as nothing is wanted.
    pub fn next_deadline(&self) -> Option<Duration> {
        let open = self.known().filter(|(hop, _)| !self.fixed.contains_key(*hop));
        open.map(|(_, entry)| entry.next()).min()
    }

    /// The MAC of a next hop, where known.
    pub fn resolved(&self, link: Link, address: IpAddr) -> Option<Mac> {
        let hop = (link, address);
        let heard = || self.wanted.get(&hop).or_else(|| self.asked_for.get(&hop)).and_then(Resolution::mac);
        self.fixed.get(&hop).copied().or_else(heard)
    }

    fn known(&self) -> impl Iterator<Item = (&Hop, &Resolution)> {
        self.wanted.iter().chain(&self.asked_for)
    }

    /// All neighbours, wanted or configured, by link and address.
    pub fn snapshot(&self) -> Vec<Neighbour> {
        let fixed = self.fixed.keys().map(|hop| (*hop, State::Static));
        let heard = self.known().map(|(hop, entry)| {
            let state = match entry {
                Resolution::Incomplete { .. } => State::Incomplete,
                Resolution::Reachable { probes: 0, .. } => State::Reachable,
                Resolution::Reachable { .. } => State::Probe,
            };
            (*hop, state)
        });
        // Configured entries stand in for those of the same hop.
        let states: BTreeMap<Hop, State> = heard.chain(fixed).collect();
        let neighbour =
            |((link, address), state)| Neighbour { link, address, mac: self.resolved(link, address), state };
        states.into_iter().map(neighbour).collect()
    }
}

/// The frame, without a tag, of a request from the port's own MAC and address on the link: ARP, or a neighbour solicitation. `None` where own and
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

    const LINK: Link = Link { port: PortIndex(0), vlan: 0 };
    const OTHER: Link = Link { port: PortIndex(0), vlan: 7 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ask(unicast: Option<Mac>) -> Vec<Request> {
        vec![Request { link: LINK, target: ip("192.0.2.2"), unicast }]
    }

    fn wanting() -> Neighbours {
        let mut neighbours = Neighbours::default();
        neighbours.set_wanted([(LINK, ip("192.0.2.2"))]);
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
        assert!(neighbours.learned(at(6), LINK, ip("192.0.2.2"), M));
        assert!(!neighbours.learned(at(6), LINK, ip("192.0.2.2"), M), "nothing new");
        assert_eq!(neighbours.resolved(LINK, ip("192.0.2.2")), Some(M));
        assert_eq!(neighbours.next_deadline(), Some(at(36)));
        assert!(neighbours.learned(at(7), LINK, ip("192.0.2.2"), N), "it moved");
    }

    #[test]
    fn probes_a_mapping_and_withdraws_it() {
        let mut neighbours = wanting();
        neighbours.learned(at(0), LINK, ip("192.0.2.2"), M);
        assert_eq!(neighbours.tick(at(29)), Due::default());
        for probe in 30..33 {
            assert_eq!(neighbours.tick(at(probe)), Due { requests: ask(Some(M)), changed: false });
            assert_eq!(neighbours.snapshot()[0].state, State::Probe);
        }
        assert_eq!(neighbours.resolved(LINK, ip("192.0.2.2")), Some(M), "used while it is probed");
        assert_eq!(neighbours.tick(at(33)), Due { requests: ask(None), changed: true });
        assert_eq!(neighbours.resolved(LINK, ip("192.0.2.2")), None);
    }

    #[test]
    fn an_answered_probe_refreshes() {
        let mut neighbours = wanting();
        neighbours.learned(at(0), LINK, ip("192.0.2.2"), M);
        neighbours.tick(at(30));
        assert!(!neighbours.learned(at(30), LINK, ip("192.0.2.2"), M));
        assert_eq!(neighbours.next_deadline(), Some(at(60)));
        assert_eq!(neighbours.snapshot()[0].state, State::Reachable);
    }

    #[test]
    fn takes_nothing_of_strangers_nor_against_the_configuration() {
        let mut neighbours = wanting();
        neighbours.set_static([((LINK, ip("192.0.2.2")), M)]);
        assert!(!neighbours.learned(at(0), LINK, ip("192.0.2.2"), N), "configured");
        assert!(!neighbours.learned(at(0), LINK, ip("192.0.2.3"), N), "not wanted");
        assert!(!neighbours.learned(at(0), OTHER, ip("192.0.2.2"), N), "on another link");
        assert_eq!(neighbours.resolved(LINK, ip("192.0.2.2")), Some(M));
        assert_eq!((neighbours.tick(at(99)), neighbours.next_deadline()), (Due::default(), None));
        let shown = Neighbour { link: LINK, address: ip("192.0.2.2"), mac: Some(M), state: State::Static };
        assert_eq!(neighbours.snapshot(), [shown]);
    }

    #[test]
    fn what_stays_wanted_stays_known() {
        let mut neighbours = wanting();
        neighbours.learned(at(0), LINK, ip("192.0.2.2"), M);
        neighbours.set_wanted([(LINK, ip("192.0.2.2")), (LINK, ip("192.0.2.3"))]);
        assert_eq!(neighbours.resolved(LINK, ip("192.0.2.2")), Some(M));
        neighbours.set_wanted([(LINK, ip("192.0.2.3"))]);
        neighbours.set_wanted([(LINK, ip("192.0.2.2"))]);
        assert_eq!(neighbours.resolved(LINK, ip("192.0.2.2")), None, "forgotten");
    }

    #[test]
    fn what_a_packet_asked_for_stays_as_long_as_it_answers() {
        let mut neighbours = Neighbours::default();
        let (there, gone) = ((OTHER, ip("192.0.2.2")), (LINK, ip("192.0.2.2")));
        assert_eq!(neighbours.tick(at(0)), Due::default());
        neighbours.want(there);
        neighbours.want(gone);
        neighbours.want(gone);
        assert_eq!(neighbours.tick(at(1)).requests.len(), 2);
        assert!(neighbours.learned(at(1), OTHER, there.1, M));
        assert_eq!(neighbours.tick(at(2)).requests, ask(None));
        assert_eq!(neighbours.tick(at(3)).requests, ask(None));
        assert_eq!(neighbours.tick(at(4)), Due::default(), "given up");
        assert_eq!(neighbours.snapshot().len(), 1);
        let probe = vec![Request { link: OTHER, target: there.1, unicast: Some(M) }];
        for probe_at in [31, 61] {
            assert_eq!(neighbours.tick(at(probe_at)).requests, probe);
            neighbours.learned(at(probe_at), OTHER, there.1, M);
        }
        let mut changes = 0;
        for silent in 91..99 {
            changes += u32::from(neighbours.tick(at(silent)).changed);
        }
        assert_eq!((changes, neighbours.snapshot().len()), (1, 0));
    }

    #[test]
    fn a_scan_costs_only_so_much() {
        let mut neighbours = wanting();
        for address in 0..2 * MOST_ASKED_FOR as u32 {
            neighbours.want((LINK, std::net::Ipv4Addr::from_bits(0x0a00_0000 | address).into()));
        }
        assert_eq!(neighbours.tick(at(0)).requests.len(), MOST_ASKED_FOR + 1);
        assert_eq!([1, 2, 3].map(|second| neighbours.tick(at(second)).requests.len())[2], 1);
    }

    #[test]
    fn what_a_packet_asked_for_is_known_when_it_is_wanted_for_good() {
        let mut neighbours = Neighbours::default();
        let hop = (LINK, ip("192.0.2.2"));
        neighbours.want(hop);
        neighbours.learned(at(0), LINK, hop.1, M);
        neighbours.set_wanted([hop]);
        assert_eq!(neighbours.resolved(LINK, hop.1), Some(M));
        neighbours.retain_asked_for(|_| false);
        assert_eq!(neighbours.resolved(LINK, hop.1), Some(M));
    }

    #[test]
    fn requests_are_arp_or_solicitations() {
        let request = |target, unicast| Request { link: LINK, target: ip(target), unicast };
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
