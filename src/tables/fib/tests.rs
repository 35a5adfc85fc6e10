use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use proptest::prelude::*;

use super::{
    Fib, IpNet,
    family::{Family, LEAST, MOST},
    prefix::Prefix,
};

/// Few distinct bits, some leading and some low, so that prefixes nest and addresses fall into them.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (0..8u32, any::<u32>())
        .prop_map(|(high, low)| Ipv4Addr::from_bits(high << 29 | low & 0x0003_0303).into());
    let v6 = (0..8u128, any::<u128>()).prop_map(|(high, low)| {
        Ipv6Addr::from_bits(high << 125 | low & 0x0003_0303_0000_0000_0003_0000_0000_0303).into()
    });
    prop_oneof![v4, v6]
}

fn prefix() -> impl Strategy<Value = IpNet> {
    let lengths = prop_oneof![8 => 0..=128u8, 1 => Just(0), 2 => Just(128)];
    (address(), lengths).prop_map(|(address, len)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        // Of an IPv4 prefix the lengths that are too long are as good as any other.
        IpNet::new(address, if len == 128 { most } else { len % (most + 1) }).unwrap().trunc()
    })
}

type Model = BTreeMap<IpNet, u32>;

fn naive(model: &Model, address: IpAddr) -> Option<u32> {
    let holding = model.iter().filter(|(net, _)| net.contains(&address));
    holding.max_by_key(|(net, _)| net.prefix_len()).map(|(_, target)| *target)
}

fn lookup(fib: &Fib<u32>, address: IpAddr) -> Option<u32> {
    match address {
        IpAddr::V4(address) => fib.lookup_v4(address.to_bits()),
        IpAddr::V6(address) => fib.lookup_v6(address.to_bits()),
    }
}

/// What the ranges promise, beside the right answers.
fn check_ranges<P: Prefix, T: Copy + PartialEq>(family: &Family<P, T>) {
    let blocks: Vec<P> = family.ranges.iter().map(|range| range.block).collect();
    assert!(blocks.is_sorted() && blocks[0] == P::root(), "{blocks:?}");
    for (position, range) in family.ranges.iter().enumerate() {
        let count = range.routes().count();
        assert!(count <= MOST && (position == 0 || count >= LEAST), "{count} routes in {:?}", range.block);
        for (prefix, _) in range.routes() {
            let longest = blocks.iter().rfind(|block| block.covers(&prefix));
            assert_eq!(longest, Some(&range.block), "{prefix:?}");
        }
    }
    assert_eq!(family.len(), family.iter().count());
}

/// What differs between two tables is the same in both directions, and found by who compares all; and the one can be made
/// of the other.
fn check_difference(last: &Fib<u32>, fib: &Fib<u32>) {
    let differing: BTreeSet<_> = last.differing(fib).into_iter().collect();
    assert_eq!(differing, fib.differing(last).into_iter().collect());
    let (before, after): (Model, Model) = (last.iter().collect(), fib.iter().collect());
    let either = before.keys().chain(after.keys());
    assert_eq!(differing, either.filter(|net| before.get(*net) != after.get(*net)).copied().collect());
    let replaced = last.replaced(fib.iter());
    check_ranges(&replaced.v4);
    check_ranges(&replaced.v6);
    assert_eq!(replaced.iter().collect::<Model>(), after);
}

proptest! {
    /// RT-16: whatever came and went, the longest prefix wins.
    #[test]
    fn rt_16_equals_a_linear_scan_after_any_changes(
        batches in proptest::collection::vec(
            proptest::collection::vec((prefix(), proptest::option::weighted(0.7, any::<u32>())), 0..100),
            1..5,
        ),
        probes in proptest::collection::vec(address(), 40),
        emptied in any::<bool>(),
    ) {
        let (mut fib, mut model) = (Fib::default(), Model::new());
        let mut before: Vec<(Fib<u32>, Vec<Option<u32>>)> = Vec::new();
        let mut last = fib.clone();
        let step = |fib: &mut Fib<u32>, model: &mut Model, batch: &[(IpNet, Option<u32>)]| {
            *fib = fib.apply(batch.iter().copied());
            for (prefix, target) in batch {
                match target {
                    Some(target) => model.insert(*prefix, *target),
                    None => model.remove(prefix),
                };
            }
        };
        for batch in &batches {
            step(&mut fib, &mut model, batch);
            check_ranges(&fib.v4);
            check_ranges(&fib.v6);
            for probe in &probes {
                prop_assert_eq!(lookup(&fib, *probe), naive(&model, *probe), "{}", probe);
            }
            prop_assert_eq!(fib.iter().collect::<Model>(), model.clone());
            prop_assert!(fib.in_order().eq(model.iter().map(|(prefix, target)| (*prefix, *target))));
            check_difference(&last, &fib);
            last = fib.clone();
            for (prefix, target) in &model {
                prop_assert_eq!(fib.get(*prefix), Some(*target));
            }
            before.push((fib.clone(), probes.iter().map(|probe| naive(&model, *probe)).collect()));
        }
        if emptied {
            let all: Vec<_> = model.keys().map(|prefix| (*prefix, None)).collect();
            step(&mut fib, &mut model, &all);
            prop_assert!(fib.is_empty());
            prop_assert_eq!((fib.v4.ranges.len(), fib.v6.ranges.len()), (1, 1));
        }
        // A snapshot is what it was.
        for (fib, answers) in before {
            prop_assert_eq!(probes.iter().map(|probe| lookup(&fib, *probe)).collect::<Vec<_>>(), answers);
        }
    }
}

/// RT-17: a change builds its own range anew and shares the others, also one of the default route, which all ranges have
/// as their cover.
#[test]
fn a_change_touches_only_what_it_changes() {
    let host = |n: u32| IpNet::from(IpAddr::from(Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b9))));
    let fib = Fib::new((0..1000).map(|n| (host(n), n)));
    let ranges = fib.v4.ranges.len();
    assert!(ranges > 1000 / MOST);
    let default: IpNet = "0.0.0.0/0".parse().unwrap();
    for (prefix, target) in [(host(7), Some(1)), (default, Some(2)), (default, None)] {
        let next = fib.apply([(prefix, target)]);
        let pairs = next.v4.ranges.iter().zip(&*fib.v4.ranges);
        let shared = pairs.filter(|(new, old)| Arc::ptr_eq(&new.trie, &old.trie)).count();
        assert_eq!((next.v4.ranges.len(), shared), (ranges, ranges - 1), "{prefix}");
        assert!(Arc::ptr_eq(&next.v6.ranges, &fib.v6.ranges));
        assert_eq!(
            fib.differing(&next).len(),
            usize::from(target.is_some() || prefix != default),
            "{prefix}"
        );
        // An address that no other route has.
        assert_eq!(next.lookup_v4(1), target.filter(|_| prefix == default), "{prefix}");
    }
}
