use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use ipnet::{Ipv4Net, Ipv6Net};

use super::*;
use crate::{
    model::{ConnectionTracking, Eni, Peer, Permission, PrefixList, SecurityGroup, Traffic, diff},
    packet::Mac,
    tables::{Direction, Grant, RuleIndex, Shown},
};

const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];
const LISTS: u64 = 4;
const GROUPS: u64 = 8;

/// Numbers in no order, the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    fn some<T>(&mut self, most: u64, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    /// Few addresses, many of which are at the ends of blocks.
    fn v4(&mut self) -> Ipv4Addr {
        let bytes = [
            10,
            self.one_of(&[0, 1, 255]),
            self.one_of(&[0, 1, 128, 255]),
            self.one_of(&[0, 1, 2, 254, 255]),
        ];
        if self.below(16) == 0 { self.one_of(&[[0; 4], [255; 4], [9, 255, 255, 255]]) } else { bytes }.into()
    }

    fn v6(&mut self) -> Ipv6Addr {
        let low = u128::from(self.v4().to_bits());
        Ipv6Addr::from_bits(
            self.one_of(&[0x2001_0db8 << 96, 0, u128::MAX << 32]) | low << self.one_of(&[0, 64]),
        )
    }

    fn block4(&mut self) -> Ipv4Net {
        let length = self.one_of(&[0, 7, 8, 15, 16, 17, 24, 30, 31, 32, 32]);
        Ipv4Net::new(self.v4(), length).unwrap().trunc()
    }

    fn block6(&mut self) -> Ipv6Net {
        let length = self.one_of(&[0, 1, 32, 64, 96, 112, 127, 128, 128]);
        Ipv6Net::new(self.v6(), length).unwrap().trunc()
    }

    fn port(&mut self) -> u16 {
        self.one_of(&[0, 1, 22, 80, 81, 255, 256, 443, 0x0800, 0x08ff, 65534, 65535])
    }

    fn protocol(&mut self) -> u8 {
        self.one_of(&[0, 1, 2, 6, 6, 7, 17, 17, 50, 58, 255])
    }

    fn traffic(&mut self) -> Traffic {
        match self.below(8) {
            0 => Traffic::All,
            1 => Traffic::Protocol(self.one_of(&[0, 2, 50, 255])),
            2 | 3 => {
                let [kind, code] = self.port().to_be_bytes();
                let kind = self.one_of(&[None, Some(kind), Some(kind)]);
                let code = kind.and(self.one_of(&[None, Some(code)]));
                Traffic::Icmp { protocol: self.one_of(&[1, 58]), kind, code }
            }
            _ => {
                let (a, b) = self.one_of(&[(0, 65535), (self.0 as u16, 65535)]);
                let (a, b) = self.one_of(&[(a, b), (80, 443), (22, 22), (1, 255)]);
                Traffic::Ports { protocol: self.one_of(&[6, 17]), from: a.min(b), to: a.max(b) }
            }
        }
    }

    fn permission(&mut self) -> Permission {
        fn peer<T>(peer: T) -> Peer<T> {
            Peer { peer, description: None }
        }
        Permission {
            traffic: self.traffic(),
            ranges4: self.some(3, |random| peer(random.block4())),
            ranges6: self.some(2, |random| peer(random.block6())),
            prefix_lists: self.some(1, |random| peer(id("pl", random.below(LISTS)))),
            groups: self.some(1, |random| peer(id("sg", random.below(GROUPS)))),
            stale: self.some(1, |random| peer(id("sg", random.below(GROUPS)))),
        }
    }

    fn group(&mut self, number: u64) -> SecurityGroup {
        let most = self.one_of(&[1, 4, 12]);
        SecurityGroup {
            id: id("sg", number),
            vpc: "vpc-1".into(),
            name: None,
            ingress: self.some(most, Self::permission),
            egress: self.some(most, Self::permission),
            descriptive: None,
        }
    }

    fn list(&mut self, number: u64) -> PrefixList {
        let entries = self.some(5, |random| match number % 2 {
            0 => random.block4().into(),
            _ => random.block6().into(),
        });
        PrefixList { id: id("pl", number), max_entries: 5, entries, descriptive: None }
    }

    /// Some of the groups of a model.
    fn groups(&mut self, model: &Model) -> Box<[Id]> {
        let mut ids: Vec<Id> = model.security_groups.keys().cloned().collect();
        ids.sort_unstable();
        ids.retain(|_| self.below(3) == 0);
        if self.below(2) == 0 {
            ids.reverse();
        }
        ids.into()
    }

    /// Groups and prefix lists, some of them missing.
    fn model(&mut self) -> Model {
        let mut model = Model::default();
        for number in 0..GROUPS {
            if self.below(8) != 0 {
                model.security_groups.insert(id("sg", number), self.group(number));
            }
        }
        for number in 0..LISTS {
            if self.below(8) != 0 {
                model.prefix_lists.insert(id("pl", number), self.list(number));
            }
        }
        for number in 0..4 {
            let groups = self.groups(&model);
            model.enis.insert(id("eni", number), eni(number, groups));
        }
        model
    }

    fn shown(&mut self) -> Shown {
        let remote = if self.below(2) == 0 { IpAddr::V4(self.v4()) } else { IpAddr::V6(self.v6()) };
        Shown { remote, protocol: self.protocol(), port: self.port() }
    }
}

