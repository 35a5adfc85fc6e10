//! What instances send. Each packet ends with who sent it, and who may get it.

use std::net::IpAddr;

use crate::{
    random::Random,
    world::{NICS, Nic},
};

/// Ports of services, of which rules let some in.
pub const PORTS: [u16; 4] = [53, 80, 443, 5000];
/// A port that no rule ever lets in.
pub const NEVER: u16 = 6666;

/// What the last bytes of a packet are.
const MAGIC: [u8; 6] = *b"warren";
/// The number of nobody.
const NOBODY: u8 = 0xff;

/// Who sent a packet, and who alone may get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub source: usize,
    pub destination: Option<usize>,
}

impl Tag {
    /// That of a frame, if it has one.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (_, [magic @ .., source, destination]) = frame.split_last_chunk::<8>()?;
        let destination = (*destination != NOBODY).then_some(usize::from(*destination));
        (*magic == MAGIC).then_some(Self { source: usize::from(*source), destination })
    }

    fn bytes(self) -> [u8; 8] {
        let [a, b, c, d, e, f] = MAGIC;
        [a, b, c, d, e, f, self.source as u8, self.destination.map_or(NOBODY, |number| number as u8)]
    }
}

/// A frame that an interface sends: mostly of a connection with another one of its VPC, at times of none, to nobody, or none at all.
pub fn random(random: &mut Random, source: usize) -> Vec<u8> {
    let me = &NICS[source];
    let others: Vec<usize> =
        (0..NICS.len()).filter(|&number| number != source && NICS[number].vpc == me.vpc).collect();
    let to = random.of(&others);
    let v6 = random.one_in(4);
    let tag = Tag { source, destination: Some(to) };
    let nobody = Tag { source, destination: None };
    match random.below(16) {
        0 => arp(me, source),
        1 => {
            // Its fragments come in any order, and some never.
            let id = random.below(64) as u16;
            fragment(source, to, id, random.one_in(2))
        }
        2 => frame(source, to, v6, 17, &udp(random, 40_000, NEVER), nobody),
        3 => wrong(random, source, to, nobody),
        4 => {
            let kind = match (v6, random.one_in(2)) {
                (false, asks) => u8::from(asks) * 8,
                (true, asks) => 129 - u8::from(asks),
            };
            let echo = [kind, 0, 0, 0, 0, random.below(8) as u8, 0, 1];
            frame(source, to, v6, if v6 { 58 } else { 1 }, &echo, tag)
        }
        _ => {
            let (client, server) = (40_000 + random.below(40) as u16, random.of(&PORTS));
            let (from, at) = if random.one_in(2) { (client, server) } else { (server, client) };
            if random.one_in(2) {
                frame(source, to, v6, 17, &udp(random, from, at), tag)
            } else {
                let flags = random.of(&[0x02, 0x12, 0x10, 0x10, 0x10, 0x18, 0x11, 0x04]);
                let mut segment = [from.to_be_bytes(), at.to_be_bytes()].concat();
                segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 4, 0, 0, 0, 0, 0]);
                segment.resize(20 + random.below(400), 0);
                frame(source, to, v6, 6, &segment, tag)
            }
        }
    }
}

/// A frame that nobody may get.
fn wrong(random: &mut Random, source: usize, to: usize, nobody: Tag) -> Vec<u8> {
    let mut frame = frame(source, to, false, 17, &udp(random, 40_000, PORTS[0]), nobody);
    match random.below(4) {
        // L2-3.
        0 => frame[11] ^= 0x40,
        // L2-8, L2-9.
        1 => frame[..6].fill(0xff),
        2 => frame[..6].copy_from_slice(&[1, 0, 0x5e, 1, 1, 1]),
        // No packet: longer than it is.
        _ => frame[16] = 0x40,
    }
    frame
}

fn udp(random: &mut Random, from: u16, to: u16) -> Vec<u8> {
    let data = random.below(400);
    let mut datagram =
        [from.to_be_bytes(), to.to_be_bytes(), (16 + data as u16).to_be_bytes(), [0; 2]].concat();
    datagram.resize(8 + data, 0);
    datagram
}

/// A first or a later fragment of a datagram.
fn fragment(source: usize, to: usize, id: u16, first: bool) -> Vec<u8> {
    let port = PORTS[usize::from(id) % PORTS.len()];
    let data = match first {
        true => [40_000u16.to_be_bytes(), port.to_be_bytes(), 64u16.to_be_bytes(), [0; 2]].concat(),
        false => vec![0; 24],
    };
    let mut frame = frame(source, to, false, 17, &data, Tag { source, destination: Some(to) });
    let field: u16 = if first { 0x2000 } else { 2 };
    frame[18..20].copy_from_slice(&id.to_be_bytes());
    frame[20..22].copy_from_slice(&field.to_be_bytes());
    fix(&mut frame);
    frame
}

/// Writes the checksum of an IPv4 header without options (RFC 1071).
fn fix(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let words = frame[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
}

/// A packet of one interface to another: to its MAC in a subnet, else to the router.
fn frame(source: usize, to: usize, v6: bool, protocol: u8, payload: &[u8], tag: Tag) -> Vec<u8> {
    let (from, at) = (&NICS[source], &NICS[to]);
    let next = if from.subnet == at.subnet { Nic::mac(to) } else { from.router() };
    let mut frame = [next.0, Nic::mac(source).0].concat();
    let len = (payload.len() + 8) as u16;
    let (kind, ends): ([u8; 2], [IpAddr; 2]) = match v6 {
        false => ([0x08, 0x00], [from.v4().into(), at.v4().into()]),
        true => ([0x86, 0xdd], [from.v6().into(), at.v6().into()]),
    };
    frame.extend(kind);
    match v6 {
        false => {
            frame.extend([0x45, 0]);
            frame.extend((len + 20).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        }
        true => {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([protocol, 64]);
        }
    }
    for end in ends {
        match end {
            IpAddr::V4(address) => frame.extend(address.octets()),
            IpAddr::V6(address) => frame.extend(address.octets()),
        }
    }
    if !v6 {
        fix(&mut frame);
    }
    frame.extend(payload);
    frame.extend(tag.bytes());
    frame
}

/// A question for the router's MAC.
fn arp(me: &Nic, source: usize) -> Vec<u8> {
    let mut frame = [[0xff; 6], Nic::mac(source).0].concat();
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(Nic::mac(source).0);
    frame.extend(me.v4().octets());
    frame.extend([0; 6]);
    frame.extend([10, 0, me.subnet, 1]);
    frame
}
