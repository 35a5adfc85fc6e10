//! Frames, made the plain way.

use std::net::{Ipv4Addr, Ipv6Addr};

use warren::packet::{Mac, arp, checksum::Sum};

use super::state::Eni;

pub type Frame = Vec<u8>;

pub const BROADCAST: Mac = Mac([0xff; 6]);
/// Don't fragment, the first fragment, and a later one, as the field of flags and offset.
pub const DF: u16 = 0x4000;
pub const FIRST: u16 = 0x2000;
pub const LATER: u16 = 0x0003;

pub fn ethernet(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Frame {
    [&to.0[..], &from.0, &kind.to_be_bytes(), payload].concat()
}

/// With an 802.1Q tag of VLAN 5.
pub fn tagged(frame: &[u8]) -> Frame {
    [&frame[..12], &[0x81, 0x00, 0x00, 0x05], &frame[12..]].concat()
}

pub fn udp(data: &[u8]) -> Vec<u8> {
    udp_between(4000, 5000, data)
}

fn udp_between(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let len = 8 + data.len() as u16;
    [&[source, destination, len, 0].map(u16::to_be_bytes).concat()[..], data].concat()
}

pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, fragmentation: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((20 + payload.len() as u16).to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragmentation.to_be_bytes());
    header.extend([1, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let checksum = Sum::of(&header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header.extend(payload);
    header
}

pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// A UDP datagram over IPv4 with TTL 1, to a MAC and an address.
pub fn datagram4(from: &Eni, to: Mac, address: Ipv4Addr) -> Frame {
    ethernet(to, from.mac(), 0x0800, &ipv4(from.v4(), address, 17, DF, &udp(b"hello over IPv4")))
}

/// The same over IPv6.
pub fn datagram6(from: &Eni, to: Mac, address: Ipv6Addr) -> Frame {
    ethernet(to, from.mac(), 0x86dd, &ipv6(from.v6(), address, 17, &udp(b"hello over IPv6")))
}

pub fn arp_request(from: &Eni, target: Ipv4Addr) -> Frame {
    let request = arp::Arp {
        operation: arp::Operation::Request,
        sender_mac: from.mac(),
        sender_ip: from.v4(),
        target_mac: Mac([0; 6]),
        target_ip: target,
    };
    request.frame(BROADCAST).to_vec()
}

/// The frame with other MACs.
pub fn readdressed(frame: &[u8], to: Mac, from: Mac) -> Frame {
    [&to.0[..], &from.0, &frame[12..]].concat()
}

/// One end of the underlay.
#[derive(Clone, Copy)]
pub struct End {
    pub mac: Mac,
    pub address: Ipv4Addr,
}

/// RFC 7348 §5: a frame in VXLAN without outer UDP checksum.
pub fn vxlan(from: End, to: End, vni: u32, inner: &[u8]) -> Frame {
    let mut data = vec![0x08, 0, 0, 0];
    data.extend((vni << 8).to_be_bytes());
    data.extend(inner);
    let packet = ipv4(from.address, to.address, 17, DF, &udp_between(50000, 4789, &data));
    ethernet(to.mac, from.mac, 0x0800, &packet)
}
