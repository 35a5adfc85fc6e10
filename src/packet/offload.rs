//! What a sender left to its device (virtio 1.1 §5.1.6.2): the checksum of TCP or UDP, of which it has summed up the
//! pseudo-header only.

use super::{
    bytes::{get, put},
    checksum::Sum,
    headers::{ETHERNET, Network, ethertype, ethertype_of, extension, protocol},
};

/// What is left to do about a frame before it can go out on a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undone {
    /// Nothing.
    #[default]
    Nothing,
    /// The checksum of its TCP or UDP header.
    Checksum,
    /// It holds a run of TCP segments under one header, each but the last with so many octets of data.
    Segments(u16),
}

/// Octets of a VLAN tag.
const TAG: usize = 4;
/// Of an IPv6 header, before extensions.
const IPV6: usize = 40;
/// Extension headers that are walked: hop-by-hop options and destination options, twice (RFC 8200 §4.1). Others change
/// what the checksum is over, or are not found in front of a TCP or UDP header whose checksum is left to a device.
const MOST_EXTENSIONS: usize = 3;

/// Where the headers of an unfragmented IP packet are, in a frame with at most one VLAN tag. It asks nothing of the packet's length, as
/// the frame may be in pieces of which only the first is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub network: Network,
    /// The network header.
    pub l3: usize,
    /// The transport header.
    pub l4: usize,
    /// Its protocol.
    pub protocol: u8,
}

impl Layout {
    /// That of a frame; `None` if it has no such packet.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let (l3, kind) = match ethertype_of(frame) {
            ethertype::VLAN | ethertype::SERVICE_VLAN => {
                (ETHERNET + TAG, u16::from_be_bytes(get(frame, ETHERNET + 2)?))
            }
            kind => (ETHERNET, kind),
        };
        let packet = frame.get(l3..)?;
        let [first] = get(packet, 0)?;
        let (network, len, protocol) = match (kind, first >> 4) {
            (ethertype::IPV4, 4) => {
                // RFC 791 §3.1: neither MF nor an offset.
                let whole = u16::from_be_bytes(get(packet, 6)?) & 0x3fff == 0;
                let len = usize::from(first & 15) * 4;
                let [protocol] = get(packet, 9)?;
                (Network::Ipv4, Some(len).filter(|&len| whole && len >= 20)?, protocol)
            }
            (ethertype::IPV6, 6) => {
                let (len, protocol) = behind_options(packet)?;
                (Network::Ipv6, len, protocol)
            }
            _ => return None,
        };
        packet.get(len..)?;
        Some(Self { network, l3, l4: l3 + len, protocol })
    }

    /// The pseudo-header of a transport header with its data, of so many octets together.
    pub(super) fn pseudo(&self, frame: &[u8], len: usize) -> Sum {
        let addresses = match self.network {
            Network::Ipv6 => self.l3 + 8..self.l3 + IPV6,
            _ => self.l3 + 12..self.l3 + 20,
        };
        Sum::of(frame.get(addresses).unwrap_or_default()).word(self.protocol.into()).dword(len as u32)
    }

    /// Behind the last octet of the packet, by its own length field.
    pub(super) fn end(&self, frame: &[u8]) -> Option<usize> {
        let len = |at| get(frame, self.l3 + at).map(|len| usize::from(u16::from_be_bytes(len)));
        match self.network {
            Network::Ipv6 => Some(self.l3 + IPV6 + len(4)?),
            _ => Some(self.l3 + len(2)?),
        }
    }

    /// Writes the length field of a packet that ends at `end`, and IPv4's checksum.
    pub(super) fn set_end(&self, frame: &mut [u8], end: usize) {
        let len = end.saturating_sub(self.l3);
        if self.network == Network::Ipv6 {
            return put(frame, self.l3 + 4, (len.saturating_sub(IPV6) as u16).to_be_bytes());
        }
        put(frame, self.l3 + 2, (len as u16).to_be_bytes());
        put(frame, self.l3 + 10, [0; 2]);
        let checksum = Sum::of(frame.get(self.l3..self.l4).unwrap_or_default()).checksum();
        put(frame, self.l3 + 10, checksum.to_be_bytes());
    }
}

