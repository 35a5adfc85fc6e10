//! Traffic in a [`Fleet`]: one frame, and for each packet the few bytes that make it another one.

use super::fleet::{self, Fleet};
use crate::{
    flow::connections::Ends,
    model::router_mac,
    packet::{Buffer, Encapsulation, HeapBuffer, Mac, OuterChecksum, OuterTemplate, Sender},
};

/// The bytes of a packet that differ, and where they go.
#[derive(Clone, Copy)]
struct Variation {
    /// An IPv4 address of the inner packet.
    inner: [u8; 4],
    /// Its ports.
    ports: [u8; 4],
    /// The outer source address.
    outer: [u8; 4],
}

/// What is written into every buffer.
pub struct Stamp {
    /// The frame without its variations.
    frame: Vec<u8>,
    /// Offset of the varying inner address, and of the ports.
    inner_at: usize,
    ports_at: usize,
    /// Offset of the varying outer address, and of the outer header's checksum, where there is an outer header.
    outer_at: Option<usize>,
    variations: Vec<Variation>,
    flows: usize,
}

/// Offsets in an Ethernet frame of IPv4.
const SOURCE: usize = 26;
const DESTINATION: usize = 30;
const PORTS: usize = 34;
/// The outer header of VXLAN over IPv4.
const OUTER: usize = 50;

/// Numbers from 2 to `below`, uniformly random, the same in every run (SplitMix64, Steele et al., OOPSLA 2014).
fn random_remotes(below: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x5eed_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ z >> 31) * (below.max(3) - 2) as u128) >> 64) as usize + 2
    })
}

/// Packets before the variations repeat: more than there are ENIs, so that all are hit at random.
fn period(fleet: &Fleet) -> usize {
    (2 * fleet.count()).clamp(1 << 12, 1 << 21)
}

/// The ports of the datagrams that do not vary in them.
const DATAGRAM: [u8; 4] = [0x30, 0x39, 0x00, 0x35];

/// TCP connections, each between the first instance and one of the ENIs of other hosts.
#[derive(Clone, Copy)]
pub struct Connections {
    /// How many.
    pub count: usize,
    /// Whether the first instance is the server of all, rather than the client.
    pub serves: bool,
    /// Whether their packets come in random order, the same in every run, rather than one connection after the other.
    pub random: bool,
}

impl Connections {
    /// A connection: the ENI of the other end, the local port and the remote one. The server's is one that the rules of a [`Fleet`]
    /// with such let in.
    fn connection(self, fleet: &Fleet, number: usize) -> (usize, u16, u16) {
        let remotes = fleet.remotes();
        let count = remotes.len().max(1);
        let port = 1024 + (number / count) as u16;
        let (local, remote) = if self.serves { (fleet::SERVED, port) } else { (port, fleet::SERVED) };
        (remotes.start + number % count, local, remote)
    }

    /// Their ends, as the first instance sees them.
    pub fn ends(self, fleet: &Fleet) -> impl Iterator<Item = Ends> {
        (0..self.count).map(move |number| {
            let (remote, local_port, remote_port) = self.connection(fleet, number);
            let (local, remote) = (fleet::address(0).into(), fleet::address(remote).into());
            Ends { local, remote, local_port, remote_port, protocol: 6 }
        })
    }

    /// Those whose packets come, until they come again.
    fn in_order(self, fleet: &Fleet) -> impl Iterator<Item = (usize, u16, u16)> {
        let period = if self.random { (2 * self.count).clamp(1 << 12, 1 << 21) } else { self.count };
        let random = random_remotes(self.count + 2).map(|number| number - 2);
        let number =
            (0..period).zip(random).map(move |(turn, random)| if self.random { random } else { turn });
        number.map(move |number| self.connection(fleet, number))
    }
}

/// A source and a destination port, as in a packet.
fn ports(source: u16, destination: u16) -> [u8; 4] {
    (u32::from(source) << 16 | u32::from(destination)).to_be_bytes()
}

/// A segment of TCP in its middle, in a frame of `size` bytes.
fn segment(size: usize, destination: Mac, source: Mac, from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let mut frame = datagram(size, destination, source, from, to);
    frame[23] = 6;
    // Sequence and acknowledgement numbers, a header of five words, ACK, a window; no checksum.
    frame[38..54].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}

