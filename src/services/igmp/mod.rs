//! Who is a member of which multicast group: what was registered, and what IGMP tells (MC-3 to MC-6). Without I/O or clock.
//!
//! It is the management thread's. The node is the querier of its own ENIs. What one of them reports, it tells every host
//! that has ENIs in the domain's subnets, as the ENI's own report, so that all know where copies have to go. No host
//! keeps what is not reported again: a report counts for [`MEMBERSHIP`], and each query brings a new one. A host that
//! starts asks the others with a query, and hears the reports of their ENIs.
//!
//! Who wires it calls [`Memberships::set_domains`] with each new state, [`Memberships::heard`] with each message,
//! [`Memberships::tick`] for what there is to send, and [`Memberships::changed`] for the table of the workers.

mod domains;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;

pub use domains::{Local, Registered, TransitDomain};

use crate::{
    packet::{
        igmp::{self, FRAME, Message, is_forwarded},
        ipv4_addresses, parse,
    },
    pipeline::Reason,
    tables::{DomainIndex, EniKey, Group, HostIndex, LocalMember, Multicast, Place, PortIndex, SubnetIndex},
};

/// The time between queries to an ENI: "about every 2 minutes" (MC-5).
pub const QUERY_INTERVAL: Duration = Duration::from_secs(120);
/// The time between the first [`STARTUP_QUERIES`]: a quarter of it (RFC 2236 §8.6).
pub const STARTUP_INTERVAL: Duration = Duration::from_secs(30);
/// How many queries a new ENI gets at that pace (RFC 2236 §8.7).
pub const STARTUP_QUERIES: u32 = 2;
/// How long a report counts: three queries are missed then, and the fourth was not answered within a minute (MC-5).
pub const MEMBERSHIP: Duration = Duration::from_secs(420);
/// Groups that an ENI can be a member of by IGMP.
pub const GROUPS: usize = 256;
/// What a new membership takes to be allowed again, beyond [`GROUPS`] at once: 4 a second. Each is told to all hosts.
const JOIN_INTERVAL: Duration = Duration::from_millis(250);
/// Other hosts hear no sooner again of a member that they know. Shorter than the time between the answers to queries.
const RELAY_INTERVAL: Duration = Duration::from_secs(60);
/// The time between queries to another host, and how many there are: one may get lost.
const ASK_INTERVAL: Duration = Duration::from_secs(10);
const ASKS: u32 = 3;
/// After a report of another version, a query comes no sooner after the last (MC-6).
const FALLBACK_INTERVAL: Duration = Duration::from_secs(10);
/// Messages that wait to be sent. What is more gets lost, and is repeated by the next report.
const WAITING: usize = 16_384;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A query, to an ENI of this node.
    Port(PortIndex, [u8; FRAME]),
    /// To other hosts: a frame of an ENI of this node, to be encapsulated with the ENI's VPC.
    Hosts(Arc<[HostIndex]>, EniKey, [u8; FRAME]),
}

/// How an ENI became a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the API.
    Registered,
    /// By a report, which counts until then.
    Igmp(Duration),
}

/// A group of a domain.
type GroupKey = (DomainIndex, Ipv4Addr);

/// A membership by IGMP.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// The ENI's address, as its report says.
    address: Ipv4Addr,
    expires: Duration,
    /// When other hosts were last told.
    relayed: Duration,
}

/// What an ENI uses of what it may.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    groups: usize,
    /// When its allowance of new memberships will be full again.
    full_at: Duration,
}

impl Usage {
    /// Counts one more membership; at the own host, no faster than allowed.
    fn join(&mut self, now: Duration, limited: bool) -> bool {
        let full_at = self.full_at.max(now) + JOIN_INTERVAL;
        let fits = self.groups < GROUPS && !(limited && full_at > now + JOIN_INTERVAL * GROUPS as u32);
        if fits {
            self.groups += 1;
            self.full_at = full_at;
        }
        fits
    }
}

/// Queries to an ENI.
#[derive(Debug)]
struct Queried {
    local: Local,
    sent: u32,
    last: Option<Duration>,
    next: Duration,
}

/// Queries to another host.
#[derive(Clone, Copy, Debug)]
struct Asked {
    sent: u32,
    next: Duration,
}

/// The members of all groups. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Memberships {
    domains: BTreeMap<DomainIndex, TransitDomain>,
    learned: BTreeMap<GroupKey, BTreeMap<EniKey, Member>>,
    expiries: BTreeSet<(Duration, GroupKey, EniKey)>,
    usage: HashMap<EniKey, Usage>,
    /// Where the members are.
    places: HashMap<EniKey, Place>,
    queried: BTreeMap<PortIndex, Queried>,
    asked: BTreeMap<(DomainIndex, HostIndex), Asked>,
    outgoing: VecDeque<Outgoing>,
    table: Multicast,
    changed: bool,
}