fn id(kind: &str, number: u64) -> Id {
    format!("{kind}-{number}").into()
}

fn eni(number: u64, groups: Box<[Id]>) -> Eni {
    Eni {
        id: id("eni", number),
        vpc: "vpc-1".into(),
        subnet: "subnet-1".into(),
        mac: Mac([2; 6]),
        primary4: None,
        secondary4: Box::default(),
        prefixes4: Box::default(),
        addresses6: Box::default(),
        prefixes6: Box::default(),
        source_dest_check: true,
        groups,
        tracking: ConnectionTracking::default(),
        attachment: None,
        descriptive: None,
    }
}

/// What the compiler does for policies.
#[derive(Default)]
struct Node {
    numbers: Numbers,
    policies: Policies,
}

impl Node {
    fn new(model: &Model) -> Self {
        let mut node = Self::default();
        node.apply(&Model::default(), model);
        node
    }

    fn apply(&mut self, old: &Model, new: &Model) {
        self.numbers.retain(&new.security_groups);
        self.policies.update(new, &self.numbers, &diff(old, new), new.enis.values());
    }

    fn group(&self, id: &Id) -> GroupIndex {
        GroupIndex(self.numbers.get(id).unwrap())
    }
}

/// How well a rule fits: the better, the smaller.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Everywhere,
    /// By how many bits the prefix is short of an address.
    Prefix(u8),
    Group,
}

/// Rules read as they are stated.
struct Naive<'a> {
    model: &'a Model,
    /// Of the ENI, sorted.
    groups: &'a [Id],
    remote_groups: &'a [Id],
}

impl Naive<'_> {
    /// The traffic and peer of each rule, in order.
    fn rules(&self, direction: Direction) -> Vec<(Traffic, RulePeer)> {
        let mut rules = Vec::new();
        for group in self.groups {
            let group = &self.model.security_groups[group];
            for permission in if direction == Direction::Ingress { &group.ingress } else { &group.egress } {
                let mut rule = |peer| rules.push((permission.traffic, peer));
                permission.ranges4.iter().for_each(|range| rule(RulePeer::Block(range.peer.into())));
                permission.ranges6.iter().for_each(|range| rule(RulePeer::Block(range.peer.into())));
                permission.prefix_lists.iter().for_each(|list| rule(RulePeer::PrefixList(list.peer.clone())));
                permission.groups.iter().for_each(|group| rule(RulePeer::Group(group.peer.clone())));
                permission.stale.iter().for_each(|group| rule(RulePeer::Stale(group.peer.clone())));
            }
        }
        rules
    }

    fn blocks(&self, peer: &RulePeer) -> Vec<IpNet> {
        match peer {
            RulePeer::Block(block) => vec![*block],
            RulePeer::PrefixList(list) => {
                self.model.prefix_lists.get(list).map_or(Vec::new(), |list| list.entries.clone())
            }
            RulePeer::Group(_) | RulePeer::Stale(_) => Vec::new(),
        }
    }

    fn fit(&self, peer: &RulePeer, remote: IpAddr) -> Option<Fit> {
        if matches!(peer, RulePeer::Group(group) if self.remote_groups.contains(group)) {
            return Some(Fit::Group);
        }
        let around = self.blocks(peer).into_iter().filter(|block| block.contains(&remote));
        let fit = around.map(|block| match block.prefix_len() {
            0 => Fit::Everywhere,
            length => Fit::Prefix(block.max_prefix_len() - length),
        });
        fit.min()
    }

    fn find(&self, direction: Direction, shown: &Shown) -> Option<Grant> {
        let rules = self.rules(direction).into_iter().zip(0..);
        let fitting = rules
            .filter(|((traffic, _), _)| matches(*traffic, shown))
            .filter_map(|((_, peer), index)| Some((self.fit(&peer, shown.remote)?, index)));
        let (fit, index) = fitting.min()?;
        Some(Grant { rule: RuleIndex(index), everywhere: fit == Fit::Everywhere })
    }

    fn is_open(&self, direction: Direction, protocol: u8, v6: bool) -> bool {
        let every_port = |traffic| match traffic {
            Traffic::All => true,
            Traffic::Ports { protocol: of, from, to } => (of, from, to) == (protocol, 0, u16::MAX),
            _ => false,
        };
        let everywhere = |block: &IpNet| block.prefix_len() == 0 && block.addr().is_ipv6() == v6;
        matches!(protocol, 6 | 17)
            && self
                .rules(direction)
                .iter()
                .any(|(traffic, peer)| every_port(*traffic) && self.blocks(peer).iter().any(everywhere))
    }
}

