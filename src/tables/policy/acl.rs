//! Which packets may cross the edge of a subnet.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    Direction, Shown,
    spans::{TrafficRange, key},
};
use crate::model::{AclEntry, Id, NetworkAcl, Traffic};

/// A network ACL. Of the entries of a direction, the first that matches decides (NACL-1); EC2 has 40 of them at most.
pub struct Acl {
    /// Its id, for operators; `None` of the one that allows everything.
    pub id: Option<Id>,
    ingress: Box<[Entry]>,
    egress: Box<[Entry]>,
    allows_all: bool,
}

struct Entry {
    stated: AclEntry,
    range: TrafficRange,
}

/// What a network ACL says to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclVerdict {
    /// Whether it may pass.
    pub allow: bool,
    /// The number of the entry that says so.
    pub number: u16,
}

impl AclVerdict {
    /// The number of the last entry, `*`, which denies what no other matches, as EC2 gives it.
    pub const LAST: u16 = 32767;
}

impl Acl {
    /// One that the model has.
    pub fn new(stated: &NetworkAcl) -> Self {
        Self::with_entries(Some(Id::clone(&stated.id)), stated.rules(false), stated.rules(true))
    }

    fn with_entries(id: Option<Id>, ingress: &[AclEntry], egress: &[AclEntry]) -> Self {
        let allows_all = allows_all(ingress) && allows_all(egress);
        let side = |entries: &[AclEntry]| -> Box<[Entry]> {
            entries.iter().map(|&stated| Entry { stated, range: TrafficRange::of(stated.traffic) }).collect()
        };
        Self { id, ingress: side(ingress), egress: side(egress), allows_all }
    }

    /// What becomes of a packet that enters or leaves the subnet.
    #[inline]
    pub fn find(&self, direction: Direction, shown: &Shown) -> AclVerdict {
        let traffic = key(shown.protocol, shown.port);
        let matches = |entry: &&Entry| entry.range.holds(traffic) && holds(&entry.stated.block, shown.remote);
        match self.side(direction).iter().find(matches) {
            Some(Entry { stated, .. }) => AclVerdict { allow: stated.allow, number: stated.number },
            None => AclVerdict { allow: false, number: AclVerdict::LAST },
        }
    }

    /// Whether it allows everything in both directions, so that nobody needs to ask.
    #[inline]
    pub fn allows_all(&self) -> bool {
        self.allows_all
    }

    /// Whether it has the entries of one that the model has.
    pub fn is(&self, stated: &NetworkAcl) -> bool {
        let same = |direction, egress| self.entries(direction).eq(stated.rules(egress));
        same(Direction::Ingress, false) && same(Direction::Egress, true)
    }

    /// The entries of a direction, in order, without the last.
    pub fn entries(&self, direction: Direction) -> impl Iterator<Item = &AclEntry> {
        self.side(direction).iter().map(|entry| &entry.stated)
    }

