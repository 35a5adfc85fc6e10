use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use proptest::{collection::vec, prelude::*, sample::select};

use super::{Refusal::*, *};
use crate::{flow::SLOT_MILLIS, packet::mapped};

const FIN: u8 = 0x11;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = 0x12;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn end(address: &str, port: u16) -> Endpoint {
    Endpoint { address: mapped(address.parse::<IpAddr>().unwrap()), port }
}

fn flow(protocol: Protocol, source: Endpoint, destination: Endpoint) -> Flow {
    Flow { gateway: 7, protocol, source, destination }
}

/// A client's flow to a web server, by the client's port.
fn web(protocol: Protocol, port: u16) -> Flow {
    flow(protocol, end("10.0.1.10", port), end("198.51.100.1", 443))
}

fn nat_addresses() -> [u128; 2] {
    ["203.0.113.1", "203.0.113.2"].map(|address| end(address, 0).address)
}

/// A table and its time.
struct Table {
    nat: Nat,
    now: Duration,
    addresses: Vec<u128>,
}

impl Table {
    fn new(capacity: u32) -> Self {
        Self { nat: Nat::new(capacity), now: SECOND, addresses: vec![nat_addresses()[0]] }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.nat.advance(self.now, u32::MAX);
    }

    fn out_by(&mut self, inside: Flow, flags: u8, block: u8, share: u8) -> Result<Endpoint, Refusal> {
        let pool = Pool { addresses: &self.addresses, block, share };
        self.nat.outbound(self.now, &self.nat.key(inside), flags, Some(pool))
    }

    fn out(&mut self, inside: Flow, flags: u8) -> Result<Endpoint, Refusal> {
        self.out_by(inside, flags, 5, 64)
    }

    /// A packet from a flow's destination to what its source became.
    fn back(&mut self, inside: Flow, nat: Endpoint, flags: u8) -> Option<Endpoint> {
        let packet = Flow { source: nat, ..inside }.reversed();
        self.nat.inbound(self.now, &self.nat.key(packet.reversed()), flags)
    }
}

#[test]
fn both_directions_keep_their_ports_gw_10() {
    let mut table = Table::new(10);
    let v6 = flow(Protocol::Icmp, end("2001:db8::a", 77), end("198.51.100.1", 0));
    for inside in [web(Protocol::Tcp, 40000), web(Protocol::Udp, 40000), web(Protocol::Icmp, 1), v6] {
        let nat = table.out(inside, SYN).unwrap();
        assert_eq!((nat.address, block_of(nat.port)), (table.addresses[0], Some(5)));
        assert_eq!(table.back(inside, nat, SYN_ACK), Some(inside.source));
        assert_eq!(table.out(inside, ACK), Ok(nat));
    }
    let stats = table.nat.stats();
    assert_eq!((stats.capacity, stats.bindings, stats.created, stats.expired), (10, 4, 4, 0));
}

#[test]
fn only_the_flows_own_destination_may_answer_gw_14_gw_20() {
    let mut table = Table::new(10);
    let inside = web(Protocol::Udp, 40000);
    let nat = table.out(inside, 0).unwrap();
    for other in [
        Flow { destination: Endpoint { port: 444, ..inside.destination }, ..inside },
        Flow { destination: end("198.51.100.2", 443), ..inside },
        Flow { protocol: Protocol::Tcp, ..inside },
        Flow { gateway: 8, ..inside },
    ] {
        assert_eq!(table.back(other, nat, 0), None);
    }
    assert_eq!(table.back(inside, Endpoint { port: nat.port ^ 1, ..nat }, 0), None);
    assert_eq!(table.nat.stats().unsolicited, 5);
    assert_eq!(table.back(inside, nat, 0), Some(inside.source));
}