fn matches(traffic: Traffic, shown: &Shown) -> bool {
    let [shown_kind, shown_code] = shown.port.to_be_bytes();
    match traffic {
        Traffic::All => true,
        Traffic::Ports { protocol, from, to } => {
            protocol == shown.protocol && from <= shown.port && shown.port <= to
        }
        Traffic::Icmp { protocol, kind, code } => {
            protocol == shown.protocol
                && kind.is_none_or(|kind| kind == shown_kind)
                && code.is_none_or(|code| code == shown_code)
        }
        Traffic::Protocol(protocol) => protocol == shown.protocol,
    }
}

#[test]
fn sec_1_compiled_rules_equal_a_naive_reading_of_them() {
    let pairs: u64 =
        std::env::var("WARREN_PAIRS").map_or(40_000, |pairs| pairs.parse().expect("WARREN_PAIRS"));
    let (mut random, mut granted) = (Random(6), 0);
    for _ in 0..pairs / 100 {
        let model = random.model();
        let node = Node::new(&model);
        let groups: Box<[Id]> = random.one_of(&model.enis.values().collect::<Vec<_>>()).groups.clone();
        let policy = node.policies.get(&groups).unwrap();
        for _ in 0..50 {
            let (shown, remote_groups) = (random.shown(), random.groups(&model));
            let naive = Naive { model: &model, groups: &sorted(&groups), remote_groups: &remote_groups };
            let remote: Vec<GroupIndex> = remote_groups.iter().map(|id| node.group(id)).collect();
            for direction in BOTH {
                let found = policy.find(direction, &shown, &remote);
                assert_eq!(found, naive.find(direction, &shown), "{direction:?} {shown:?}\n{model:#?}");
                granted += u64::from(found.is_some());
                let v6 = shown.remote.is_ipv6();
                assert_eq!(
                    policy.is_open(direction, shown.protocol, v6),
                    naive.is_open(direction, shown.protocol, v6)
                );
            }
        }
    }
    assert!((pairs / 5..pairs * 4 / 5).contains(&granted), "{granted} of {pairs}");
}