/// A UDP datagram in a frame of `size` bytes.
fn datagram(size: usize, destination: Mac, source: Mac, from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let ip_len = (size - 14) as u16;
    let mut frame = [destination.0, source.0].concat();
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(ip_len.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(from);
    frame.extend(to);
    frame.extend(DATAGRAM);
    frame.extend((ip_len - 20).to_be_bytes());
    frame.resize(size, 0);
    frame
}

impl Stamp {
    /// From the first instance, through the router, to random ENIs of other hosts.
    pub fn encapsulate(fleet: &Fleet, size: usize) -> Self {
        let router = router_mac(&fleet::subnet_of(0));
        let frame = datagram(size, router, fleet::mac(0), fleet::address(0).octets(), [0; 4]);
        let variations = random_remotes(fleet.count())
            .map(|number| Variation {
                inner: fleet::address(number).octets(),
                ports: DATAGRAM,
                outer: [0; 4],
            })
            .take(period(fleet))
            .collect();
        let flows = fleet.count() - 2;
        Self { frame, inner_at: DESTINATION, ports_at: PORTS, outer_at: None, variations, flows }
    }

    /// As [`Stamp::encapsulate`], with the packets of established connections.
    pub fn connected(fleet: &Fleet, size: usize, connections: Connections) -> Self {
        let router = router_mac(&fleet::subnet_of(0));
        let frame = segment(size, router, fleet::mac(0), fleet::address(0).octets(), [0; 4]);
        let variations = connections
            .in_order(fleet)
            .map(|(remote, local_port, remote_port)| Variation {
                inner: fleet::address(remote).octets(),
                ports: ports(local_port, remote_port),
                outer: [0; 4],
            })
            .collect();
        let flows = connections.count;
        Self { frame, inner_at: DESTINATION, ports_at: PORTS, outer_at: None, variations, flows }
    }

    /// From random ENIs of other hosts, through the router, to the first instance.
    pub fn decapsulate(fleet: &Fleet, size: usize) -> Self {
        let router = router_mac(&fleet::subnet_of(0));
        let inner = datagram(size, fleet::mac(0), router, [0; 4], fleet::address(0).octets());
        let remotes = random_remotes(fleet.count()).take(period(fleet)).map(|number| (number, DATAGRAM));
        Self::encapsulated(&inner, remotes, fleet.count() - 2)
    }

    /// As [`Stamp::decapsulate`], with the packets of established connections.
    pub fn connected_in(fleet: &Fleet, size: usize, connections: Connections) -> Self {
        let router = router_mac(&fleet::subnet_of(0));
        let inner = segment(size, fleet::mac(0), router, [0; 4], fleet::address(0).octets());
        let packets = connections.in_order(fleet);
        let remotes =
            packets.map(|(remote, local_port, remote_port)| (remote, ports(remote_port, local_port)));
        Self::encapsulated(&inner, remotes, connections.count)
    }

    /// Packets like `inner` from ENIs, with ports, each from its host.
    fn encapsulated(inner: &[u8], remotes: impl Iterator<Item = (usize, [u8; 4])>, flows: usize) -> Self {
        let mut buffer = HeapBuffer::new(inner);
        let here = fleet::underlay(0);
        let template = OuterTemplate::new(
            Encapsulation::Vxlan,
            Mac::ZERO,
            fleet::UPLINK_MAC,
            std::net::Ipv4Addr::UNSPECIFIED.into(),
            here.into(),
            OuterChecksum::Zero,
        );
        let sender = Sender { vni: fleet::VNI, mac: fleet::mac(2) };
        if let Some(template) = template {
            // There is headroom in a new buffer.
            let _ = template.encapsulate(&mut buffer, fleet::VNI, sender, 0);
        }
        let variations = remotes
            .map(|(number, ports)| Variation {
                inner: fleet::address(number).octets(),
                ports,
                outer: fleet::underlay(fleet::host_of(number)).octets(),
            })
            .collect();
        let frame = buffer.data().to_vec();
        Self {
            frame,
            inner_at: OUTER + SOURCE,
            ports_at: OUTER + PORTS,
            outer_at: Some(SOURCE),
            variations,
            flows,
        }
    }

    /// From the first instance to the second, through the router.
    pub fn local(fleet: &Fleet, size: usize) -> Self {
        let router = router_mac(&fleet::subnet_of(0));
        let to = fleet::address(1).octets();
        let frame = datagram(size, router, fleet::mac(0), fleet::address(0).octets(), to);
        let variations = vec![Variation { inner: to, ports: DATAGRAM, outer: [0; 4] }; period(fleet)];
        Self { frame, inner_at: DESTINATION, ports_at: PORTS, outer_at: None, variations, flows: 1 }
    }

    /// The traffic of so many queues, each with as many different packets: of a hundred, `astray` are of another queue than the one that
    /// `queue_of` says.
    pub fn split(&self, queues: usize, astray: usize, queue_of: impl Fn(&[u8]) -> usize) -> Vec<Self> {
        let mut by_queue = vec![Vec::new(); queues];
        let mut frame = self.frame.clone();
        for (number, variation) in self.variations.iter().enumerate() {
            self.write(&mut frame, number);
            if let Some(of_queue) = by_queue.get_mut(queue_of(&frame)) {
                of_queue.push(*variation);
            }
        }
        let least = by_queue.iter().map(Vec::len).min().unwrap_or(0);
        (0..queues)
            .map(|queue| {
                // Evenly spread, so that a burst has some of each.
                let source = |number: usize| {
                    let strays = (number + 1) * astray / 100 > number * astray / 100;
                    if strays { (queue + 1 + number % (queues - 1).max(1)) % queues } else { queue }
                };
                let variations = (0..least).map(|number| by_queue[source(number)][number]).collect();
                Self { frame: self.frame.clone(), variations, ..*self }
            })
            .collect()
    }

    /// Distinct flows among the packets, about.
    pub fn flows(&self) -> usize {
        self.flows
    }

    /// Packets after which they come again.
    pub fn period(&self) -> usize {
        self.variations.len()
    }

    /// Writes what the pipeline has changed in a buffer since it was last used, and what makes it the packet of the given
    /// number. Returns the next packet's.
    #[inline]
    pub fn write(&self, frame: &mut [u8], number: usize) -> usize {
        let Some(variation) = self.variations.get(number) else { return 0 };
        // Headers; the rest of the payload is never looked at.
        let headers = if self.outer_at.is_some() { OUTER + 64 } else { 64 };
        if let Some((to, from)) = frame.get_mut(..headers).zip(self.frame.get(..headers)) {
            to.copy_from_slice(from);
        }
        put(frame, self.inner_at, variation.inner);
        put(frame, self.ports_at, variation.ports);
        if let Some(at) = self.outer_at {
            put(frame, at, variation.outer);
            // RFC 1624: the template's checksum is that of source address 0.
            let [a, b, c, d] = variation.outer;
            let sum = u32::from(u16::from_be_bytes([frame[24], frame[25]]) ^ 0xffff)
                + u32::from(u16::from_be_bytes([a, b]))
                + u32::from(u16::from_be_bytes([c, d]));
            let folded = (sum & 0xffff) + (sum >> 16);
            let folded = (folded & 0xffff) + (folded >> 16);
            put(frame, 24, (!(folded as u16)).to_be_bytes());
        }
        if number + 1 < self.variations.len() { number + 1 } else { 0 }
    }

    /// Writes the flags of a segment of TCP into a frame that [`Stamp::write`] has written.
    #[inline]
    pub fn write_flags(&self, frame: &mut [u8], flags: u8) {
        const FLAGS: usize = 13;
        put(frame, self.ports_at + FLAGS, [flags]);
    }

    /// A whole frame, the first packet.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}

#[inline]
fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(to) = frame.get_mut(at..at + N) {
        to.copy_from_slice(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queue of a packet in these tests: by the last bit of its destination.
    fn queue(frame: &[u8]) -> usize {
        frame.get(33).map_or(0, |byte| usize::from(byte % 2))
    }

    #[test]
    fn of_split_traffic_as_many_packets_are_astray_as_asked() {
        let stamp = Stamp::encapsulate(&Fleet::new(1000), 64);
        for astray in [0, 25, 50, 100] {
            for (number, of) in stamp.split(2, astray, queue).iter().enumerate() {
                let mut frame = of.frame().to_vec();
                let packets = of.period();
                let elsewhere = (0..packets)
                    .filter(|&packet| {
                        of.write(&mut frame, packet);
                        queue(&frame) != number
                    })
                    .count();
                assert!(packets > 1000, "{packets}");
                assert_eq!(elsewhere, packets * astray / 100, "{astray} percent at queue {number}");
            }
        }
    }

    #[test]
    fn one_queue_has_all() {
        let stamp = Stamp::encapsulate(&Fleet::new(1000), 64);
        let of = stamp.split(1, 0, |_| 0);
        assert_eq!(of.iter().map(Stamp::period).collect::<Vec<_>>(), [stamp.period()]);
    }
}
