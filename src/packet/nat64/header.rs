//! What stands in front of a translated packet's transport header.

use crate::{
    packet::{
        Address, Buffer, ETHERNET, Network,
        bytes::{get, put},
        checksum::Sum,
        ethertype,
        headers::extension,
        ip::Ip,
    },
    pipeline::Reason,
};

/// The longest: of an IPv6 error about a fragment.
const LONGEST: usize = ETHERNET + 2 * (40 + 8) + 8;

/// The first octets of a frame.
pub(super) struct Head {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Head {
    pub(super) const EMPTY: Self = Self { bytes: [0; LONGEST], len: 0 };

    /// An Ethernet header with the MACs of a frame.
    pub(super) fn ethernet(frame: &[u8], network: Network) -> Self {
        let kind = if network == Network::Ipv4 { ethertype::IPV4 } else { ethertype::IPV6 };
        let mut head = Self::EMPTY;
        let macs: [u8; 12] = get(frame, 0).unwrap_or_default();
        head.push(&macs);
        head.push(&kind.to_be_bytes());
        head
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Adds octets, which have room.
    pub(super) fn push(&mut self, octets: &[u8]) {
        let end = self.len + octets.len();
        if let Some(slot) = self.bytes.get_mut(self.len..end) {
            slot.copy_from_slice(octets);
            self.len = end;
        }
    }

    /// Puts the head in the place of a frame's first octets, up to `from`, and cuts the frame at `end`, both counted in the old
    /// frame. Returns where the rest is now.
    pub(super) fn replace<B: Buffer>(
        &self,
        buffer: &mut B,
        from: usize,
        end: usize,
    ) -> Result<usize, Reason> {
        if buffer.data().len() < end.max(from) {
            return Err(Reason::Truncated);
        }
        let grown = self.len.saturating_sub(from);
        if grown > 0 {
            buffer.prepend(grown).ok_or(Reason::NoHeadroom)?;
        }
        buffer.truncate(end + grown);
        buffer.trim_front(from.saturating_sub(self.len));
        if let Some(slot) = buffer.data_mut().get_mut(..self.len) {
            slot.copy_from_slice(self.bytes());
        }
        Ok(self.len)
    }
}

/// An IP version that packets are translated to.
pub(super) trait Version: Address {
    /// Octets of its fixed header.
    const HEADER: usize;

    /// Adds the header of a packet that had the other version's. `identification` is for what was no fragment.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] where the packet claims to be longer than this version has them.
    fn header(
        head: &mut Head,
        ip: &Ip,
        protocol: u8,
        pair: (Self, Self),
        identification: u16,
    ) -> Result<(), Reason>;
}

impl Version for u32 {
    const HEADER: usize = 20;

    fn header(
        head: &mut Head,
        ip: &Ip,
        protocol: u8,
        (source, destination): (Self, Self),
        identification: u16,
    ) -> Result<(), Reason> {
        const DONT_FRAGMENT: u16 = 0x4000;
        const MORE_FRAGMENTS: u16 = 0x2000;

        let len = u16::try_from(Self::HEADER + ip.payload_len).map_err(|_| Reason::Malformed)?;
        let (identification, field) = match ip.part {
            // RFC 7915 §5.1.1: the lower half of the identification; may be cut further.
            Some(part) => {
                let more = if part.more { MORE_FRAGMENTS } else { 0 };
                (part.identification as u16, part.offset >> 3 | more)
            }
            // RFC 7915 §5.1: what came through the IPv6 minimum may be cut, so it needs an identification.
            None if len <= 1260 => (identification, 0),
            None => (0, DONT_FRAGMENT),
        };
        let mut header = [0; Self::HEADER];
        put(&mut header, 0, [0x45, ip.class]);
        put(&mut header, 2, len.to_be_bytes());
        put(&mut header, 4, identification.to_be_bytes());
        put(&mut header, 6, field.to_be_bytes());
        put(&mut header, 8, [ip.hops, protocol]);
        put(&mut header, 12, source.to_be_bytes());
        put(&mut header, 16, destination.to_be_bytes());
        let checksum = Sum::of(&header).checksum();
        put(&mut header, 10, checksum.to_be_bytes());
        head.push(&header);
        Ok(())
    }
}

impl Version for u128 {
    const HEADER: usize = 40;

    fn header(
        head: &mut Head,
        ip: &Ip,
        protocol: u8,
        (source, destination): (Self, Self),
        _: u16,
    ) -> Result<(), Reason> {
        let shim = if ip.part.is_some() { 8 } else { 0 };
        let len = u16::try_from(ip.payload_len + shim).map_err(|_| Reason::Malformed)?;
        let next = if ip.part.is_some() { extension::FRAGMENT } else { protocol };
        let mut header = [0; Self::HEADER];
        // RFC 7915 §4.1: flow label 0.
        put(&mut header, 0, [0x60 | ip.class >> 4, ip.class << 4]);
        put(&mut header, 4, len.to_be_bytes());
        put(&mut header, 6, [next, ip.hops]);
        put(&mut header, 8, source.to_be_bytes());
        put(&mut header, 24, destination.to_be_bytes());
        head.push(&header);
        if let Some(part) = ip.part {
            let mut header = [protocol, 0, 0, 0, 0, 0, 0, 0];
            put(&mut header, 2, (part.offset | u16::from(part.more)).to_be_bytes());
            put(&mut header, 4, part.identification.to_be_bytes());
            head.push(&header);
        }
        Ok(())
    }
}