#[test]
fn updates_equal_policies_from_nothing_and_leave_alone_what_did_not_change() {
    let mut random = Random(12);
    let mut old = random.model();
    let mut node = Node::new(&old);
    for _ in 0..300 {
        let mut new = old.clone();
        let another = random.model();
        let number = random.below(8);
        match random.below(3) {
            0 => replace(&mut new.security_groups, another.security_groups, &id("sg", number)),
            1 => replace(&mut new.prefix_lists, another.prefix_lists, &id("pl", number % LISTS)),
            _ => replace(&mut new.enis, another.enis, &id("eni", number % 4)),
        }
        // ENIs have no groups that are not there.
        for eni in new.enis.values_mut() {
            eni.groups =
                eni.groups.iter().filter(|id| new.security_groups.contains_key(*id)).cloned().collect();
        }
        let before = node.policies.by_set.clone();
        node.apply(&old, &new);
        let scratch = Node::new(&new);
        assert_eq!(node.policies.by_set.len(), scratch.policies.by_set.len());
        for eni in new.enis.values() {
            let [ours, theirs] = [&node, &scratch].map(|node| node.policies.get(&eni.groups).unwrap());
            for _ in 0..20 {
                let (shown, remote) = (random.shown(), random.groups(&new));
                let [mine, other] = [&node, &scratch]
                    .map(|node| -> Vec<_> { remote.iter().map(|id| node.group(id)).collect() });
                for direction in BOTH {
                    assert_eq!(ours.find(direction, &shown, &mine), theirs.find(direction, &shown, &other));
                }
            }
            if old.security_groups == new.security_groups
                && old.prefix_lists == new.prefix_lists
                && let Some(before) = before.get(&*sorted(&eni.groups))
            {
                assert!(Arc::ptr_eq(before, &ours));
            }
        }
        old = new;
    }
}

fn replace<T>(into: &mut model::ById<T>, mut from: model::ById<T>, id: &Id) {
    into.remove(id);
    into.extend(from.remove(id).map(|resource| (id.clone(), resource)));
}

fn allow(traffic: Traffic, block: &str) -> Permission {
    let block = Peer { peer: block.parse().unwrap(), description: None };
    Permission {
        traffic,
        ranges4: vec![block],
        ranges6: Vec::new(),
        prefix_lists: Vec::new(),
        groups: Vec::new(),
        stale: Vec::new(),
    }
}

fn tcp(from: u16, to: u16) -> Traffic {
    Traffic::Ports { protocol: 6, from, to }
}

fn with_groups(groups: &[(u64, Vec<Permission>)]) -> Model {
    let mut model = Model::default();
    for (number, ingress) in groups {
        let id = id("sg", *number);
        let (vpc, ingress, egress) = ("vpc-1".into(), ingress.clone(), Vec::new());
        let group = SecurityGroup { id: id.clone(), vpc, name: None, ingress, egress, descriptive: None };
        model.security_groups.insert(id, group);
    }
    model
}

#[test]
fn a_rule_counts_on_while_others_of_its_group_change() {
    let (ssh, web) = (allow(tcp(22, 22), "10.0.0.0/8"), allow(tcp(80, 80), "0.0.0.0/0"));
    let mut old = with_groups(&[(1, vec![ssh.clone(), web.clone()]), (2, vec![])]);
    old.enis.insert(id("eni", 1), eni(1, [id("sg", 1)].into()));
    old.enis.insert(id("eni", 2), eni(2, [id("sg", 1), id("sg", 2)].into()));
    let mut node = Node::new(&old);
    let hits = |node: &Node, groups: &[Id]| -> Vec<(String, u64)> {
        let policy = node.policies.get(groups).unwrap();
        policy.rules(Direction::Ingress).map(|(rule, hits)| (rule.peer.to_string(), hits)).collect()
    };
    let before = node.policies.get(&[id("sg", 1)]).unwrap();
    before.hit(Direction::Ingress, RuleIndex(0));
    before.hit(Direction::Ingress, RuleIndex(1));
    before.hit(Direction::Ingress, RuleIndex(2));
    before.hit(Direction::Egress, RuleIndex(0));
    let mut new = old.clone();
    let group = new.security_groups.get_mut(&id("sg", 1)).unwrap();
    group.ingress = vec![allow(tcp(443, 443), "10.9.0.0/16"), ssh];
    node.apply(&old, &new);
    // A worker may still be in the tables before.
    before.hit(Direction::Ingress, RuleIndex(0));
    let expected = [("10.9.0.0/16".to_owned(), 0), ("10.0.0.0/8".to_owned(), 2)];
    assert_eq!(hits(&node, &[id("sg", 1)]), expected);
    // A rule is counted once for all ENIs of the node that have its group.
    assert_eq!(hits(&node, &[id("sg", 2), id("sg", 1)]), expected);
}

