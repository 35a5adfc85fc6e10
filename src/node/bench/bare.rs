//! The yardstick: the least that a VXLAN sender does. No checks, no services, no counters, no updates: parse, one lookup in
//! a flat map of (VNI, IPv4 address), a ready 50-byte header with its lengths patched.

use super::{
    super::fleet::{self, Fleet},
    generator::Generator,
};
use crate::{
    dpdk::{Mbuf, TxQueue},
    ffi::{HugeSlice, prefetch},
    node::worker::{Receive, Transmit},
    packet::{Buffer, ipv4_addresses},
    pipeline::{Burst, MAX_BURST},
};

/// Two to a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Entry {
    vni: u32,
    address: u32,
    mac: [u8; 6],
    host: u32,
}

/// The yardstick, set up.
pub(super) struct Bare {
    table: HugeSlice<Entry>,
    mask: usize,
    header: [u8; 50],
    generator: Generator,
    tx: TxQueue,
    burst: Burst<Mbuf>,
}

impl Bare {
    /// With the addresses of a fleet in its map.
    pub(super) fn new(fleet: &Fleet, generator: Generator, tx: TxQueue) -> Self {
        let slots = (fleet.count() * 2).next_power_of_two();
        let empty = Entry { vni: 0, address: 0, mac: [0; 6], host: 0 };
        let mut table = HugeSlice::new(slots, empty);
        let mask = slots - 1;
        for number in 0..fleet.count() {
            let address = fleet::address(number).to_bits();
            let mut slot = hash(address) & mask;
            while table[slot].vni != 0 {
                slot = (slot + 1) & mask;
            }
            let (vni, host) = (fleet::VNI.get(), fleet::host_of(number));
            table[slot] = Entry { vni, address, mac: fleet::mac(number).0, host };
        }
        let mut header = [0; 50];
        header[12] = 8;
        header[14] = 0x45;
        Self { table, mask, header, generator, tx, burst: Burst::new() }
    }

    /// Bytes of the map.
    pub(super) fn table_bytes(&self) -> usize {
        size_of_val(&*self.table)
    }

    /// One round: two passes over a burst, the first asking for the memory of the second.
    pub(super) fn round(&mut self, most: usize) -> usize {
        self.generator.receive(&mut self.burst, most);
        let found = self.burst.len();
        let mut addresses = [0; MAX_BURST];
        for (mbuf, address) in self.burst.iter().zip(&mut addresses) {
            let frame = mbuf.data();
            let plain = frame.len() >= 34 && frame[12..14] == [8, 0] && frame[14] == 0x45;
            *address = if plain { ipv4_addresses(frame).1 } else { 0 };
            prefetch(&self.table[hash(*address) & self.mask]);
        }
        for (mbuf, address) in self.burst.iter_mut().zip(addresses) {
            let mut slot = hash(address) & self.mask;
            let entry = loop {
                let entry = &self.table[slot];
                if entry.vni == 0 || (entry.vni == fleet::VNI.get() && entry.address == address) {
                    break entry;
                }
                slot = (slot + 1) & self.mask;
            };
            let Some(frame) = mbuf.prepend(50) else { continue };
            let length = frame.len();
            let Some(head) = frame.first_chunk_mut::<56>() else { continue };
            head[..50].copy_from_slice(&self.header);
            head[50..56].copy_from_slice(&entry.mac);
            head[16..18].copy_from_slice(&((length - 14) as u16).to_be_bytes());
            head[30..34].copy_from_slice(&entry.host.to_be_bytes());
            head[38..40].copy_from_slice(&((length - 34) as u16).to_be_bytes());
            head[46..50].copy_from_slice(&(entry.vni << 8).to_be_bytes());
        }
        self.tx.transmit(&mut self.burst);
        found
    }
}

#[inline]
fn hash(address: u32) -> usize {
    // FxHash of one word.
    let hash = (u64::from(address) ^ u64::from(fleet::VNI.get()) << 32).wrapping_mul(0xf135_7aea_2e62_a9c5);
    hash.rotate_left(26) as usize
}
