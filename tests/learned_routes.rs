//! Many routes by BGP: what each costs in memory, with all that the host of a gateway's zebra keeps of it (what zebra said, what
//! that means, the workers' table, what other hosts are told), and how much of a processor's time they take from zebra's frames to the tables.
//!
//! `WARREN_ROUTES=1000000 cargo test --release --test learned_routes -- --nocapture` prints the figures of a million.
//! One test only: the count is of the whole process.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::atomic::{AtomicIsize, Ordering},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use warren::{
    model::{
        AttachmentKind, Circuit, Descriptive, DirectConnectGateway, Host, Id, Model, Terminal,
        TransitAttachment, TransitGateway, VirtualInterface,
    },
    node::{config::HostConfig, learned::Heard, manager::Manager, replay::stand_in_mac},
    propagation::{Rib, feed::Feed, fpm::Frames, netlink},
    tables::{CircuitSet, Fib, GatewayKind},
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

/// Processor time of this thread: other programs' does not count.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is one, and may be written to.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processor time that something takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = processor_time();
    let done = work();
    (done, processor_time() - begin)
}

/// The far end of one of a few circuits, of the family of what is behind it.
fn peer(circuit: u8, v6: bool) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, circuit.into(), 0, 0, 0, 0, 0, 2).into()
    } else {
        Ipv4Addr::new(169, 254, circuit, 2).into()
    }
}

const CIRCUITS: u8 = 10;
const ATTACHMENT: &str = "tgw-attach-dx";

/// A transit gateway with a Direct Connect gateway, over circuits of either family.
fn model() -> Model {
    let mut model = Model::default();
    let descriptive = Descriptive::default;
    let id = |text: &str| Id::from(text);
    let host = Host { id: id("host-a"), underlay: "192.0.2.1".parse().unwrap() };
    model.hosts.insert(id("host-a"), host);
    let gateway = TransitGateway {
        id: id("tgw"),
        vpn_ecmp: true,
        multicast: false,
        group_references: false,
        descriptive: descriptive(),
    };
    model.transit_gateways.insert(id("tgw"), gateway);
    let gateway = DirectConnectGateway {
        id: id("dx"),
        vpn_gateways: Vec::new(),
        transit_gateways: vec![id("tgw")],
        descriptive: descriptive(),
    };
    model.direct_connect_gateways.insert(id("dx"), gateway);
    let attachment = TransitAttachment {
        id: id(ATTACHMENT),
        gateway: id("tgw"),
        available: true,
        kind: AttachmentKind::DirectConnect(id("dx")),
        table: None,
        descriptive: descriptive(),
    };
    model.transit_attachments.insert(id(ATTACHMENT), attachment);
    for (circuit, v6) in (0..CIRCUITS).flat_map(|circuit| [(circuit, false), (circuit, true)]) {
        let name = id(&format!("dxvif-{circuit}-{v6}"));
        let (vlan, peer) = (u16::from(circuit) * 2 + u16::from(v6), peer(circuit, v6));
        let address = IpNet::new(peer, if v6 { 64 } else { 30 }).unwrap();
        let interface = VirtualInterface {
            id: name.clone(),
            terminal: Terminal::DirectConnectGateway(id("dx")),
            vlan,
            mtu: 8500,
            address,
            peer,
            descriptive: descriptive(),
        };
        model.virtual_interfaces.insert(name.clone(), interface);
        let circuit = Circuit {
            id: name.clone(),
            resource: name.clone(),
            tunnel: 0,
            host: id("host-a"),
            port: "out".into(),
            vlan: Some(vlan),
            address,
            peer,
        };
        model.circuits.insert(name, circuit);
    }
    model
}