#[test]
fn a_set_of_groups_is_compiled_once_for_all_enis_that_have_it() {
    let mut model = with_groups(&[(1, vec![allow(tcp(22, 22), "10.0.0.0/8")]), (2, vec![])]);
    for number in 0..10_000 {
        let mut groups = [id("sg", 1), id("sg", 2)];
        groups.rotate_left(number as usize % 2);
        model.enis.insert(id("eni", number), eni(number, groups.into()));
    }
    let node = Node::new(&model);
    assert_eq!(node.policies.by_set.len(), 1);
    let policies: Vec<_> = model.enis.values().map(|eni| node.policies.get(&eni.groups).unwrap()).collect();
    assert!(policies.iter().all(|policy| Arc::ptr_eq(policy, &policies[0])));
}

#[test]
fn sets_of_groups_have_numbers_while_enis_have_them() {
    let model = with_groups(&[(1, vec![]), (2, vec![]), (3, vec![])]);
    let mut numbers = Numbers::default();
    numbers.retain(&model.security_groups);
    let [one, two, three] = [1, 2, 3].map(|number| id("sg", number));
    let (pair, turned) = ([one.clone(), two.clone()], [two, one.clone()]);
    let (one, three) = ([one], [three]);
    let mut sets = GroupSetNumbers::default();
    let members = |sets: &GroupSetNumbers, groups: &[Id]| {
        let mut members = sets.to_table(&numbers).get(sets.get(groups)).to_vec();
        members.sort_unstable();
        members
    };
    let of = |groups: &[Id]| {
        let mut of: Vec<_> = groups.iter().map(|id| GroupIndex(numbers.get(id).unwrap())).collect();
        of.sort_unstable();
        of
    };
    sets.take(&[]);
    assert!(!sets.take_changed());
    assert_eq!(sets.get(&[]), GroupSetIndex::EMPTY);
    sets.take(&pair);
    assert!(sets.take_changed());
    sets.take(&turned);
    assert!(!sets.take_changed());
    sets.take(&three);
    let (first, third) = (sets.get(&pair), sets.get(&three));
    assert_eq!(members(&sets, &turned), of(&pair));
    sets.release(&pair);
    assert_eq!(members(&sets, &pair), of(&pair), "another ENI has it");
    sets.release(&turned);
    assert_eq!(sets.get(&pair), GroupSetIndex::EMPTY);
    sets.take(&one);
    assert_eq!((sets.get(&one), sets.get(&three)), (first, third));
    assert_eq!((members(&sets, &one), members(&sets, &three)), (of(&one), of(&three)));
}

/// Ten groups of a thousand rules, each for a list of a hundred prefixes.
fn large(lists: u64) -> Model {
    let mut model = Model::default();
    for number in 0..lists {
        let entry = |entry: u64| {
            let address =
                Ipv4Addr::from_bits(((number * 100 + entry) as u32).wrapping_mul(0x9e37_79b1) & !0xff);
            IpNet::new(address.into(), 24).unwrap()
        };
        let entries = (0..100).map(entry).collect();
        let list = PrefixList { id: id("pl", number), max_entries: 100, entries, descriptive: None };
        model.prefix_lists.insert(list.id.clone(), list);
    }
    for group in 0..10 {
        let ingress = (0..1000).map(|rule| Permission {
            prefix_lists: vec![Peer { peer: id("pl", (group * 1000 + rule) % lists), description: None }],
            ..Permission {
                ranges4: Vec::new(),
                ..allow(tcp(rule as u16 * 7, rule as u16 * 7 + group as u16), "0.0.0.0/0")
            }
        });
        let (id, vpc) = (id("sg", group), "vpc-1".into());
        let group = SecurityGroup {
            id: id.clone(),
            vpc,
            name: None,
            ingress: ingress.collect(),
            egress: Vec::new(),
            descriptive: None,
        };
        model.security_groups.insert(id, group);
    }
    model.enis.insert(id("eni", 1), eni(1, (0..10).map(|group| id("sg", group)).collect()));
    model
}

#[test]
fn memory_is_linear_in_rules_and_prefixes() {
    // (rules, prefix) pairs are a million in both; prefixes, and so ranges, are not.
    for (lists, most) in [(1, 300 << 10), (10_000, 40 << 20)] {
        let model = large(lists);
        let start = Instant::now();
        let node = Node::new(&model);
        let bytes = node.policies.get(&model.enis[&id("eni", 1)].groups).unwrap().bytes();
        println!("{lists} lists: {bytes} bytes in {:?}", start.elapsed());
        assert!(bytes < most, "{bytes}");
    }
}
