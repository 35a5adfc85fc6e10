//! IPv4 multicast domains of transit gateways (group MC): to whom a sender's packet goes.
//!
//! The transit gateway is distributed: the sender's node makes a copy for each member's ENI that it has, and one for each
//! other host with members (MC-2), which does the same for its own.

use std::sync::Arc;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::{HostIndex, PortIndex, SubnetIndex};
use crate::{
    packet::{Mac, Vni, igmp::is_forwarded},
    pipeline::Reason,
};

/// An ENI, by its VPC and MAC.
pub type EniKey = (Vni, Mac);

/// A multicast domain: a number that differs between the domains of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainIndex(pub u32);

/// The multicast domain that a subnet is associated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Which.
    pub index: DomainIndex,
    /// Whether ENIs join by IGMP: EC2's `Igmpv2Support`.
    pub igmp: bool,
    /// Whether only registered sources may send (MC-3): EC2's `StaticSourcesSupport`.
    pub static_sources: bool,
}

/// An ENI of this node that is a member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalMember {
    /// The port that it is attached to.
    pub port: PortIndex,
    /// Its VPC, which need not be the sender's.
    pub vni: Vni,
}

/// A group of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// In the order of ports.
    local: Box<[LocalMember]>,
    hosts: Box<[HostIndex]>,
    /// In order; of no meaning but in a domain with static sources.
    sources: Box<[EniKey]>,
}

impl Group {
    /// A group with these members, of which those at other hosts are known by their hosts, and registered sources; each in
    /// any order, and any number of times.
    pub fn new(
        local: impl IntoIterator<Item = LocalMember>,
        hosts: impl IntoIterator<Item = HostIndex>,
        sources: impl IntoIterator<Item = EniKey>,
    ) -> Self {
        Self { local: ordered(local), hosts: ordered(hosts), sources: ordered(sources) }
    }

    /// The members attached to this node, by port.
    pub fn local(&self) -> &[LocalMember] {
        &self.local
    }

    /// The other hosts that have members.
    pub fn hosts(&self) -> &[HostIndex] {
        &self.hosts
    }

    /// The registered sources.
    pub fn sources(&self) -> &[EniKey] {
        &self.sources
    }

    /// Whether there is neither member nor source.
    pub fn is_empty(&self) -> bool {
        self.local.is_empty() && self.hosts.is_empty() && self.sources.is_empty()
    }

    fn has(&self, port: PortIndex) -> bool {
        self.local.binary_search_by_key(&port, |member| member.port).is_ok()
    }
}

fn ordered<T: Ord>(items: impl IntoIterator<Item = T>) -> Box<[T]> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_unstable();
    items.dedup();
    items.into()
}

/// Where the copies of a packet go.
#[derive(Clone, Copy, Debug)]
pub struct Fanout<'a> {
    group: &'a Group,
    /// The port that the packet came from, if that is an instance's.
    from: Option<PortIndex>,
}

impl<'a> Fanout<'a> {
    /// The ENIs of this node that get a copy: never the sender (MC-10).
    #[inline]
    pub fn local(&self) -> impl Iterator<Item = LocalMember> + use<'a> {
        let from = self.from;
        self.group.local.iter().copied().filter(move |member| Some(member.port) != from)
    }

    /// The hosts that get a copy: none for what came from the underlay.
    #[inline]
    pub fn hosts(&self) -> &'a [HostIndex] {
        if self.from.is_some() { &self.group.hosts } else { &[] }
    }

    /// The number of copies.
    #[inline]
    pub fn copies(&self) -> usize {
        let own = self.from.is_some_and(|port| self.group.has(port));
        self.group.local.len() - usize::from(own) + self.hosts().len()
    }
}

/// The multicast domains and their groups.
#[derive(Clone, Debug, Default)]
pub struct Multicast {
    domains: HashMap<SubnetIndex, Domain, FxBuildHasher>,
    /// By address in host order. Tenants choose it: the map's own hasher has a random secret.
    groups: HashMap<(DomainIndex, u32), Arc<Group>>,
}

