//! Frames, written octet by octet, on purpose without the code under test.

use std::net::IpAddr;

use warren::packet::{Encapsulation, Mac};

use crate::lab::{self, Wire};

/// Flags of TCP (RFC 9293 §3.1).
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// An address in a test.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// RFC 1071, the slow way.
pub(crate) fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// An Ethernet frame.
pub(crate) fn ethernet(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind.to_be_bytes(), payload].concat()
}

/// An IP packet's frame, of the addresses' family, with TTL 1: nothing on the way counts it down (FWD-5).
pub(crate) fn packet(to: Mac, from: Mac, ends: (IpAddr, IpAddr), protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0];
            header.extend((len + 20).to_be_bytes());
            header.extend([0x12, 0x34, 0x40, 0, 1, protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            ethernet(to, from, 0x0800, &[&header, payload].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(len.to_be_bytes());
            header.extend([protocol, 1]);
            header.extend(source.octets());
            header.extend(destination.octets());
            ethernet(to, from, 0x86dd, &[&header, payload].concat())
        }
        _ => panic!("two families: {ends:?}"),
    }
}

/// Sets the time to live, or hop limit, of the packet in a frame.
pub(crate) fn set_ttl(frame: &mut [u8], ttl: u8) {
    if frame[14] >> 4 == 6 {
        frame[21] = ttl;
    } else {
        frame[22] = ttl;
        frame[24..26].fill(0);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
}

/// A UDP datagram without checksum.
pub(crate) fn udp(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let len = 8 + data.len() as u16;
    [&[source, destination, len, 0].map(u16::to_be_bytes).concat()[..], data].concat()
}

/// A small UDP datagram's frame.
pub(crate) fn datagram(to: Mac, from: Mac, source: &str, destination: &str) -> Vec<u8> {
    packet(to, from, (ip(source), ip(destination)), 17, &udp(40_000, 9, b"some payload"))
}

/// The frame with other MACs.
pub(crate) fn readdressed(frame: &[u8], to: Mac, from: Mac) -> Vec<u8> {
    [&to.0[..], &from.0, &frame[12..]].concat()
}

/// The frame with an 802.1Q or 802.1ad tag.
pub(crate) fn tagged(frame: &[u8], kind: u16) -> Vec<u8> {
    [&frame[..12], &kind.to_be_bytes(), &[0, 7], &frame[12..]].concat()
}

/// An outer header, to be put in front of an inner frame.
#[derive(Clone)]
pub(crate) struct Outer {
    /// The encapsulation and the family of the underlay.
    pub(crate) wire: Wire,
    /// The number of the sending host.
    pub(crate) from: u8,
    /// The number of the receiving host.
    pub(crate) to: u8,
    /// The VPC.
    pub(crate) vni: u32,
    /// Geneve's option: VPC and MAC of the sender.
    pub(crate) sender: Option<(u32, Mac)>,
    /// What depends on the flow: the UDP source port.
    pub(crate) port: u16,
    /// And the IPv6 flow label.
    pub(crate) label: u32,
}

impl Outer {
    /// From a host to host-a.
    pub(crate) fn new(wire: Wire, from: u8, vni: u32, sender: Option<(u32, Mac)>) -> Self {
        Self { wire, from, to: 1, vni, sender, port: 50_000, label: 0 }
    }

    /// The whole frame. Everything that RFC 7348, RFC 8926 and semantics P-2 leave open is as Warren sends it: TTL 64,
    /// DF, no UDP checksum, DSCP and ECN of the inner packet (which are 0 here).
    pub(crate) fn around(&self, inner: &[u8]) -> Vec<u8> {
        let mut shim = match self.wire.encapsulation {
            Encapsulation::Vxlan => vec![8, 0, 0, 0],
            Encapsulation::Geneve => vec![if self.sender.is_some() { 4 } else { 0 }, 0, 0x65, 0x58],
        };
        shim.extend((self.vni << 8).to_be_bytes());
        if let (Encapsulation::Geneve, Some((vni, mac))) = (self.wire.encapsulation, self.sender) {
            shim.extend([0xff, 0x77, 1, 3]);
            shim.extend(vni.to_be_bytes());
            shim.extend(mac.0);
            shim.extend([0, 0]);
        }
        let payload = udp(self.port, self.wire.encapsulation.port(), &[&shim, inner].concat());
        let ends = (lab::underlay(self.wire, self.from), lab::underlay(self.wire, self.to));
        let mut frame = packet(lab::uplink_mac(self.to), lab::uplink_mac(self.from), ends, 17, &payload);
        if self.wire.ipv6 {
            frame[21] = 64;
            frame[14..18].copy_from_slice(&(6 << 28 | self.label).to_be_bytes());
        } else {
            frame[18..20].fill(0);
            frame[22] = 64;
            fix_ipv4(&mut frame);
        }
        frame
    }
}

/// Makes the checksum of an IPv4 header without options right again.
pub(crate) fn fix_ipv4(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// An ICMP echo message of a type, with an identifier.
pub(crate) fn icmp_echo(kind: u8, identifier: u16) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0][..], &identifier.to_be_bytes(), &[0, 1]].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}