#[test]
fn an_egress_only_gateway_translates_nothing_and_admits_replies_gw_21() {
    let mut table = Table::new(10);
    let inside = flow(Protocol::Udp, end("2001:db8::a", 500), end("2001:db8:1::b", 53));
    assert_eq!(table.back(inside, inside.source, 0), None, "unsolicited");
    let key = table.nat.key(inside);
    assert_eq!(table.nat.peek_outbound(table.now, &key, 0, None), Ok(inside.source));
    assert_eq!(table.nat.outbound(table.now, &key, 0, None), Ok(inside.source));
    assert_eq!(table.back(inside, inside.source, 0), Some(inside.source));
    table.wait(IDLE);
    assert_eq!(table.back(inside, inside.source, 0), None, "idle");
}

#[test]
fn an_egress_only_gateway_picks_up_connections_gw_21() {
    let mut table = Table::new(10);
    let inside = flow(Protocol::Tcp, end("2001:db8::a", 500), end("2001:db8:1::b", 80));
    let key = table.nat.key(inside);
    assert_eq!(table.nat.outbound(table.now, &key, RST, None), Err(NoState), "an end needs no binding");
    assert_eq!(table.nat.outbound(table.now, &key, ACK, None), Ok(inside.source));
    table.wait(IDLE - Duration::from_millis(1));
    assert_eq!(table.back(inside, inside.source, ACK), Some(inside.source), "it is an established one");
    table.wait(IDLE);
    assert_eq!(table.back(inside, inside.source, ACK), None, "idle");
}

/// What packets make of a TCP connection, and what that may be idle for.
fn tcp_lives() -> [(Vec<(Side, u8)>, Duration); 5] {
    use Side::{Initiator as I, Responder as R};
    [
        (vec![], TRANSITORY),
        (vec![(R, SYN_ACK), (I, ACK)], IDLE),
        (vec![(R, SYN_ACK), (R, FIN)], IDLE),
        (vec![(R, SYN_ACK), (R, FIN), (I, FIN)], TRANSITORY),
        (vec![(R, SYN_ACK), (R, RST)], TRANSITORY),
    ]
}

#[test]
fn bindings_expire_exactly_after_their_idle_time_gw_12() {
    let mut lives: Vec<_> = tcp_lives().into_iter().map(|(life, idle)| (Protocol::Tcp, life, idle)).collect();
    lives.extend([Protocol::Udp, Protocol::Icmp].map(|protocol| (protocol, vec![], IDLE)));
    for (protocol, packets, idle) in lives {
        for (waits, last) in [(false, Duration::ZERO), (true, Duration::from_micros(500))] {
            let mut table = Table::new(1);
            let inside = web(protocol, 40000);
            let nat = table.out(inside, SYN).unwrap();
            for &(side, flags) in &packets {
                table.wait(SECOND);
                match side {
                    Side::Initiator => assert_eq!(table.out(inside, flags), Ok(nat)),
                    Side::Responder => assert_eq!(table.back(inside, nat, flags), Some(inside.source)),
                }
            }
            // Lookups alone, and with the wheel, which never comes early.
            let end = table.now + idle + last;
            table.now = end - MILLI;
            if waits {
                table.nat.advance(table.now, u32::MAX);
            }
            let outside = table.nat.key(Flow { source: nat, ..inside });
            assert_eq!(table.nat.find_outside(table.now, &outside), Some(inside.source), "{packets:?}");
            assert_eq!(table.nat.find_inside(table.now, &table.nat.key(inside)), Some(nat));
            assert_eq!(table.nat.find_outside(end, &outside), None, "{packets:?}");
            assert_eq!(table.nat.find_inside(end, &table.nat.key(inside)), None);
            assert_eq!(table.nat.stats().bindings, 1, "a look changes nothing");
            table.nat.advance(end + Duration::from_millis(SLOT_MILLIS), 1000);
            assert_eq!((table.nat.stats().bindings, table.nat.stats().expired), (0, 1));
        }
    }
}