impl Multicast {
    /// Domains without groups, by the subnets associated with them.
    pub fn new(domains: impl IntoIterator<Item = (SubnetIndex, Domain)>) -> Self {
        Self { domains: domains.into_iter().collect(), groups: HashMap::new() }
    }

    /// Puts a group in place of the one with its address in the domain; `false` if that is the same.
    pub fn set_group(&mut self, domain: DomainIndex, address: u32, group: Group) -> bool {
        let key = (domain, address);
        if group.is_empty() {
            return self.groups.remove(&key).is_some();
        }
        if self.groups.get(&key).is_some_and(|before| **before == group) {
            return false;
        }
        self.groups.insert(key, Arc::new(group));
        true
    }

    /// The domain that a subnet is associated with.
    #[inline]
    pub fn domain(&self, subnet: SubnetIndex) -> Option<Domain> {
        self.domains.get(&subnet).copied()
    }

    /// The group with an address (host order) in a domain.
    #[inline]
    pub fn group(&self, domain: DomainIndex, address: u32) -> Option<&Group> {
        self.groups.get(&(domain, address)).map(AsRef::as_ref)
    }

    /// The groups, with their domain and address (host order), in any order.
    pub fn groups(&self) -> impl Iterator<Item = (DomainIndex, u32, &Group)> {
        self.groups.iter().map(|(&(domain, address), group)| (domain, address, &**group))
    }

