//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::{
    Buffer, Mac,
    bytes::{get, put},
    headers::{ETHERNET, ethertype},
};
use crate::pipeline::Reason;

/// Octets of an Ethernet frame with an ARP packet, without padding.
pub const FRAME: usize = ETHERNET + 28;

/// Hardware type Ethernet, protocol type IPv4, their address lengths.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// Asks for the MAC of the target address.
    Request = 1,
    /// Tells the sender's MAC.
    Reply = 2,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's MAC.
    pub sender_mac: Mac,
    /// The sender's address; 0.0.0.0 in a probe (RFC 5227 §1.1).
    pub sender_ip: Ipv4Addr,
    /// The target's MAC; of no meaning in a request.
    pub target_mac: Mac,
    /// The target's address.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Reads the ARP packet of a frame that [`super::parse`] found to be ARP.
    ///
    /// # Errors
    ///
    /// [`Reason::Truncated`]; [`Reason::Malformed`] for other hardware, protocols or operations.
    pub fn parse(frame: &[u8]) -> Result<Self, Reason> {
        let packet: [u8; 28] = get(frame, ETHERNET).ok_or(Reason::Truncated)?;
        let address = |at| Ipv4Addr::from(get(&packet, at).unwrap_or([0; 4]));
        let mac = |at| Mac(get(&packet, at).unwrap_or_default());
        if get(&packet, 0) != Some(ETHERNET_IPV4) {
            return Err(Reason::Malformed);
        }
        let operation = match u16::from_be_bytes([packet[6], packet[7]]) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return Err(Reason::Malformed),
        };
        Ok(Self {
            operation,
            sender_mac: mac(8),
            sender_ip: address(14),
            target_mac: mac(18),
            target_ip: address(24),
        })
    }

    /// The frame with this packet, from the sender's MAC to `destination`.
    pub fn frame(&self, destination: Mac) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        put(&mut frame, 0, destination.0);
        put(&mut frame, 6, self.sender_mac.0);
        put(&mut frame, 12, ethertype::ARP.to_be_bytes());
        put(&mut frame, 14, ETHERNET_IPV4);
        put(&mut frame, 20, (self.operation as u16).to_be_bytes());
        put(&mut frame, 22, self.sender_mac.0);
        put(&mut frame, 28, self.sender_ip.octets());
        put(&mut frame, 32, self.target_mac.0);
        put(&mut frame, 38, self.target_ip.octets());
        frame
    }

    /// The reply to this request: `mac` has the address asked for.
    pub const fn reply(&self, mac: Mac) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Turns the buffer with this request into the [`Arp::reply`] to it, in place.
    pub fn reply_in_place<B: Buffer>(&self, buffer: &mut B, mac: Mac) {
        put(buffer.data_mut(), 0, self.reply(mac).frame(self.sender_mac));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{HeapBuffer, sample};

    #[rustfmt::skip]
    const REQUEST: [u8; FRAME] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 1, 0x0a, 8, 6, // Ethernet: broadcast, ARP
        0, 1, 8, 0, 6, 4, 0, 1,                                        // Ethernet, IPv4, request
        2, 0, 0, 0, 1, 0x0a, 10, 0, 1, 10,                             // sender
        0, 0, 0, 0, 0, 0, 10, 0, 1, 11,                                // target
    ];

    #[test]
    fn request_round_trips_and_is_answered() {
        let request = Arp::parse(&REQUEST).unwrap();
        assert_eq!(request.frame(Mac::BROADCAST), REQUEST);
        let mut buffer = HeapBuffer::new(&[&REQUEST[..], &[0; 18]].concat());
        request.reply_in_place(&mut buffer, sample::B);
        assert_eq!(buffer.data().len(), 60);
        assert_eq!(buffer.data()[..14], [2, 0, 0, 0, 1, 0x0a, 2, 0, 0, 0, 1, 0x0b, 8, 6]);
        let expected = Arp {
            operation: Operation::Reply,
            sender_mac: sample::B,
            sender_ip: Ipv4Addr::new(10, 0, 1, 11),
            target_mac: sample::A,
            target_ip: Ipv4Addr::new(10, 0, 1, 10),
        };
        assert_eq!(Arp::parse(buffer.data()), Ok(expected));
    }

    #[test]
    fn other_arps_are_malformed() {
        for (at, value) in [(15, 6), (16, 9), (18, 8), (19, 16), (21, 3), (21, 0)] {
            let mut frame = REQUEST;
            frame[at] = value;
            assert_eq!(Arp::parse(&frame), Err(Reason::Malformed), "octet {at} = {value}");
        }
        assert_eq!(Arp::parse(&REQUEST[..41]), Err(Reason::Truncated));
    }
}