#[test]
fn packets_of_either_direction_keep_a_binding_but_not_an_ended_one_gw_12() {
    let mut table = Table::new(2);
    let (udp, tcp) = (web(Protocol::Udp, 1), web(Protocol::Tcp, 1));
    let (nat, nat_tcp) = (table.out(udp, 0).unwrap(), table.out(tcp, SYN).unwrap());
    assert!(table.back(tcp, nat_tcp, SYN_ACK).is_some());
    for _ in 0..4 {
        table.wait(IDLE - MILLI);
        assert_eq!(table.out(udp, 0), Ok(nat));
        assert_eq!(table.out(tcp, ACK), Ok(nat_tcp));
        table.wait(IDLE - MILLI);
        assert_eq!(table.back(udp, nat, 0), Some(udp.source));
        assert_eq!(table.back(tcp, nat_tcp, ACK), Some(tcp.source));
    }
    assert_eq!(table.out(tcp, FIN), Ok(nat_tcp));
    assert!(table.back(tcp, nat_tcp, FIN).is_some());
    table.wait(TRANSITORY - MILLI);
    assert!(table.back(tcp, nat_tcp, FIN).is_some(), "sent again");
    table.wait(MILLI);
    assert_eq!(table.back(tcp, nat_tcp, FIN), None);
}

#[test]
fn what_belongs_to_no_connection_is_to_be_reset_gw_12() {
    let mut table = Table::new(10);
    let inside = web(Protocol::Tcp, 40000);
    let nat = table.out(inside, SYN).unwrap();
    assert!(table.back(inside, nat, SYN_ACK).is_some());
    table.wait(IDLE);
    for flags in [ACK, FIN, SYN_ACK, 0, 0x18, SYN | 0x01] {
        assert_eq!(table.out(inside, flags), Err(Reset), "{flags:#x}");
    }
    for flags in [RST, RST | ACK, RST | SYN] {
        assert_eq!(table.out(inside, flags), Err(NoState), "{flags:#x}");
    }
    assert_eq!(table.back(inside, nat, ACK), None);
    assert_eq!((table.nat.stats().refused_no_state, table.nat.stats().unsolicited), (9, 1));
    // ECN's bits make no difference (RFC 3168 §6.1.1).
    assert!(table.out(inside, SYN | 0xc0).is_ok());
}

#[test]
fn a_destination_has_55_000_flows_of_an_address_gw_11() {
    let mut table = Table::new(120_000);
    // Whatever hash chooses the block.
    let block = |n: u32| (n.wrapping_mul(0x9e37_79b1) >> 26) as u8;
    let inside = |n: u32| {
        let source =
            Endpoint { address: end("10.0.0.0", 0).address + u128::from(n >> 14), port: n as u16 & 0x3fff };
        flow(Protocol::Udp, source, end("198.51.100.1", 443))
    };
    let mut outsides = BTreeSet::new();
    for n in 0..55_000 {
        assert!(outsides.insert(table.out_by(inside(n), 0, block(n), 64).unwrap()), "a port is used twice");
        table.now += Duration::from_micros(10);
    }
    assert_eq!(table.out_by(inside(55_000), 0, block(55_000), 64), Err(Ports));
    assert_eq!(table.nat.stats().refused_ports, 1);
    for other in [
        Flow { destination: end("198.51.100.1", 444), ..inside(55_000) },
        Flow { destination: end("198.51.100.2", 443), ..inside(55_000) },
        Flow { protocol: Protocol::Icmp, ..inside(55_000) },
        Flow { gateway: 8, ..inside(55_000) },
    ] {
        assert!(table.out(other, 0).is_ok(), "another destination");
    }
    // A second address has as many, and one that goes makes room for one.
    table.addresses = nat_addresses().to_vec();
    for n in 55_000..110_000 {
        let nat = table.out_by(inside(n), 0, block(n), 64).unwrap();
        assert!(nat.address == nat_addresses()[1] && outsides.insert(nat));
        table.now += Duration::from_micros(10);
    }
    assert_eq!(table.out_by(inside(110_000), 0, block(110_000), 64), Err(Ports));
    table.now = SECOND + IDLE + Duration::from_millis(SLOT_MILLIS);
    table.nat.advance(table.now, u32::MAX);
    let gone = table.nat.stats().expired as u32;
    let fits = (110_000..230_000).filter(|&n| table.out_by(inside(n), 0, block(n), 64).is_ok()).count();
    assert_eq!(fits as u32, gone);
    assert!((1..55_000).contains(&gone), "{gone}");
}