    #[inline]
    fn side(&self, direction: Direction) -> &[Entry] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl Default for Acl {
    /// What EC2's default ACL says: everything is allowed (NACL-7).
    fn default() -> Self {
        let families = [(100, IpNet::V4(Ipv4Net::default())), (101, IpNet::V6(Ipv6Net::default()))];
        let side = |egress| {
            families.map(|(number, block)| AclEntry {
                number,
                egress,
                allow: true,
                traffic: Traffic::All,
                block,
            })
        };
        Self::with_entries(None, &side(false), &side(true))
    }
}

#[inline]
fn holds(block: &IpNet, address: IpAddr) -> bool {
    match (block, address) {
        (IpNet::V4(block), IpAddr::V4(address)) => block.contains(&address),
        (IpNet::V6(block), IpAddr::V6(address)) => block.contains(&address),
        _ => false,
    }
}

/// Whether of each family the entries allow everything before they deny anything.
fn allows_all(entries: &[AclEntry]) -> bool {
    [true, false].into_iter().all(|v4| {
        let mut family = entries.iter().filter(|entry| entry.block.addr().is_ipv4() == v4);
        let first = family
            .find(|entry| !entry.allow || entry.block.prefix_len() == 0 && entry.traffic == Traffic::All);
        first.is_some_and(|entry| entry.allow)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u16, allow: bool, traffic: Traffic, block: &str) -> AclEntry {
        AclEntry { number, egress: false, allow, traffic, block: block.parse().unwrap() }
    }

    fn acl(mut entries: Vec<AclEntry>) -> Acl {
        entries.sort_by_key(|entry| (entry.egress, entry.number));
        let (id, vpc) = ("acl-1".into(), "vpc-1".into());
        let (subnets, descriptive) = (Vec::new(), None);
        Acl::new(&NetworkAcl { id, vpc, is_default: false, entries, subnets, descriptive })
    }

    fn tcp(remote: &str, port: u16) -> Shown {
        Shown { remote: remote.parse().unwrap(), protocol: 6, port }
    }

    fn verdict(allow: bool, number: u16) -> AclVerdict {
        AclVerdict { allow, number }
    }

    #[test]
    fn nacl_1_the_entry_with_the_lowest_number_decides_and_the_rest_is_denied() {
        let ports = Traffic::Ports { protocol: 6, from: 80, to: 90 };
        let acl = acl(vec![
            entry(100, true, ports, "10.1.0.0/16"),
            entry(110, true, ports, "2001:db8::/32"),
            entry(200, false, Traffic::All, "10.0.0.0/8"),
        ]);
        let find = |shown| acl.find(Direction::Ingress, &shown);
        assert_eq!(find(tcp("10.1.0.1", 80)), verdict(true, 100));
        assert_eq!(find(tcp("10.1.0.1", 91)), verdict(false, 200));
        assert_eq!(find(tcp("10.2.0.1", 80)), verdict(false, 200));
        assert_eq!(find(tcp("11.0.0.1", 80)), verdict(false, AclVerdict::LAST));
        assert_eq!(find(tcp("2001:db8::1", 90)), verdict(true, 110));
        assert_eq!(find(tcp("2001:db9::1", 90)), verdict(false, AclVerdict::LAST));
        // NACL-2: the directions know nothing of each other.
        assert_eq!(acl.find(Direction::Egress, &tcp("10.1.0.1", 80)), verdict(false, AclVerdict::LAST));
    }

    #[test]
    fn icmp_entries_match_by_type_and_code() {
        let echo = Traffic::Icmp { protocol: 1, kind: Some(8), code: None };
        let acl = acl(vec![entry(7, true, echo, "0.0.0.0/0")]);
        let icmp = |kind, code| {
            let port = u16::from_be_bytes([kind, code]);
            acl.find(Direction::Ingress, &Shown { remote: [10, 0, 0, 1].into(), protocol: 1, port }).allow
        };
        assert!(icmp(8, 0) && icmp(8, 255) && !icmp(9, 0) && !icmp(0, 0));
    }

    #[test]
    fn nacl_7_the_default_allows_all_and_a_custom_one_denies_all() {
        let (open, custom) = (Acl::default(), acl(vec![]));
        assert!(open.allows_all() && !custom.allows_all());
        for direction in [Direction::Ingress, Direction::Egress] {
            for (remote, number) in [("10.0.0.1", 100), ("2001:db8::1", 101)] {
                assert_eq!(open.find(direction, &tcp(remote, 1)), verdict(true, number));
                assert_eq!(custom.find(direction, &tcp(remote, 1)), verdict(false, AclVerdict::LAST));
            }
        }
    }

    #[test]
    fn an_acl_allows_all_only_if_nothing_is_denied_before_in_any_direction_or_family() {
        let open = |without: &[(u16, bool)], with: &[AclEntry]| {
            let open = Acl::default();
            let open = [Direction::Ingress, Direction::Egress].map(|direction| open.entries(direction));
            let open =
                open.into_iter().flatten().filter(|entry| !without.contains(&(entry.number, entry.egress)));
            acl(open.chain(with).copied().collect()).allows_all()
        };
        assert!(open(&[], &[]));
        assert!(open(&[], &[entry(200, false, Traffic::All, "10.0.0.0/8")]), "behind all is nothing left");
        assert!(open(&[], &[entry(1, true, Traffic::Protocol(50), "10.0.0.0/8")]));
        assert!(!open(&[], &[entry(1, false, Traffic::Protocol(50), "10.0.0.0/8")]));
        assert!(!open(&[], &[entry(1, false, Traffic::All, "2001:db8::/32")]));
        for missing in [(100, false), (101, false), (100, true), (101, true)] {
            assert!(!open(&[missing], &[]), "{missing:?}");
        }
    }
}
