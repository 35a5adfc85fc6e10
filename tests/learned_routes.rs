//! Many routes by BGP: what each costs in memory, all in, and how long they take from zebra's frames to the workers' table.
//!
//! `WARREN_ROUTES=1000000 cargo test --release --test learned_routes -- --nocapture` prints the figures of a million.
//! One test only: the count is of the whole process.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicIsize, Ordering},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use warren::{
    propagation::{Path, Rib, fpm::Frames, netlink},
    tables::Fib,
};

/// Knows how many bytes are in use.
struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every method passes its arguments on to the system's allocator, whose contract is the same, and returns what that
// returns; the counter is not memory that either manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are the ones asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: `memory` is from `alloc` or `realloc` above, so from `System`, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BYTES.fetch_add(size as isize - layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as `dealloc`; the caller promises that `size` is not zero and fits.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A frame with the route to a prefix by one of a few interfaces, or its withdrawal.
fn frame(prefix: IpNet, interface: Option<u32>) -> Vec<u8> {
    let attribute = |kind: u16, value: &[u8]| {
        [&(value.len() as u16 + 4).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    };
    let (family, destination) = match prefix.addr() {
        IpAddr::V4(address) => (2, attribute(1, &address.octets())),
        IpAddr::V6(address) => (10, attribute(1, &address.octets())),
    };
    let oif = interface.map(|interface| attribute(4, &interface.to_ne_bytes())).unwrap_or_default();
    let route = [family, prefix.prefix_len(), 0, 0, 254, 186, 0, 1, 0, 0, 0, 0];
    let len = 16 + route.len() + destination.len() + oif.len();
    let kind: u16 = if interface.is_some() { 24 } else { 25 };
    [
        &[1, 1][..],
        &(len as u16 + 4).to_be_bytes(),
        &(len as u32).to_ne_bytes(),
        &kind.to_ne_bytes(),
        &[0; 10],
        &route,
        &destination,
        &oif,
    ]
    .concat()
}

/// Different prefixes in the lengths that the Internet's table has most of, in no order.
fn prefixes(count: u32, v6: bool) -> impl Iterator<Item = IpNet> {
    // Odd factors: no two numbers give the same leading bits.
    (0..count).map(move |n| {
        if v6 {
            let bits = n.wrapping_mul(0x9e37_79b9) & 0x0fff_ffff;
            let address = Ipv6Addr::from_bits(0x2 << 124 | u128::from(bits) << 96 | u128::from(n % 7) << 80);
            IpNet::new(address.into(), if n.is_multiple_of(3) { 32 } else { 48 }).unwrap().trunc()
        } else {
            let bits = n.wrapping_mul(0x9e37_79b9 >> 8 | 1) & 0x00ff_ffff;
            let len = [24, 24, 24, 22, 23, 20, 24, 16][n as usize % 8];
            IpNet::new(Ipv4Addr::from_bits(bits << 8).into(), len).unwrap().trunc()
        }
    })
}

/// What the management side of a gateway keeps, and the table that it gives the workers.
struct Gateway {
    rib: Rib,
    fib: Fib<u32>,
    targets: HashMap<Path, u32>,
}

impl Gateway {
    fn hear(&mut self, mut stream: &[u8]) {
        let mut frames = Frames::default();
        while frames.read(&mut stream).unwrap() > 0 {
            while let Some(frame) = frames.next_frame().unwrap() {
                self.rib.apply(netlink::updates(frame).unwrap());
            }
            // As the listener gathers.
            if self.rib.pending() >= 64 << 10 {
                self.put_in_force();
            }
        }
        self.put_in_force();
    }

    fn put_in_force(&mut self) {
        let changes = self.rib.take_changes();
        let targets = &mut self.targets;
        self.fib = self.fib.apply(changes.into_iter().map(|change| {
            let next = targets.len() as u32;
            (change.prefix, change.new.map(|path| *targets.entry(path).or_insert(next)))
        }));
    }
}

#[track_caller]
fn check(count: u32, share_of_v6: u32) {
    let v6 = count / 100 * share_of_v6;
    let wanted = || prefixes(count - v6, false).chain(prefixes(v6, true));
    let stream: Vec<u8> = wanted().zip(0..).flat_map(|(prefix, n)| frame(prefix, Some(1 + n % 5))).collect();
    let before = BYTES.load(Ordering::Relaxed);
    let begin = Instant::now();
    let mut gateway =
        Gateway { rib: Rib::new(Duration::from_secs(120)), fib: Fib::default(), targets: HashMap::new() };
    gateway.rib.connected(begin);
    gateway.hear(&stream);
    let load = begin.elapsed();
    let routes = gateway.fib.len();
    let bytes = (BYTES.load(Ordering::Relaxed) - before) / routes as isize;
    assert_eq!(routes, gateway.rib.len());

    let mut changes = 0;
    let begin = Instant::now();
    for prefix in wanted().step_by(count as usize / 100) {
        for interface in [None, Some(9)] {
            gateway.hear(&frame(prefix, interface));
            assert_eq!(gateway.fib.get(prefix).is_some(), interface.is_some());
            changes += 1;
        }
    }
    let change = begin.elapsed() / changes;
    let rib = gateway.rib.len();
    let with_both = BYTES.load(Ordering::Relaxed);
    drop(gateway.fib);
    let fib = (with_both - BYTES.load(Ordering::Relaxed)) / rib as isize;
    println!(
        "{routes} routes, {share_of_v6} % of them IPv6: {bytes} bytes each ({fib} in the workers' table), \
         loaded in {load:?}, a change takes {change:?}"
    );
    assert!(bytes <= 100, "{bytes} bytes a route");
    if cfg!(not(debug_assertions)) {
        assert!(load < Duration::from_secs(10), "{load:?}");
        assert!(change < Duration::from_millis(50), "{change:?}");
    }
}

/// BGP-1: with everything that is kept of it, a learned route takes at most 100 bytes, whatever its family.
#[test]
fn bgp_1_a_learned_route_takes_at_most_100_bytes() {
    let count = std::env::var("WARREN_ROUTES").map_or(40_000, |count| count.parse().expect("WARREN_ROUTES"));
    for share_of_v6 in [0, 20, 100] {
        check(count, share_of_v6);
    }
}