impl Memberships {
    /// Takes an IGMP message that the ENI `eni` of `subnet`, which is at `place`, has sent. It did send it: MAC and address
    /// are the ENI's, and what came from the underlay came from its host.
    ///
    /// # Errors
    ///
    /// Why the message changes nothing, unless it is one that says what is known: of [`parse`] and [`igmp::parse`];
    /// [`Reason::Multicast`] in a subnet without domain; [`Reason::IgmpVersion`]; [`Reason::IgmpIgnored`];
    /// [`Reason::IgmpLimited`].
    pub fn heard(
        &mut self,
        now: Duration,
        eni: EniKey,
        subnet: SubnetIndex,
        place: Place,
        frame: &[u8],
    ) -> Result<(), Reason> {
        let headers = parse(frame)?;
        let message = igmp::parse(frame, &headers)?;
        let domain = self.table.domain(subnet).ok_or(Reason::Multicast)?;
        if !domain.igmp {
            return Err(Reason::IgmpIgnored);
        }
        let (source, _) = ipv4_addresses(frame);
        match (message, place) {
            (Message::OtherReport, _) => {
                self.fall_back(now, place);
                Err(Reason::IgmpVersion)
            }
            // Only a host asks; an instance is no querier here.
            (Message::Query { .. }, Place::Remote(host)) => {
                self.answer(domain.index, host);
                Ok(())
            }
            (Message::Report(group), _) if is_forwarded(group) => {
                self.join(now, (domain.index, group), eni, place, source.into())
            }
            (Message::Leave(group), _) if is_forwarded(group) => {
                self.leave((domain.index, group), eni);
                Ok(())
            }
            _ => Err(Reason::IgmpIgnored),
        }
    }

    /// Does what is due by `now`; returns messages to send, for at most `most` receivers (or one message). The others wait
    /// for the next call.
    pub fn tick(&mut self, now: Duration, most: usize) -> Vec<Outgoing> {
        while let Some(&(expires, group, eni)) = self.expiries.first()
            && expires <= now
        {
            self.leave(group, eni);
        }
        self.query(now);
        self.ask(now);
        let mut out = Vec::new();
        let mut receivers = 0;
        while let Some(next) = self.outgoing.front() {
            receivers += match next {
                Outgoing::Port(..) => 1,
                Outgoing::Hosts(hosts, ..) => hosts.len(),
            };
            if receivers > most && !out.is_empty() {
                break;
            }
            out.extend(self.outgoing.pop_front());
        }
        out
    }

    /// The table of the workers, if it has changed since the last call.
    pub fn changed(&mut self) -> Option<Arc<Multicast>> {
        std::mem::take(&mut self.changed).then(|| Arc::new(self.table.clone()))
    }

    /// The members, by domain and group; one that was registered and has joined, twice.
    pub fn members(&self) -> impl Iterator<Item = (DomainIndex, Ipv4Addr, EniKey, Origin)> {
        let registered = self.domains.iter().flat_map(|(&domain, state)| {
            let of_group = move |(&group, registered): (&Ipv4Addr, &Registered)| {
                let members = registered.members.clone();
                members.into_iter().map(move |eni| (domain, group, eni, Origin::Registered))
            };
            state.groups.iter().flat_map(of_group)
        });
        let learned = self.learned.iter().flat_map(|(&(domain, group), members)| {
            members.iter().map(move |(&eni, member)| (domain, group, eni, Origin::Igmp(member.expires)))
        });
        registered.chain(learned)
    }

    /// A report (MC-4).
    fn join(
        &mut self,
        now: Duration,
        group: GroupKey,
        eni: EniKey,
        place: Place,
        address: Ipv4Addr,
    ) -> Result<(), Reason> {
        let local = matches!(place, Place::Local(_));
        let expires = now + MEMBERSHIP;
        let known = self.learned.get_mut(&group).and_then(|members| members.get_mut(&eni));
        let relay = match known {
            Some(member) => {
                self.expiries.remove(&(member.expires, group, eni));
                let relay = local && now >= member.relayed + RELAY_INTERVAL;
                let relayed = if relay { now } else { member.relayed };
                *member = Member { address, expires, relayed };
                relay
            }
            None => {
                if !self.usage.entry(eni).or_default().join(now, local) {
                    return Err(Reason::IgmpLimited);
                }
                self.places.insert(eni, place);
                let member = Member { address, expires, relayed: now };
                self.learned.entry(group).or_default().insert(eni, member);
                self.rebuild(group);
                local
            }
        };
        self.expiries.insert((expires, group, eni));
        if relay {
            self.tell_hosts(group.0, eni, Message::Report(group.1), address);
        }
        Ok(())
    }

    /// A leave, or a report too old. A registered member stays one (MC-4).
    fn leave(&mut self, group: GroupKey, eni: EniKey) {
        let Some(member) = self.forget(group, eni) else { return };
        if matches!(self.places.get(&eni), Some(Place::Local(_))) {
            self.tell_hosts(group.0, eni, Message::Leave(group.1), member.address);
        }
        self.rebuild(group);
    }