    /// Where a packet of the ENI `sender` of `subnet` to the group `address` (host order) goes. `from` is the instance port
    /// that it came from; `None` if it came from the underlay, and so for this node's members only.
    ///
    /// # Errors
    ///
    /// [`Reason::Multicast`] in a subnet without a domain (MC-1); [`Reason::MulticastLink`] (MC-11);
    /// [`Reason::MulticastSource`] (MC-3); [`Reason::MulticastMember`] where nobody gets a copy.
    #[inline]
    pub fn fan_out(
        &self,
        subnet: SubnetIndex,
        sender: EniKey,
        from: Option<PortIndex>,
        address: u32,
    ) -> Result<Fanout<'_>, Reason> {
        let domain = self.domain(subnet).ok_or(Reason::Multicast)?;
        if !is_forwarded(address.into()) {
            return Err(Reason::MulticastLink);
        }
        let group = self.group(domain.index, address);
        let may_send = |group: &Group| group.sources.binary_search(&sender).is_ok();
        if domain.static_sources && !group.is_some_and(may_send) {
            return Err(Reason::MulticastSource);
        }
        let fanout = Fanout { group: group.ok_or(Reason::MulticastMember)?, from };
        if fanout.copies() == 0 { Err(Reason::MulticastMember) } else { Ok(fanout) }
    }

    /// Whether the ENI at `port`, of `subnet`, is a member of the group `address` (host order).
    #[inline]
    pub fn is_member(&self, subnet: SubnetIndex, port: PortIndex, address: u32) -> bool {
        let group = self.domain(subnet).and_then(|domain| self.group(domain.index, address));
        group.is_some_and(|group| group.has(port))
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        let of_group = |group: &Arc<Group>| {
            size_of::<Group>()
                + size_of_val(&*group.local)
                + size_of_val(&*group.hosts)
                + size_of_val(&*group.sources)
        };
        self.domains.allocation_size()
            + self.groups.allocation_size()
            + self.groups.values().map(of_group).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 1, 0x0a]);
    const B: Mac = Mac([2, 0, 0, 0, 1, 0x0b]);
    const OPEN: SubnetIndex = SubnetIndex(1);
    const STATIC: SubnetIndex = SubnetIndex(2);

    fn vni() -> Vni {
        Vni::new(7).unwrap()
    }

    fn address(text: &str) -> u32 {
        text.parse::<Ipv4Addr>().unwrap().to_bits()
    }

    fn member(port: u16) -> LocalMember {
        LocalMember { port: PortIndex(port), vni: vni() }
    }

    fn table() -> Multicast {
        let domain = |index, static_sources: bool| Domain {
            index: DomainIndex(index),
            igmp: !static_sources,
            static_sources,
        };
        let mut table = Multicast::new([(OPEN, domain(0, false)), (STATIC, domain(1, true))]);
        let local = [member(3), member(1), member(2), member(1)];
        let hosts = [HostIndex(9), HostIndex(8), HostIndex(9)];
        for index in [0, 1] {
            assert!(table.set_group(
                DomainIndex(index),
                address("239.0.0.1"),
                Group::new(local, hosts, [(vni(), A)])
            ));
        }
        table.set_group(DomainIndex(0), address("239.0.0.2"), Group::new([member(1)], [], []));
        table
    }

    fn ports(fanout: Fanout<'_>) -> Vec<u16> {
        fanout.local().map(|member| member.port.0).collect()
    }

    #[test]
    fn one_copy_for_each_local_member_and_each_host_with_members() {
        // MC-2; MC-10: the sender gets none.
        let table = table();
        let send = |from| table.fan_out(OPEN, (vni(), B), from, address("239.0.0.1")).unwrap();
        for (port, local) in [(1, vec![2, 3]), (4, vec![1, 2, 3])] {
            let fanout = send(Some(PortIndex(port)));
            assert_eq!((ports(fanout), fanout.hosts()), (local.clone(), &[HostIndex(8), HostIndex(9)][..]));
            assert_eq!(fanout.copies(), local.len() + 2);
        }
        // What another host sent is for this node's members alone.
        let fanout = send(None);
        assert_eq!((ports(fanout), fanout.hosts(), fanout.copies()), (vec![1, 2, 3], &[][..], 3));
    }

    #[test]
    fn what_goes_nowhere_has_a_name() {
        let table = table();
        let send = |subnet, port, to| {
            table
                .fan_out(subnet, (vni(), B), Some(PortIndex(port)), address(to))
                .map(|fanout| fanout.copies())
        };
        // MC-1.
        assert_eq!(send(SubnetIndex(3), 4, "239.0.0.1").unwrap_err(), Reason::Multicast);
        // MC-11.
        assert_eq!(send(OPEN, 4, "224.0.0.5").unwrap_err(), Reason::MulticastLink);
        // MC-3.
        for to in ["239.0.0.1", "239.0.0.3"] {
            assert_eq!(send(STATIC, 4, to).unwrap_err(), Reason::MulticastSource);
        }
        assert_eq!(send(OPEN, 4, "239.0.0.3").unwrap_err(), Reason::MulticastMember);
        // MC-10.
        assert_eq!(send(OPEN, 1, "239.0.0.2").unwrap_err(), Reason::MulticastMember);
        assert_eq!(send(OPEN, 4, "239.0.0.2").unwrap(), 1);
        let fanout = table.fan_out(STATIC, (vni(), A), None, address("239.0.0.1"));
        assert_eq!(fanout.unwrap().copies(), 3);
    }

    #[test]
    fn groups_change_one_by_one() {
        let mut table = table();
        let (domain, to) = (DomainIndex(0), address("239.0.0.2"));
        assert!(!table.set_group(domain, to, Group::new([member(1)], [], [])), "the same");
        let before = table.clone();
        assert!(table.set_group(domain, to, Group::new([member(2)], [], [])));
        assert!(table.is_member(OPEN, PortIndex(2), to) && !table.is_member(OPEN, PortIndex(1), to));
        assert!(before.is_member(OPEN, PortIndex(1), to) && !before.is_member(STATIC, PortIndex(1), to));
        assert!(table.set_group(domain, to, Group::default()));
        assert!(!table.set_group(domain, to, Group::default()));
        assert_eq!((table.group(domain, to), table.groups().count()), (None, 2));
        assert!(before.bytes() > Multicast::default().bytes());
    }
}