/// Octets of an IPv6 header with its options, and the protocol behind them.
fn behind_options(packet: &[u8]) -> Option<(usize, u8)> {
    let ([mut protocol], mut len) = (get(packet, 6)?, IPV6);
    for _ in 0..MOST_EXTENSIONS {
        if !matches!(protocol, extension::HOP_BY_HOP | extension::DESTINATION_OPTIONS) {
            break;
        }
        let octets: [u8; 2] = get(packet, len)?;
        len += extension::len(protocol, octets);
        [protocol, _] = octets;
    }
    Some((len, protocol))
}

/// Computes the checksum of a frame's TCP or UDP header, whatever is in its place. `false`, changing nothing, of a frame
/// without such a header, or which ends before its packet does.
pub fn finish_checksum(frame: &mut [u8]) -> bool {
    let Some(layout) = Layout::of(frame) else { return false };
    let (at, shortest) = match layout.protocol {
        protocol::TCP => (16, 20),
        protocol::UDP => (6, 8),
        _ => return false,
    };
    let end = layout.end(frame).unwrap_or_default();
    let Some(transport) = frame.get_mut(layout.l4..end).filter(|transport| transport.len() >= shortest)
    else {
        return false;
    };
    put(transport, at, [0; 2]);
    let sum = Sum::of(transport);
    let sum = sum.plus(layout.pseudo(frame, end - layout.l4));
    let checksum = if layout.protocol == protocol::UDP { sum.udp_checksum() } else { sum.checksum() };
    put(frame, layout.l4 + at, checksum.to_be_bytes());
    true
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::{super::parse, *};
    use crate::packet::sample::summed_up;

    /// A frame with TCP or UDP, and options in front of it.
    pub(in super::super) fn transport(v6: bool, tag: bool, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        if tag {
            frame.extend([0x81, 0, 0, 7]);
        }
        let len = body.len() as u16;
        if v6 {
            // With destination options of eight octets.
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((len + 8).to_be_bytes());
            frame.extend([60, 64]);
            frame.extend((0..32).map(|n| n * 7));
            frame.extend([kind, 0, 1, 4, 0, 0, 0, 0]);
        } else {
            // With an option of four octets.
            frame.extend([0x08, 0, 0x46, 0]);
            frame.extend((len + 24).to_be_bytes());
            frame.extend([0, 9, 0x40, 0, 64, kind, 0, 0, 10, 0, 1, 10, 10, 0, 2, 10, 1, 1, 1, 0]);
        }
        frame.extend(body);
        frame
    }

    proptest! {
        #[test]
        fn finished_checksums_verify(
            v6: bool, tag: bool, udp: bool, body in proptest::collection::vec(any::<u8>(), 20..200),
            padding in 0usize..20,
        ) {
            let kind = if udp { protocol::UDP } else { protocol::TCP };
            let whole = transport(v6, tag, kind, &body);
            let mut frame = [&whole[..], &vec![7; padding]].concat();
            prop_assert!(finish_checksum(&mut frame));
            let at = whole.len() - body.len() + if udp { 6 } else { 16 };
            prop_assert_eq!(&frame[..at], &whole[..at]);
            prop_assert_eq!(&frame[at + 2..whole.len()], &whole[at + 2..]);
            if tag {
                frame.drain(12..16);
            }
            prop_assert_eq!(summed_up(&frame, &parse(&frame).unwrap()), 0xffff);
            prop_assert!(!udp || frame[at..at + 2] != [0, 0]);
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..120), v6: bool) {
            let mut frame = bytes;
            if frame.len() > 15 {
                frame[12..15].copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] });
            }
            let before = frame.clone();
            prop_assert!(finish_checksum(&mut frame) || frame == before);
        }
    }

    #[test]
    fn fragments_and_other_protocols_are_nobody_s() {
        let mut fragment = transport(false, false, protocol::UDP, &[0; 20]);
        fragment[20] = 0x20;
        assert!(!finish_checksum(&mut fragment));
        assert!(!finish_checksum(&mut transport(true, false, 132, &[0; 20])));
        assert!(!finish_checksum(&mut transport(false, false, protocol::TCP, &[0; 19])));
    }
}
