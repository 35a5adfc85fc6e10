//! The ports of NAT addresses (GW-10, GW-11).
//!
//! Ports 1024 to 65535 of an address are [`BLOCKS`] blocks of [`BLOCK_PORTS`] ports. A block of all addresses of a
//! gateway belongs to one worker of one edge node, so that many serve a gateway and share no state: a flow's hash
//! chooses the block, and the port of a returning packet tells it.

/// Blocks of an address.
pub const BLOCKS: u8 = 64;

/// Ports of a block.
pub const BLOCK_PORTS: u16 = (u16::MAX - FIRST_PORT + 1) / BLOCKS as u16;

/// The lowest port that is used.
const FIRST_PORT: u16 = 1024;

/// Flows of an address to one destination address and port, by one protocol, at once (GW-11).
pub const FLOWS_PER_DESTINATION: u32 = 55_000;

/// Where a flow may get its port from.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// The gateway's NAT addresses, 1 to 8 of them (GW-11), as in [`super::super::Endpoint`].
    pub addresses: &'a [u128],
    /// The block that the flow's hash chose, one of this worker's.
    pub block: u8,
    /// How many blocks this worker has, of [`BLOCKS`].
    pub share: u8,
}

impl<'a> Pool<'a> {
    /// The addresses in the order in which a source with a hash tries them. All its flows begin with the same: servers
    /// see one address for as long as that has ports (RFC 4787 REQ-2).
    pub(super) fn addresses_for(self, hash: u64) -> impl Iterator<Item = u128> + use<'a> {
        let first = (hash % self.addresses.len().max(1) as u64) as usize;
        let (later, sooner) = self.addresses.split_at_checked(first).unwrap_or_default();
        sooner.iter().chain(later).copied()
    }

    /// How many flows to one destination this worker may have at once.
    pub(super) fn limit(self) -> u32 {
        (FLOWS_PER_DESTINATION * u32::from(self.share)).div_ceil(BLOCKS.into())
    }

    /// The ports to try for a flow with a hash, as good as drawn (RFC 6056 §3.3): who does not know the secret cannot
    /// tell them. So many that a block with 15 % of its ports free, as at the limit, has one of them for certain; and
    /// not all, so that a search in a block with hardly any is not much dearer than others.
    pub(super) fn ports_for(self, hash: u64) -> impl Iterator<Item = u16> + use<'a> {
        const PROBES: u32 = 256;
        let ports = u32::from(BLOCK_PORTS);
        let start = (hash as u32 & 0xffff) % ports;
        // It has no divisor in common with the block's 1008 = 2⁴ × 3² × 7 ports, so that no port comes twice.
        let stride = (hash >> 16) as u32 % (ports / 42) * 42 + 5;
        let first = u32::from(FIRST_PORT) + u32::from(self.block % BLOCKS) * ports;
        (0..PROBES).map(move |n| (first + (start + n * stride) % ports) as u16)
    }
}

/// The block that a port is in; `None` for one that no NAT gateway uses.
pub const fn block_of(port: u16) -> Option<u8> {
    match port.checked_sub(FIRST_PORT) {
        Some(offset) => Some((offset / BLOCK_PORTS) as u8),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_cover_the_ports() {
        assert_eq!((block_of(1023), block_of(1024), block_of(65535)), (None, Some(0), Some(63)));
        for block in 0..BLOCKS {
            assert_eq!((1024..=65535).filter(|&port| block_of(port) == Some(block)).count(), 1008);
        }
    }

    #[test]
    fn the_limit_is_the_workers_share() {
        let limit = |share| Pool { addresses: &[], block: 0, share }.limit();
        assert_eq!([64, 32, 1, 0].map(limit), [55_000, 27_500, 860, 0]);
    }

    proptest! {
        #[test]
        fn no_port_is_tried_twice_nor_outside_the_block(hash: u64, block in 0..BLOCKS) {
            let ports: Vec<u16> = Pool { addresses: &[], block, share: 1 }.ports_for(hash).collect();
            prop_assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
            prop_assert!(ports.iter().all(|&port| block_of(port) == Some(block)));
        }

        #[test]
        fn every_address_is_tried_once(hash: u64, count in 0usize..9) {
            let addresses: Vec<u128> = (0..count as u128).collect();
            let mut tried: Vec<u128> =
                Pool { addresses: &addresses, block: 0, share: 1 }.addresses_for(hash).collect();
            tried.sort_unstable();
            prop_assert_eq!(tried, addresses);
        }
    }
}