#[test]
fn a_workers_share_of_the_limit_fits_its_block_gw_11() {
    let mut table = Table::new(1000);
    let made = (0..1000).filter(|&port| table.out_by(web(Protocol::Udp, port), 0, 63, 1).is_ok());
    assert_eq!(made.count(), 860);
    table.wait(IDLE + SECOND);
    let made = (0..1000).filter(|&port| table.out_by(web(Protocol::Udp, port), 0, 63, 1).is_ok());
    assert_eq!(made.count(), 860);
    assert_eq!(table.nat.stats().refused_ports, 280);
}

#[test]
fn a_full_block_refuses_and_has_room_again() {
    let mut table = Table::new(2000);
    let mut port = 0;
    while table.out(web(Protocol::Udp, port), 0).is_ok() {
        port += 1;
        table.wait(MILLI);
    }
    assert!((950..=1008).contains(&port), "{port}");
    assert_eq!(table.out(web(Protocol::Udp, port + 1), 0), Err(Ports));
    assert!(table.out_by(web(Protocol::Udp, port + 1), 0, 6, 64).is_ok(), "other blocks have room");
    table.wait(IDLE);
    assert!(table.nat.stats().bindings < 1000);
    assert!(table.out(web(Protocol::Udp, port), 0).is_ok());
}

#[test]
fn a_full_table_refuses_spares_and_recovers() {
    let mut table = Table::new(100);
    let nats: Vec<_> = (0..100).map(|port| table.out(web(Protocol::Tcp, port), SYN).unwrap()).collect();
    for port in 100..200 {
        assert_eq!(table.out(web(Protocol::Tcp, port), SYN), Err(Full));
    }
    for (port, &nat) in (0..).zip(&nats) {
        let inside = web(Protocol::Tcp, port);
        assert_eq!(table.out(inside, ACK), Ok(nat));
        if port % 2 == 0 {
            assert_eq!(table.back(inside, nat, SYN_ACK), Some(inside.source));
        }
    }
    assert_eq!(table.nat.stats().refused_full, 100);
    table.wait(TRANSITORY + SECOND);
    assert_eq!(table.nat.stats().bindings, 50, "the answered ones");
    assert!((100..150).all(|port| table.out(web(Protocol::Tcp, port), SYN).is_ok()));
    assert_eq!(table.out(web(Protocol::Tcp, 150), SYN), Err(Full));
    assert_eq!(Table::new(0).out(web(Protocol::Udp, 1), 0), Err(Full));
}

#[test]
fn an_address_that_was_taken_from_the_gateway_is_no_longer_used() {
    let mut table = Table::new(10);
    let inside = web(Protocol::Tcp, 1);
    let nat = table.out(inside, SYN).unwrap();
    table.addresses = vec![nat_addresses()[1]];
    let pool = Pool { addresses: &table.addresses, block: 5, share: 64 };
    assert_eq!(table.nat.peek_outbound(table.now, &table.nat.key(inside), ACK, Some(pool)), Err(Reset));
    assert_eq!(table.out(inside, ACK), Err(Reset));
    assert_eq!(table.back(inside, nat, ACK), None);
    assert_eq!(table.out(inside, SYN).unwrap().address, nat_addresses()[1]);
    table.addresses.clear();
    assert_eq!(table.out(inside, SYN), Err(Ports));
}

#[test]
fn all_flows_of_a_source_begin_with_one_address() {
    let mut table = Table::new(1000);
    table.addresses = (1..=8).map(|n| end("203.0.113.0", 0).address + n).collect();
    let mut used = BTreeSet::new();
    for host in 0..100 {
        let mut source = end("10.0.1.0", 1);
        source.address += host;
        let address = table.out(flow(Protocol::Udp, source, end("198.51.100.1", 1)), 0).unwrap().address;
        source.port = 2;
        let other = table.out(flow(Protocol::Udp, source, end("198.51.100.9", 9)), 0).unwrap().address;
        assert_eq!(address, other, "RFC 4787 REQ-2");
        used.insert(address);
    }
    assert_eq!(used.len(), 8);
}

