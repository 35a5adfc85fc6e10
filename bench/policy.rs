//! What the first packet of a flow pays for security groups: a lookup that a rule allows and one that none does, by the number
//! of rules; and what a change of the rules costs the management thread.

use std::{hint::black_box, net::Ipv4Addr, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ipnet::{IpNet, Ipv4Net};
use warren::{
    model::{Peer, Permission, SecurityGroup, Traffic},
    tables::{Direction, GroupIndex, GroupRules, Policy, RulePeers, Shown},
};

/// Lookups per iteration, as in a worker's burst: what is reported is the time of all of them.
const BURST: usize = 32;

/// Numbers in no order.
fn mixed(n: u32) -> u32 {
    let n = (n ^ n >> 16).wrapping_mul(0x7feb_352d);
    let n = (n ^ n >> 15).wrapping_mul(0x846c_a68b);
    n ^ n >> 16
}

/// Prefix lists of a hundred /24s each, by the number that is their id, and groups, likewise.
struct Named {
    lists: Vec<Vec<IpNet>>,
}

impl Named {
    fn new(lists: u32) -> Self {
        let entry = |n| Ipv4Net::new(Ipv4Addr::from_bits(mixed(n)), 24).unwrap().trunc().into();
        Self { lists: (0..lists).map(|list| (list * 100..list * 100 + 100).map(entry).collect()).collect() }
    }
}

impl RulePeers for Named {
    fn blocks(&self, list: &str) -> &[IpNet] {
        &self.lists[list.parse::<usize>().unwrap()]
    }

    fn group(&self, id: &str) -> Option<GroupIndex> {
        id.parse().ok().map(GroupIndex)
    }
}

fn peer<T>(peer: T) -> Peer<T> {
    Peer { peer, description: None }
}

/// The port of a rule.
fn port(rule: u32) -> u16 {
    (rule % 1000 * 61) as u16
}

/// The address that a rule is for.
fn address(rule: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(mixed(rule))
}

/// What rules are for.
#[derive(Clone, Copy)]
enum Kind {
    /// A block each.
    Blocks,
    /// One of so many prefix lists each.
    Lists(u32),
    /// One of a hundred groups each.
    Groups,
}

fn permission(kind: Kind, rule: u32) -> Permission {
    let traffic = Traffic::Ports { protocol: 6, from: port(rule), to: port(rule) + 9 };
    let (mut ranges4, mut prefix_lists, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    match kind {
        Kind::Blocks => {
            let length = [32, 32, 28, 24, 24, 20, 16, 12][rule as usize % 8];
            ranges4.push(peer(Ipv4Net::new(address(rule), length).unwrap().trunc()));
        }
        Kind::Lists(lists) => prefix_lists.push(peer((rule % lists).to_string().into())),
        Kind::Groups => groups.push(peer((rule % 100).to_string().into())),
    }
    Permission { traffic, ranges4, ranges6: Vec::new(), prefix_lists, groups, stale: Vec::new() }
}

/// Groups of at most a thousand rules each.
fn groups(kind: Kind, rules: u32) -> Vec<Arc<GroupRules>> {
    let group = |first: u32| {
        let ingress = (first..rules.min(first + 1000)).map(|rule| permission(kind, rule)).collect();
        let group = SecurityGroup {
            id: first.to_string().into(),
            vpc: "vpc-1".into(),
            name: None,
            ingress,
            egress: Vec::new(),
            descriptive: None,
        };
        Arc::new(GroupRules::new(&group, None))
    };
    (0..rules).step_by(1000).map(group).collect()
}

fn bench(c: &mut Criterion) {
    let named = Named::new(10_000);
    let kinds = [
        ("blocks", Kind::Blocks),
        ("one-list", Kind::Lists(1)),
        ("lists", Kind::Lists(10_000)),
        ("groups", Kind::Groups),
    ];
    for (name, kind) in kinds {
        for rules in [10, 1000, 10_000] {
            let policy = Policy::new(groups(kind, rules), &named);
            lookups(c, &format!("{name}/{rules}"), kind, rules, &policy);
        }
        c.bench_function(&format!("policy/build/{name}/10000"), |b| {
            let groups = groups(kind, 10_000);
            b.iter(|| Policy::new(groups.iter().cloned(), &named));
        });
    }
}

fn lookups(c: &mut Criterion, name: &str, kind: Kind, rules: u32, policy: &Policy) {
    let mut group = c.benchmark_group("policy");
    group.throughput(Throughput::Elements(BURST as u64));
    let mut n = 0;
    for (outcome, protocol) in [("hit", 6), ("miss", 17)] {
        let mut next = || {
            n += 1;
            let rule = mixed(n) % rules;
            let remote = match kind {
                Kind::Lists(lists) => address(rule % lists * 100 + n % 100),
                Kind::Blocks | Kind::Groups => address(rule),
            };
            let shown = Shown { remote: remote.into(), protocol, port: port(rule) };
            (shown, [GroupIndex(rule % 100)])
        };
        let (shown, groups) = next();
        assert_eq!(policy.find(Direction::Ingress, &shown, &groups).is_some(), outcome == "hit");
        group.bench_function(format!("{outcome}/{name}"), |b| {
            b.iter_batched(
                || -> [_; BURST] { std::array::from_fn(|_| next()) },
                |packets| {
                    for (shown, groups) in &packets {
                        black_box(policy.find(Direction::Ingress, shown, groups));
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