    /// Forgets a membership by IGMP, without consequences.
    fn forget(&mut self, group: GroupKey, eni: EniKey) -> Option<Member> {
        let members = self.learned.get_mut(&group)?;
        let member = members.remove(&eni)?;
        if members.is_empty() {
            self.learned.remove(&group);
        }
        self.expiries.remove(&(member.expires, group, eni));
        if let Some(usage) = self.usage.get_mut(&eni) {
            usage.groups = usage.groups.saturating_sub(1);
        }
        Some(member)
    }

    /// Puts the members of a group into the table.
    fn rebuild(&mut self, key: GroupKey) {
        let (domain, address) = key;
        let registered = self.domains.get(&domain).and_then(|state| state.groups.get(&address));
        let learned = self.learned.get(&key).into_iter().flat_map(BTreeMap::keys);
        let (mut local, mut hosts) = (Vec::new(), Vec::new());
        for eni in learned.chain(registered.into_iter().flat_map(|group| &group.members)) {
            match self.places.get(eni) {
                Some(&Place::Local(port)) => local.push(LocalMember { port, vni: eni.0 }),
                Some(&Place::Remote(host)) => hosts.push(host),
                Some(Place::Nowhere | Place::Gateway(_)) | None => {}
            }
        }
        let sources = registered.into_iter().flat_map(|group| group.sources.iter().copied());
        self.changed |= self.table.set_group(domain, address.to_bits(), Group::new(local, hosts, sources));
    }

    /// Tells the other hosts of a domain what an ENI of this node said.
    fn tell_hosts(&mut self, domain: DomainIndex, eni: EniKey, message: Message, address: Ipv4Addr) {
        let hosts = self.domains.get(&domain).map(|domain| Arc::clone(&domain.hosts));
        if let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty()) {
            self.send(message.frame(eni.1, address).map(|frame| Outgoing::Hosts(hosts, eni, frame)));
        }
    }

    /// Tells another host of all members at this one.
    fn answer(&mut self, domain: DomainIndex, host: HostIndex) {
        let hosts: Arc<[HostIndex]> = [host].into();
        let groups = self.learned.range((domain, Ipv4Addr::UNSPECIFIED)..=(domain, Ipv4Addr::BROADCAST));
        let members = groups.flat_map(|(&(_, group), members)| {
            members.iter().map(move |(&eni, member)| (group, eni, member.address))
        });
        let here = members.filter(|(_, eni, _)| matches!(self.places.get(eni), Some(Place::Local(_))));
        let reports: Vec<_> = here
            .filter_map(|(group, eni, address)| {
                let frame = Message::Report(group).frame(eni.1, address)?;
                Some(Outgoing::Hosts(Arc::clone(&hosts), eni, frame))
            })
            .collect();
        reports.into_iter().for_each(|report| self.send(Some(report)));
    }

    /// Queries the ENIs of this node for which it is time (MC-5).
    fn query(&mut self, now: Duration) {
        let mut due = Vec::new();
        for (&port, queried) in self.queried.iter_mut().filter(|(_, queried)| queried.next <= now) {
            queried.sent = queried.sent.saturating_add(1);
            let interval = if queried.sent < STARTUP_QUERIES { STARTUP_INTERVAL } else { QUERY_INTERVAL };
            (queried.last, queried.next) = (Some(now), now + interval);
            let frame = Message::GENERAL_QUERY.frame(queried.local.router_mac, Ipv4Addr::UNSPECIFIED);
            due.extend(frame.map(|frame| Outgoing::Port(port, frame)));
        }
        due.into_iter().for_each(|query| self.send(Some(query)));
    }

    /// Has an ENI queried soon that speaks another version: the query makes it fall back to version 2 (RFC 3376 §7.2.1).
    fn fall_back(&mut self, now: Duration, place: Place) {
        let Place::Local(port) = place else { return };
        if let Some(queried) = self.queried.get_mut(&port) {
            let soonest = queried.last.map_or(now, |last| last + FALLBACK_INTERVAL).max(now);
            queried.next = queried.next.min(soonest);
        }
    }

    /// Asks other hosts, in the name of an ENI of this node, what they know.
    fn ask(&mut self, now: Duration) {
        let mut due = Vec::new();
        for (&(domain, host), asked) in &mut self.asked {
            if asked.sent == ASKS || asked.next > now {
                continue;
            }
            (asked.sent, asked.next) = (asked.sent + 1, now + ASK_INTERVAL);
            due.push((domain, host));
        }
        for (domain, host) in due {
            let of_domain = |queried: &&Queried| self.igmp_domain(queried.local.subnet) == Some(domain);
            let Some(Queried { local, .. }) = self.queried.values().find(of_domain) else { continue };
            let eni = local.eni;
            let frame = Message::GENERAL_QUERY.frame(eni.1, Ipv4Addr::UNSPECIFIED);
            self.send(frame.map(|frame| Outgoing::Hosts([host].into(), eni, frame)));
        }
    }

    fn send(&mut self, message: Option<Outgoing>) {
        if self.outgoing.len() < WAITING {
            self.outgoing.extend(message);
        }
    }
}
