use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    packet::{Mac, Vni},
    tables::Domain,
};

const DOMAIN: Domain = Domain { index: DomainIndex(4), igmp: true, static_sources: false };
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HOSTS: u32 = 3;
const ENIS: u8 = 6;

fn group(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(239, 0, 0, number)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Two VPCs, a subnet each.
fn key(eni: u8) -> EniKey {
    (Vni::new(u32::from(eni % 2) + 1).unwrap(), Mac([2, 0, 0, 0, 1, eni]))
}

fn subnet(eni: EniKey) -> SubnetIndex {
    SubnetIndex(eni.0.get())
}

fn frame(eni: u8, message: Message) -> [u8; FRAME] {
    message.frame(key(eni).1, Ipv4Addr::new(10, 0, 1, eni)).unwrap()
}

/// As a Linux guest sends it when it has not heard a query yet.
fn v3_report(eni: u8) -> Vec<u8> {
    let mut frame = frame(eni, Message::Report(group(1))).to_vec();
    let message = [0x22, 0, 0xea, 0xf8, 0, 0, 0, 1, 4, 0, 0, 0, 239, 0, 0, 5];
    frame.truncate(38);
    frame.extend(message);
    frame[17] = 40;
    frame
}

/// One host's memberships, with a domain of [`DOMAIN`]'s kind.
struct Host {
    number: u32,
    memberships: Memberships,
    table: Arc<Multicast>,
}

/// ENIs that join and leave, on hosts that hear each other.
struct Net {
    now: Duration,
    domain: Domain,
    registered: BTreeMap<Ipv4Addr, Registered>,
    hosts: Vec<Host>,
    /// By ENI: its host, and the groups for which it answers queries.
    guests: Vec<(u32, Vec<u8>)>,
    /// Queries to each ENI.
    queries: Vec<u32>,
}

impl Net {
    fn new() -> Self {
        Self::of(DOMAIN, BTreeMap::new())
    }

    fn of(domain: Domain, registered: BTreeMap<Ipv4Addr, Registered>) -> Self {
        let hosts = (0..HOSTS).map(|number| Host {
            number,
            memberships: Memberships::default(),
            table: Arc::default(),
        });
        let guests = (0..ENIS).map(|eni| (u32::from(eni) % HOSTS, Vec::new()));
        let mut net = Self {
            now: seconds(1000),
            domain,
            registered,
            hosts: hosts.collect(),
            guests: guests.collect(),
            queries: vec![0; ENIS.into()],
        };
        net.state();
        net
    }

    fn place(guests: &[(u32, Vec<u8>)], at: u32, eni: u8) -> Place {
        match guests[usize::from(eni)].0 {
            host if host == at => Place::Local(PortIndex(eni.into())),
            host => Place::Remote(HostIndex(host)),
        }
    }

    /// Gives every host the state.
    fn state(&mut self) {
        for number in 0..HOSTS {
            self.state_of(number);
        }
    }

    fn state_of(&mut self, number: u32) {
        let Self { now, domain, registered, hosts, guests, .. } = self;
        let others: BTreeSet<_> = guests.iter().map(|guest| HostIndex(guest.0)).collect();
        let state = TransitDomain {
            domain: *domain,
            subnets: vec![SubnetIndex(1), SubnetIndex(2)],
            hosts: others.into_iter().filter(|host| host.0 != number).collect(),
            groups: registered.clone(),
        };
        let here = (0..ENIS).filter(|&eni| guests[usize::from(eni)].0 == number);
        let locals = here.map(|eni| Local {
            port: PortIndex(eni.into()),
            eni: key(eni),
            subnet: subnet(key(eni)),
            router_mac: ROUTER,
        });
        let locate = |(vni, mac): EniKey| {
            let eni = mac.0[5];
            (key(eni) == (vni, mac)).then(|| (subnet((vni, mac)), Self::place(guests, number, eni)))
        };
        hosts[number as usize].memberships.set_domains(*now, [state], locals, locate);
    }

    /// What an ENI sends, as its host hears it.
    fn say(&mut self, eni: u8, frame: &[u8]) -> Result<(), Reason> {
        let host = self.guests[usize::from(eni)].0;
        let place = Self::place(&self.guests, host, eni);
        let memberships = &mut self.hosts[host as usize].memberships;
        memberships.heard(self.now, key(eni), subnet(key(eni)), place, frame)
    }

    fn join(&mut self, eni: u8, number: u8) -> Result<(), Reason> {
        let groups = &mut self.guests[usize::from(eni)].1;
        groups.retain(|&group| group != number);
        groups.push(number);
        self.say(eni, &frame(eni, Message::Report(group(number))))
    }

    fn leave(&mut self, eni: u8, number: u8) {
        self.guests[usize::from(eni)].1.retain(|&group| group != number);
        self.say(eni, &frame(eni, Message::Leave(group(number)))).unwrap();
    }

    /// Ticks until nobody has anything to say; brings messages to where they go, and takes over tables.
    fn settle(&mut self) {
        loop {
            let mut said = Vec::new();
            for host in &mut self.hosts {
                let out = host.memberships.tick(self.now, 5);
                said.extend(out.into_iter().map(|message| (host.number, message)));
            }
            if said.is_empty() {
                break;
            }
            for (from, message) in said {
                match message {
                    Outgoing::Port(port, query) => self.answer(port.0 as u8, &query),
                    Outgoing::Hosts(hosts, eni, frame) => {
                        assert_eq!(frame[6..12], eni.1.0);
                        for host in hosts.iter() {
                            assert_ne!(host.0, from);
                            let place = Place::Remote(HostIndex(from));
                            let memberships = &mut self.hosts[host.0 as usize].memberships;
                            memberships.heard(self.now, eni, subnet(eni), place, &frame).unwrap();
                        }
                    }
                }
            }
        }
        for host in &mut self.hosts {
            host.table = host.memberships.changed().unwrap_or_else(|| Arc::clone(&host.table));
        }
    }

    fn answer(&mut self, eni: u8, query: &[u8]) {
        let headers = parse(query).unwrap();
        assert_eq!(igmp::parse(query, &headers), Ok(Message::GENERAL_QUERY));
        assert_eq!((&query[6..12], &query[26..30]), (&ROUTER.0[..], &[0; 4][..]), "MC-5");
        self.queries[usize::from(eni)] += 1;
        for number in self.guests[usize::from(eni)].1.clone() {
            self.say(eni, &frame(eni, Message::Report(group(number)))).unwrap();
        }
    }

    fn wait(&mut self, time: u64) {
        for _ in 0..time {
            self.now += seconds(1);
            self.settle();
        }
    }

    /// All hosts that have ENIs (the others need to know nothing), and all groups that ENIs join in a random run.
    fn hosts_and_groups(&self) -> Vec<(u32, u8)> {
        let hosts: BTreeSet<_> = self.guests.iter().map(|guest| guest.0).collect();
        hosts.into_iter().flat_map(|host| (1..4).map(move |number| (host, number))).collect()
    }

    /// The members of a group as a host's workers see them: its own ENIs and the other hosts.
    fn seen(&self, host: u32, number: u8) -> (Vec<u8>, Vec<u32>) {
        let group = self.hosts[host as usize].table.group(DOMAIN.index, group(number).to_bits());
        let local = group.map(Group::local).unwrap_or_default();
        let hosts = group.map(Group::hosts).unwrap_or_default();
        (local.iter().map(|member| member.port.0 as u8).collect(), hosts.iter().map(|host| host.0).collect())
    }

    /// The same of what the ENIs want.
    fn wanted(&self, host: u32, number: u8) -> (Vec<u8>, Vec<u32>) {
        let members = (0..ENIS).filter(|&eni| self.guests[usize::from(eni)].1.contains(&number));
        let (mut local, mut hosts) = (Vec::new(), BTreeSet::new());
        for eni in members {
            match Self::place(&self.guests, host, eni) {
                Place::Remote(host) => drop(hosts.insert(host.0)),
                _ => local.push(eni),
            }
        }
        (local, hosts.into_iter().collect())
    }
}

#[test]
fn all_hosts_know_at_once_who_joins_and_leaves() {
    // MC-4.
    let mut net = Net::new();
    net.settle();
    net.join(0, 1).unwrap();
    net.join(3, 1).unwrap();
    net.join(1, 1).unwrap();
    net.settle();
    assert_eq!(net.seen(0, 1), (vec![0, 3], vec![1]));
    assert_eq!(net.seen(1, 1), (vec![1], vec![0]));
    assert_eq!(net.seen(2, 1), (vec![], vec![0, 1]));
    net.leave(0, 1);
    net.leave(1, 1);
    net.leave(2, 1);
    net.settle();
    assert_eq!((net.seen(0, 1), net.seen(2, 1)), ((vec![3], vec![]), (vec![], vec![0])));
}

#[test]
fn who_answers_no_query_is_no_member_after_seven_minutes_and_is_asked_on() {
    // MC-5.
    let mut net = Net::new();
    net.join(0, 1).unwrap();
    net.join(1, 1).unwrap();
    net.wait(3600);
    assert_eq!((net.seen(1, 1), net.seen(2, 1)), ((vec![1], vec![0]), (vec![], vec![0, 1])));
    assert!((31..=33).contains(&net.queries[0]), "every two minutes: {}", net.queries[0]);
    // ENI 0 says no more.
    net.guests[0].1.clear();
    net.wait(290);
    assert_eq!(net.seen(0, 1), (vec![0], vec![1]));
    net.wait(131);
    for host in [0, 2] {
        assert_eq!(net.seen(host, 1), (vec![], vec![1]));
    }
    let before = net.queries[0];
    net.wait(12 * 3600);
    assert_eq!(net.queries[0] - before, 360);
    net.guests[0].1.push(1);
    net.wait(120);
    assert_eq!(net.seen(2, 1), (vec![], vec![0, 1]));
}

#[test]
fn other_versions_change_nothing_and_hear_a_query() {
    // MC-6.
    let mut net = Net::new();
    net.wait(60);
    let before = net.queries[0];
    for _ in 0..5 {
        assert_eq!(net.say(0, &v3_report(0)), Err(Reason::IgmpVersion));
        net.settle();
    }
    assert_eq!(net.hosts[0].memberships.members().count(), 0);
    assert_eq!(net.queries[0], before + 1, "not one for each");
    net.wait(10);
    assert_eq!(net.say(0, &v3_report(0)), Err(Reason::IgmpVersion));
    net.settle();
    assert_eq!(net.queries[0], before + 2);
}

#[test]
fn registered_members_stay_whatever_they_say() {
    // MC-4.
    let registered = Registered { members: vec![key(0), key(1)], sources: vec![] };
    let mut net = Net::of(DOMAIN, [(group(1), registered)].into());
    net.settle();
    assert_eq!((net.seen(0, 1), net.seen(2, 1)), ((vec![0], vec![1]), (vec![], vec![0, 1])));
    net.leave(0, 1);
    net.join(1, 1).unwrap();
    net.leave(1, 1);
    net.wait(500);
    assert_eq!((net.seen(0, 1), net.seen(2, 1)), ((vec![0], vec![1]), (vec![], vec![0, 1])));
    assert_eq!(net.hosts[0].memberships.members().count(), 2);
    net.registered.clear();
    net.state();
    net.settle();
    assert_eq!(net.seen(0, 1), (vec![], vec![]));
}

#[test]
fn a_static_domain_hears_no_reports_and_knows_its_sources() {
    // MC-3.
    let domain = Domain { igmp: false, static_sources: true, ..DOMAIN };
    let registered = Registered { members: vec![key(1)], sources: vec![key(0)] };
    let mut net = Net::of(domain, [(group(1), registered)].into());
    net.wait(300);
    assert_eq!(net.queries, [0; 6]);
    assert_eq!(net.join(2, 1), Err(Reason::IgmpIgnored));
    net.settle();
    let to = group(1).to_bits();
    let send = |eni: u8| {
        let port = Some(PortIndex(eni.into()));
        let fanout = net.hosts[0].table.fan_out(subnet(key(eni)), key(eni), port, to);
        fanout.map(|fanout| (fanout.local().count(), fanout.hosts().to_vec()))
    };
    assert_eq!(send(0), Ok((0, vec![HostIndex(1)])));
    assert_eq!(send(1), Err(Reason::MulticastSource), "a member only receives");
}

#[test]
fn what_no_member_says_is_ignored() {
    let mut net = Net::new();
    net.settle();
    let mut say = |message| net.say(0, &frame(0, message));
    assert_eq!(say(Message::GENERAL_QUERY), Err(Reason::IgmpIgnored));
    // MC-11.
    for group in [[224, 0, 0, 251], [224, 0, 0, 1], [10, 0, 1, 1]] {
        assert_eq!(say(Message::Report(group.into())), Err(Reason::IgmpIgnored));
        assert_eq!(say(Message::Leave(group.into())), Err(Reason::IgmpIgnored));
    }
    let memberships = &mut net.hosts[0].memberships;
    let report = frame(0, Message::Report(group(1)));
    let elsewhere = (key(0), SubnetIndex(9), Place::Local(PortIndex(0)));
    // MC-1.
    assert_eq!(
        memberships.heard(net.now, elsewhere.0, elsewhere.1, elsewhere.2, &report),
        Err(Reason::Multicast)
    );
    assert_eq!(
        memberships.heard(net.now, key(0), subnet(key(0)), elsewhere.2, &report[..40]),
        Err(Reason::Truncated)
    );
}

#[test]
fn an_eni_can_not_exhaust_the_node() {
    let mut net = Net::new();
    net.settle();
    let report = |net: &mut Net, number: u16| {
        let group = Ipv4Addr::new(239, 1, (number >> 8) as u8, number as u8);
        net.say(0, &frame(0, Message::Report(group)))
    };
    let taken = (0..1000).filter(|&number| report(&mut net, number).is_ok()).count();
    assert_eq!(taken, GROUPS);
    assert_eq!(report(&mut net, 999), Err(Reason::IgmpLimited));
    assert_eq!(report(&mut net, 0), Ok(()), "a member already");
    net.settle();
    assert_eq!(net.hosts[2].memberships.members().count(), GROUPS);
    // Joining and leaving in turn: 4 times a second.
    net.now += seconds(1);
    let mut joined = 0;
    for _ in 0..100 {
        let leave = Message::Leave(Ipv4Addr::new(239, 1, 0, 0));
        net.say(0, &frame(0, leave)).unwrap();
        joined += u32::from(report(&mut net, 0).is_ok());
    }
    assert_eq!(joined, 4);
    net.wait(500);
    let left = &net.hosts[0].memberships;
    assert_eq!((left.members().count(), left.learned.len(), left.expiries.len()), (0, 0, 0));
}

#[test]
fn a_host_that_starts_asks_the_others() {
    let mut net = Net::new();
    net.join(0, 1).unwrap();
    net.join(1, 2).unwrap();
    net.wait(100);
    net.hosts[2].memberships = Memberships::default();
    net.state_of(2);
    net.settle();
    assert_eq!((net.seen(2, 1), net.seen(2, 2)), ((vec![], vec![0]), (vec![], vec![1])));
}

#[test]
fn a_membership_moves_with_its_eni() {
    let mut net = Net::new();
    net.join(0, 1).unwrap();
    net.settle();
    net.guests[0].0 = 1;
    net.state();
    net.settle();
    assert_eq!((net.seen(0, 1), net.seen(1, 1)), ((vec![], vec![1]), (vec![0], vec![])));
}

#[derive(Clone, Debug)]
enum Op {
    Join(u8, u8),
    Leave(u8, u8),
    /// It stops without a word.
    Die(u8),
    Wait(u64),
    Restart(u32),
    Move(u8, u32),
}

fn ops() -> impl Strategy<Value = Op> {
    let (eni, number) = (0..ENIS, 1u8..4);
    prop_oneof![
        4 => (eni.clone(), number.clone()).prop_map(|(eni, number)| Op::Join(eni, number)),
        2 => (eni.clone(), number).prop_map(|(eni, number)| Op::Leave(eni, number)),
        1 => eni.clone().prop_map(Op::Die),
        3 => (1u64..200).prop_map(Op::Wait),
        1 => (0..HOSTS).prop_map(Op::Restart),
        1 => (eni, 0..HOSTS).prop_map(|(eni, host)| Op::Move(eni, host)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn tables_follow_what_enis_want(ops in vec(ops(), 1..30)) {
        let mut net = Net::new();
        net.settle();
        for op in ops {
            match op {
                Op::Join(eni, number) => net.join(eni, number).unwrap(),
                Op::Leave(eni, number) => net.leave(eni, number),
                Op::Die(eni) => net.guests[usize::from(eni)].1.clear(),
                Op::Wait(time) => net.wait(time),
                Op::Restart(host) => {
                    net.hosts[host as usize].memberships = Memberships::default();
                    net.state_of(host);
                }
                Op::Move(eni, host) => {
                    net.guests[usize::from(eni)].0 = host;
                    net.state();
                }
            }
            net.settle();
            // Nobody who wants packets is left out, at any time.
            for (host, number) in net.hosts_and_groups() {
                let ((local, hosts), wanted) = (net.seen(host, number), net.wanted(host, number));
                prop_assert!(wanted.0.iter().all(|eni| local.contains(eni)), "{host} {number}");
                prop_assert!(wanted.1.iter().all(|other| hosts.contains(other)), "{host} {number}");
            }
        }
        // And nobody else gets them for long.
        net.wait(MEMBERSHIP.as_secs() + 1);
        for (host, number) in net.hosts_and_groups() {
            prop_assert_eq!(net.seen(host, number), net.wanted(host, number));
        }
        for host in &net.hosts {
            let learned: usize = host.memberships.learned.values().map(BTreeMap::len).sum();
            prop_assert_eq!(learned, host.memberships.expiries.len());
            prop_assert_eq!(learned, host.memberships.usage.values().map(|usage| usage.groups).sum::<usize>());
        }
    }
}
