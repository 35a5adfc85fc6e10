//! Router advertisements that nobody asked for (L2-20): when, to whom and with what. Without I/O or clock.
//!
//! It is the management thread's. The intervals are RFC 4861 §6.2.1's and §6.2.4's for a router that says nothing of its own;
//! what is random there is drawn from the port's number here, which keeps ports apart as well and a replay reproducible.

use std::{collections::BTreeMap, time::Duration};

use super::nd::ROUTER;
use crate::{
    packet::nd::RouterAdvertisement,
    tables::{LocalEni, PortIndex},
};

/// The longest time between two advertisements to an ENI: MaxRtrAdvInterval.
pub const LONGEST: Duration = Duration::from_secs(600);
/// The shortest: MinRtrAdvInterval, 0.33 times the longest.
pub const SHORTEST: Duration = Duration::from_secs(198);
/// How many advertisements come faster, right after an ENI appeared: MAX_INITIAL_RTR_ADVERTISEMENTS.
pub const INITIAL: u32 = 3;
/// The time between those: MAX_INITIAL_RTR_ADVERT_INTERVAL.
pub const INITIAL_INTERVAL: Duration = Duration::from_secs(16);

/// The ENIs with IPv6, and when each hears of its router next. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Advertiser {
    schedule: BTreeMap<PortIndex, Entry>,
}

#[derive(Debug)]
struct Entry {
    advertisement: RouterAdvertisement,
    sent: u32,
    next: Duration,
}

impl Advertiser {
    /// Replaces the set of ENIs. Those that are new or are to hear something else, hear it at the next tick.
    pub fn set_enis<'a>(&mut self, enis: impl IntoIterator<Item = (PortIndex, &'a LocalEni)>) {
        let mut before = std::mem::take(&mut self.schedule);
        let entries = enis.into_iter().filter_map(|(port, eni)| {
            let advertisement = advertisement(eni)?;
            let known = before.remove(&port).filter(|entry| entry.advertisement == advertisement);
            Some((port, known.unwrap_or(Entry { advertisement, sent: 0, next: Duration::ZERO })))
        });
        self.schedule = entries.collect();
    }

    /// The advertisements that are due by `now`, with the ports to send them out of.
    pub fn tick(&mut self, now: Duration) -> Vec<(PortIndex, RouterAdvertisement)> {
        let mut due = Vec::new();
        for (&port, entry) in &mut self.schedule {
            if entry.next <= now {
                entry.sent = entry.sent.saturating_add(1);
                entry.next = now + interval(port, entry.sent);
                due.push((port, entry.advertisement));
            }
        }
        due
    }
}

/// What an ENI is told of its router; `None` in a subnet without IPv6 block.
fn advertisement(eni: &LocalEni) -> Option<RouterAdvertisement> {
    Some(RouterAdvertisement {
        mac: eni.router_mac,
        router: ROUTER,
        receiver_mac: eni.mac,
        receiver: None,
        mtu: eni.mtu,
        prefix: eni.subnet_v6?,
    })
}

/// The time from one advertisement, of which `sent` have been sent, to the next.
fn interval(port: PortIndex, sent: u32) -> Duration {
    if sent < INITIAL {
        return INITIAL_INTERVAL;
    }
    // Fibonacci hashing: odd steps of 2^64 divided by the golden ratio.
    let mixed = (u64::from(port.0) << 32 | u64::from(sent)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let span = (LONGEST - SHORTEST).as_millis() as u64;
    SHORTEST + Duration::from_millis((mixed >> 32) % (span + 1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{
        compile::Compiler,
        node::fleet::{FIRST, Fleet},
        tables::Tables,
    };

    const SECOND: PortIndex = PortIndex(1);

    /// Two ENIs, with an IPv6 block in their subnet or without.
    fn tables(prefix: Option<&str>) -> Tables {
        let fleet = Fleet::new(2);
        let mut model = fleet.model().clone();
        for subnet in model.subnets.values_mut() {
            subnet.cidr6 = prefix.map(|prefix| prefix.parse().unwrap());
        }
        Compiler::new(fleet.site()).build(&model, &fleet.neighbours())
    }

    fn enis(tables: &Tables) -> impl Iterator<Item = (PortIndex, &LocalEni)> {
        [FIRST, SECOND].into_iter().filter_map(|port| Some((port, tables.local_eni(port)?)))
    }

    fn ports(due: &[(PortIndex, RouterAdvertisement)]) -> Vec<PortIndex> {
        due.iter().map(|(port, _)| *port).collect()
    }

    #[test]
    fn at_once_then_fast_then_slowly() {
        let tables = tables(Some("2001:db8:1::/64"));
        let mut advertiser = Advertiser::default();
        advertiser.set_enis(enis(&tables));
        let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
        for second in 1000..9000 {
            let now = Duration::from_secs(second);
            for (port, advertisement) in advertiser.tick(now) {
                let eni = tables.local_eni(port).unwrap();
                assert_eq!((advertisement.mac, advertisement.receiver_mac), (eni.router_mac, eni.mac));
                assert_eq!((advertisement.mtu, Some(advertisement.prefix)), (eni.mtu, eni.subnet_v6));
                times[usize::from(port.0)].push(now);
            }
        }
        let mut intervals = HashSet::new();
        for times in &times {
            assert_eq!(times[..3], [1000, 1016, 1032].map(Duration::from_secs));
            for pair in times[2..].windows(2) {
                let interval = pair[1] - pair[0];
                assert!((SHORTEST..=LONGEST + Duration::from_secs(1)).contains(&interval), "{interval:?}");
                intervals.insert(interval);
            }
        }
        assert!(times[0].len() > 12 && intervals.len() > 10, "not in step: {intervals:?}");
    }

    #[test]
    fn who_is_new_hears_at_once_and_the_others_do_not() {
        let both = tables(Some("2001:db8:1::/64"));
        let mut advertiser = Advertiser::default();
        advertiser.set_enis(enis(&both).take(1));
        assert_eq!(ports(&advertiser.tick(Duration::ZERO)), [FIRST]);
        let now = Duration::from_secs(5);
        advertiser.set_enis(enis(&both));
        assert_eq!(ports(&advertiser.tick(now)), [SECOND]);
        assert_eq!(ports(&advertiser.tick(now)), []);
        // Another prefix is news to both.
        let other = tables(Some("2001:db8:2::/64"));
        advertiser.set_enis(enis(&other));
        assert_eq!(ports(&advertiser.tick(now)), [FIRST, SECOND]);
        // Without IPv6 or without an ENI, there is nobody to tell.
        let none = tables(None);
        advertiser.set_enis(enis(&none));
        assert_eq!(ports(&advertiser.tick(now + LONGEST * 9)), []);
    }
}