#[test]
fn who_does_not_know_the_secret_cannot_aim_collisions() {
    let tables = [Nat::new(1), Nat::new(1)];
    let hash = |nat: &Nat, port| nat.key(web(Protocol::Udp, port)).hash as u32 >> 24;
    // Flows that would crowd in one of 256 lines of one table are spread in another's.
    let crowd: Vec<u16> = (0..=u16::MAX).filter(|&port| hash(&tables[0], port) == 0).collect();
    let spread: BTreeSet<u32> = crowd.iter().map(|&port| hash(&tables[1], port)).collect();
    assert!(crowd.len() > 150 && spread.len() > 80, "{} in {}", crowd.len(), spread.len());
}

#[test]
fn a_binding_takes_at_most_128_bytes_all_in() {
    let bytes = Nat::new(1_000_000).bytes();
    assert!(bytes <= 126_000_000, "{bytes}");
}

/// A binding as a naive model keeps it: all its packets.
#[derive(Clone, Debug)]
struct Model {
    nat: Endpoint,
    packets: Vec<(Duration, Side, u8)>,
}

impl Model {
    /// Until when it lives: the rules, replayed.
    fn end(&self, protocol: Protocol) -> Duration {
        // One that does not begin with a SYN was picked up in its middle.
        let picked_up = self.packets.first().is_some_and(|&(_, _, flags)| flags != SYN);
        let (mut answered, mut fins, mut reset) = (picked_up, BTreeSet::new(), false);
        let mut end = Duration::ZERO;
        for &(at, side, flags) in &self.packets {
            let is_closed = reset || fins.len() == 2;
            if protocol != Protocol::Tcp {
                end = at + IDLE;
                continue;
            }
            if is_closed && side == Side::Initiator && flags == SYN {
                (answered, fins, reset) = (false, BTreeSet::new(), false);
            } else {
                reset = flags == RST;
                answered |= side == Side::Responder && flags & SYN != 0;
                if flags == FIN {
                    fins.insert(side as u8);
                }
            }
            end = match (is_closed, reset || fins.len() == 2, answered) {
                (true, true, _) => end,
                (_, false, true) => at + IDLE,
                _ => at + TRANSITORY,
            };
        }
        end
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Out {
        flow: usize,
        flags: u8,
    },
    /// A packet from outside of the flow, or of another port of its destination's.
    Back {
        flow: usize,
        flags: u8,
        right: bool,
    },
    Wait(Duration),
}

fn flags() -> impl Strategy<Value = u8> {
    select(vec![SYN, SYN, SYN, ACK, ACK, SYN_ACK, SYN_ACK, FIN, FIN, RST])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let times = [1, 1000, 100_000, 239_999, 240_000, 349_999, 350_000, 5_000_000];
    let step = prop_oneof![
        4 => (0usize..24, flags()).prop_map(|(flow, flags)| Step::Out { flow, flags }),
        4 => (0usize..24, flags(), prop::bool::weighted(0.9))
            .prop_map(|(flow, flags, right)| Step::Back { flow, flags, right }),
        1 => select(times.to_vec()).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
    ];
    vec(step, 0..200)
}

/// Of two gateways, three protocols, two sources and two destinations. The second gateway is an egress-only one.
fn flow_number(n: usize) -> Flow {
    let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp][n / 8];
    let source = end("10.0.1.10", 40000 + (n as u16 & 1));
    let destination = end("198.51.100.1", 80 + (n as u16 >> 1 & 1));
    Flow { gateway: n as u32 >> 2 & 1, protocol, source, destination }
}