/// A frame with the route to a prefix over one of the circuits, or its withdrawal.
fn frame(prefix: IpNet, circuit: Option<u8>) -> Vec<u8> {
    let attribute = |kind: u16, value: &[u8]| {
        [&(value.len() as u16 + 4).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    };
    let (family, destination) = match prefix.addr() {
        IpAddr::V4(address) => (2, attribute(1, &address.octets())),
        IpAddr::V6(address) => (10, attribute(1, &address.octets())),
    };
    let gateway = circuit.map(|circuit| match peer(circuit, family == 10) {
        IpAddr::V4(address) => attribute(5, &address.octets()),
        IpAddr::V6(address) => attribute(5, &address.octets()),
    });
    let gateway = gateway.unwrap_or_default();
    let route = [family, prefix.prefix_len(), 0, 0, 254, 186, 0, 1, 0, 0, 0, 0];
    let len = 16 + route.len() + destination.len() + gateway.len();
    let kind: u16 = if circuit.is_some() { 24 } else { 25 };
    [
        &[1, 1][..],
        &(len as u16 + 4).to_be_bytes(),
        &(len as u32).to_ne_bytes(),
        &kind.to_ne_bytes(),
        &[0; 10],
        &route,
        &destination,
        &gateway,
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

/// All that the host of a gateway's zebra keeps of its routes.
struct Gateway {
    rib: Rib,
    manager: Manager,
    feed: Feed,
}

impl Gateway {
    fn new() -> Self {
        let host = r#"
            host = "host-a"
            state = "s"
            workers = { cores = [1] }
            [[port]]
            name = "out"
            role = "gateway"
            device = "net_null0"
        "#;
        let config =
            HostConfig::parse(host, Path::new("/")).unwrap_or_else(|problems| panic!("{problems:?}"));
        let (manager, _) = Manager::new(&config, config.site(stand_in_mac), model(), 1).unwrap();
        let mut rib = Rib::new(Duration::from_secs(120));
        rib.connected(Instant::now());
        Self { rib, manager, feed: Feed::start("127.0.0.1:0".parse().unwrap()).unwrap() }
    }

    /// Takes in zebra's stream. Returns the longest time in which the node did nothing else than put changes in force.
    fn hear(&mut self, mut stream: &[u8]) -> Duration {
        let (mut frames, mut longest) = (Frames::default(), Duration::ZERO);
        while frames.read(&mut stream).unwrap() > 0 {
            while let Some(frame) = frames.next_frame().unwrap() {
                self.rib.apply(netlink::updates(frame).unwrap());
            }
            // As the listener gathers.
            if self.rib.pending() >= 64 << 10 {
                longest = longest.max(self.put_in_force());
            }
        }
        longest.max(self.put_in_force())
    }

    fn put_in_force(&mut self) -> Duration {
        let changes = self.rib.take_changes();
        let put = || {
            self.manager.learn(vec![Heard::Zebra(ATTACHMENT.into(), changes)]);
            for (gateway, changes) in self.manager.take_tell() {
                self.feed.tell(&gateway, changes);
            }
            // As the daemon does in its rounds: what no worker has any more is freed.
            self.manager.collect();
        };
        timed(put).1
    }

    /// The table that the workers have.
    fn table(&self) -> Fib<CircuitSet> {
        let gateways = &self.manager.tables().exits.gateways;
        let gateway = gateways.iter().find(|gateway| &*gateway.id == ATTACHMENT).expect("the attachment");
        let GatewayKind::Outside(outside) = &gateway.kind else { panic!("it leads outside") };
        outside.routes.clone()
    }
}

fn bytes() -> isize {
    BYTES.load(Ordering::Relaxed)
}

#[track_caller]
fn check(count: u32, share_of_v6: u32, most: isize, longest: Duration) {
    let v6 = count / 100 * share_of_v6;
    let wanted = || prefixes(count - v6, false).chain(prefixes(v6, true));
    let stream = |up: bool| -> Vec<u8> {
        wanted().zip(0_u32..).flat_map(|(prefix, n)| frame(prefix, up.then_some((n % 5) as u8))).collect()
    };
    let (up, down) = (stream(true), stream(false));
    let mut gateway = Gateway::new();
    let before = bytes();
    let (slowest, load) = timed(|| gateway.hear(&up));
    let routes = gateway.table().len();
    let each = (bytes() - before) / routes as isize;
    assert_eq!(routes, gateway.rib.len());
    let before = bytes();
    let copy = Fib::new(gateway.table().iter());
    let fib = (bytes() - before) / routes as isize;
    drop(copy);

    let mut changes = Vec::new();
    for prefix in wanted().step_by(count as usize / 100) {
        for circuit in [None, Some(9)] {
            changes.push(gateway.hear(&frame(prefix, circuit)));
            assert_eq!(gateway.table().get(prefix).is_some(), circuit.is_some());
        }
    }
    changes.sort_unstable();
    let (change, worst) = (changes[changes.len() / 2], changes[changes.len() - 1]);

    let (reaction, withdrawn) = timed(|| gateway.hear(&down));
    assert!(gateway.table().is_empty() && gateway.rib.is_empty());
    println!(
        "{routes} routes, {share_of_v6} % of them IPv6: {each} bytes each ({fib} in the workers' table), \
         loaded in {load:?} (at once for {slowest:?} at most), a change, or a withdrawal, takes {change:?} ({worst:?} at most), all are \
         withdrawn in {withdrawn:?} (at once for {reaction:?} at most); times are the processor's"
    );
    assert!(each <= most, "{each} bytes a route");
    if cfg!(not(debug_assertions)) {
        assert!(load < longest, "{load:?}");
        // What is left of 100 ms is for the workers' round and a busy machine.
        assert!(worst < Duration::from_millis(50), "{worst:?}");
    }
}

/// BGP-1: with everything that is kept of it, a learned route takes at most 100 bytes where a fifth is IPv6, as in the
/// Internet's table; one of IPv6 alone takes more, as its addresses do.
#[test]
fn bgp_1_a_learned_route_takes_at_most_100_bytes() {
    let count = std::env::var("WARREN_ROUTES").map_or(20_000, |count| count.parse().expect("WARREN_ROUTES"));
    for (share_of_v6, most, seconds) in [(0, 100, 10), (20, 100, 10), (100, 140, 20)] {
        check(count, share_of_v6, most, Duration::from_secs(seconds));
    }
}
