//! Other addresses, or another time to live, for a packet, with all the checksums that cover them brought along (RFC 1624).

use super::{
    bytes::{get, put},
    headers::{ETHERNET, Headers, Network},
    patch::{apply, replace},
    translate::{Address, Tuple, translate},
};

/// Offset of the IPv4 header checksum in a frame.
const IPV4_CHECKSUM: usize = ETHERNET + 10;
/// Offsets of IPv4's time to live and IPv6's hop limit.
const TTL: usize = ETHERNET + 8;
const HOP_LIMIT: usize = ETHERNET + 7;

/// Gives an IPv4 packet, which [`super::parse`] found in the frame, other addresses, in host order.
#[inline]
pub fn readdress_v4(frame: &mut [u8], headers: &Headers, source: u32, destination: u32) {
    readdress(frame, headers, source, destination);
}

/// Gives an IPv6 packet, which [`super::parse`] found in the frame, other addresses, in host order.
#[inline]
pub fn readdress_v6(frame: &mut [u8], headers: &Headers, source: u128, destination: u128) {
    readdress(frame, headers, source, destination);
}

#[inline]
fn readdress<A: Address>(frame: &mut [u8], headers: &Headers, source: A, destination: A) {
    if let Some(old) = Tuple::of(frame, headers) {
        translate(frame, headers, &Tuple { source, destination, ..old });
    }
}

/// The time to live, or hop limit, of the packet in a frame; 0 for ARP.
#[inline]
pub fn ttl(frame: &[u8], headers: &Headers) -> u8 {
    let at = match headers.network {
        Network::Ipv4 => TTL,
        Network::Ipv6 => HOP_LIMIT,
        Network::Arp => return 0,
    };
    let [ttl] = get(frame, at).unwrap_or_default();
    ttl
}

/// Sets the time to live, or hop limit, of the packet in a frame.
pub fn set_ttl(frame: &mut [u8], headers: &Headers, ttl: u8) {
    match headers.network {
        Network::Ipv4 => {
            let [_, protocol] = get(frame, TTL).unwrap_or_default();
            if let Some(change) = replace(frame, TTL, [ttl, protocol]) {
                apply(frame, IPV4_CHECKSUM, change);
            }
        }
        Network::Ipv6 => put(frame, HOP_LIMIT, [ttl]),
        Network::Arp => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::packet::{checksum::Sum, ipv4_addresses, ipv6_addresses, parse};

    /// A frame with right checksums; `checksum_at` is the transport checksum's offset in the payload.
    fn frame(v6: Option<(u128, u128)>, v4: (u32, u32), protocol: u8, at: usize, payload: &[u8]) -> Vec<u8> {
        let mut payload = payload.to_vec();
        payload[at..at + 2].fill(0);
        let len = payload.len() as u16;
        let pseudo = match v6 {
            Some((from, to)) => {
                Sum::pseudo_v6(Ipv6Addr::from_bits(from), Ipv6Addr::from_bits(to), protocol, len.into())
            }
            None => Sum::pseudo_v4(Ipv4Addr::from_bits(v4.0), Ipv4Addr::from_bits(v4.1), protocol, len),
        };
        let checksum = pseudo.plus(Sum::of(&payload)).udp_checksum();
        payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        let mut frame = vec![0; 12];
        if let Some((from, to)) = v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend(from.to_be_bytes());
            frame.extend(to.to_be_bytes());
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + len).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend(v4.0.to_be_bytes());
            frame.extend(v4.1.to_be_bytes());
            let header = Sum::of(&frame[14..34]).checksum();
            frame[24..26].copy_from_slice(&header.to_be_bytes());
        }
        frame.extend(payload);
        frame
    }

    proptest! {
        /// Equal to the frame that would have been made with the new addresses in the first place.
        #[test]
        fn checksums_follow(
            old4: (u32, u32), new4: (u32, u32), old6: (u128, u128), new6: (u128, u128),
            kind in prop::sample::select(vec![(6u8, 16usize), (17, 6), (58, 2)]),
            v6: bool,
            mut payload in prop::collection::vec(any::<u8>(), 20..200),
            ttl: u8,
        ) {
            let (protocol, at) = kind;
            prop_assume!(v6 || protocol != 58);
            // A whole TCP header.
            payload[12] = 0x50;
            let mut changed = frame(v6.then_some(old6), old4, protocol, at, &payload);
            let headers = parse(&changed).unwrap();
            if v6 {
                readdress_v6(&mut changed, &headers, new6.0, new6.1);
                prop_assert_eq!(ipv6_addresses(&changed), new6);
            } else {
                readdress_v4(&mut changed, &headers, new4.0, new4.1);
                prop_assert_eq!(ipv4_addresses(&changed), new4);
            }
            prop_assert_eq!(&changed, &frame(v6.then_some(new6), new4, protocol, at, &payload));
            set_ttl(&mut changed, &headers, ttl);
            prop_assert_eq!(super::ttl(&changed, &headers), ttl);
            if v6 {
                prop_assert_eq!(changed[21], ttl);
            } else {
                prop_assert_eq!(changed[22], ttl);
                prop_assert_eq!(Sum::of(&changed[14..34]).fold(), 0xffff);
            }
        }
    }

    #[test]
    fn what_has_no_checksum_stays_without() {
        let mut udp = frame(None, (1, 2), 17, 6, &[0; 20]);
        udp[40..42].fill(0);
        let mut later = frame(None, (1, 2), 17, 6, &[7; 20]);
        later[20..22].copy_from_slice(&3_u16.to_be_bytes());
        for before in [udp, later] {
            let mut after = before.clone();
            readdress_v4(&mut after, &parse(&before).unwrap(), 3, 4);
            assert_eq!(after[34..], before[34..]);
        }
    }
}