proptest! {
    #[test]
    fn equals_a_naive_model(steps in steps(), capacity in 4u32..20) {
        let addresses = nat_addresses();
        let mut nat = Nat::new(capacity);
        let mut now = Duration::from_millis(u64::from(u32::MAX) - 1_000_000);
        let mut model: BTreeMap<Flow, Model> = BTreeMap::new();
        for step in steps {
            nat.advance(now, u32::MAX);
            let is_live = |(flow, binding): (&Flow, &Model)| now < binding.end(flow.protocol);
            let live = model.iter().filter(|&binding| is_live(binding)).count();
            // Those whose time came so lately that the wheel may not have removed them.
            let slack = Duration::from_millis(2 * SLOT_MILLIS);
            let late = |(flow, binding): (&Flow, &Model)| now < binding.end(flow.protocol) + slack;
            let lately = model.iter().filter(|&binding| late(binding)).count();
            prop_assert!((live..=lately).contains(&(nat.stats().bindings as usize)));
            match step {
                Step::Wait(time) => now += time,
                Step::Out { flow, flags } => {
                    let inside = flow_number(flow);
                    let key = nat.key(inside);
                    let pool = (inside.gateway == 0).then_some(Pool { addresses: &addresses, block: 9, share: 1 });
                    let is_tcp = inside.protocol == Protocol::Tcp;
                    let peeked = nat.peek_outbound(now, &key, flags, pool);
                    let got = nat.outbound(now, &key, flags, pool);
                    if live == lately {
                        prop_assert_eq!(peeked, got, "nothing that is about to go");
                    }
                    let known = model.get_key_value(&inside).filter(|&binding| is_live(binding));
                    if let Some((_, binding)) = known {
                        prop_assert_eq!(got, Ok(binding.nat));
                        model.get_mut(&inside).unwrap().packets.push((now, Side::Initiator, flags));
                        continue;
                    }
                    model.remove(&inside);
                    match got {
                        Ok(nat) => {
                            let may = !is_tcp || flags == SYN || pool.is_none() && flags != RST;
                            prop_assert!(live < capacity as usize && may);
                            match pool {
                                None => prop_assert_eq!(nat, inside.source),
                                Some(_) => prop_assert!(
                                    addresses.contains(&nat.address) && block_of(nat.port) == Some(9)
                                ),
                            }
                            let outside = |inside: &Flow, nat| Flow { source: nat, ..*inside };
                            for (other, binding) in model.iter().filter(|&binding| is_live(binding)) {
                                prop_assert_ne!(outside(&inside, nat), outside(other, binding.nat));
                            }
                            model.insert(inside, Model { nat, packets: vec![(now, Side::Initiator, flags)] });
                        }
                        Err(Full) => prop_assert!(lately >= capacity as usize),
                        Err(NoState) => prop_assert!(is_tcp && flags == RST),
                        Err(Reset) => {
                            prop_assert!(is_tcp && pool.is_some() && ![SYN, RST].contains(&flags));
                        }
                        Err(Ports) => prop_assert!(false, "the block has more ports than there are flows"),
                    }
                }
                Step::Back { flow, flags, right } => {
                    let inside = flow_number(flow);
                    let nat_end = model.get(&inside).map_or(inside.source, |binding| binding.nat);
                    let mut outside = Flow { source: nat_end, ..inside };
                    outside.destination.port += if right { 0 } else { 1000 };
                    // Another flow's, perhaps, which has the port of one that expired.
                    let mut live = model.iter().filter(|&binding| is_live(binding));
                    let owner = live.find(|(flow, binding)| Flow { source: binding.nat, ..**flow } == outside);
                    let owner = owner.map(|(flow, _)| *flow);
                    let key = nat.key(outside);
                    prop_assert_eq!(nat.find_outside(now, &key), owner.map(|flow| flow.source));
                    prop_assert_eq!(nat.inbound(now, &key, flags), owner.map(|flow| flow.source));
                    if let Some(owner) = owner {
                        model.get_mut(&owner).unwrap().packets.push((now, Side::Responder, flags));
                    }
                }
            }
        }
    }
}
