//! Which port of this node an ENI is at, by its VPC and MAC: what every frame from the underlay asks first.

use super::PortIndex;
use crate::packet::{Mac, Vni};

/// Slots for each ENI, at least: with so many, nearly every lookup reads one.
const SPARSE: usize = 4;

#[derive(Clone, Copy)]
struct Slot {
    /// [`Mac::to_u64`] in the lower 48 bits, the port above.
    station: u64,
    /// `None` of a free slot.
    vni: Option<Vni>,
}

/// The ports of the ENIs attached to this node, by VPC and MAC. Open addressing with linear probing. Its hash has no secret: who
/// attaches ENIs is the orchestrator.
#[derive(Clone)]
pub struct LocalMacs {
    /// A power of two.
    slots: Box<[Slot]>,
}

impl LocalMacs {
    /// The port of the ENI that has a MAC in a VPC.
    #[inline]
    pub fn get(&self, vni: Vni, mac: Mac) -> Option<PortIndex> {
        self.at(vni, mac.to_u64())
    }

    /// The same by the number of the MAC ([`Mac::to_u64`]).
    #[inline(always)]
    pub fn at(&self, vni: Vni, mac: u64) -> Option<PortIndex> {
        let mut position = self.home(vni, mac);
        loop {
            // There is always a free slot, which ends the probe.
            let slot = self.slots.get(position)?;
            if slot.vni == Some(vni) && (slot.station ^ mac) << 16 == 0 {
                return Some(PortIndex((slot.station >> 48) as u16));
            }
            slot.vni?;
            position = self.next(position);
        }
    }

    #[inline(always)]
    fn home(&self, vni: Vni, mac: u64) -> usize {
        let mixed = (u64::from(vni.get()) << 40 ^ mac).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn next(&self, position: usize) -> usize {
        (position + 1) & (self.slots.len() - 1)
    }
}

impl FromIterator<((Vni, Mac), PortIndex)> for LocalMacs {
    fn from_iter<I: IntoIterator<Item = ((Vni, Mac), PortIndex)>>(enis: I) -> Self {
        let enis: Vec<_> = enis.into_iter().collect();
        let free = Slot { station: 0, vni: None };
        let mut macs = Self { slots: vec![free; (enis.len() * SPARSE).next_power_of_two()].into() };
        for ((vni, mac), port) in enis {
            let mut position = macs.home(vni, mac.to_u64());
            while macs.slots.get(position).is_some_and(|slot| slot.vni.is_some()) {
                position = macs.next(position);
            }
            if let Some(slot) = macs.slots.get_mut(position) {
                *slot = Slot { station: mac.to_u64() | u64::from(port.0) << 48, vni: Some(vni) };
            }
        }
        macs
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn equals_a_map(enis in vec(((1u32..4, any::<[u8; 2]>()), any::<u16>()), 0..200), others in vec((1u32..5, any::<[u8; 2]>()), 50)) {
            let key = |(vni, [a, b]): (u32, [u8; 2])| (Vni::new(vni).unwrap(), Mac([2, a, 0, 0, 0, b]));
            // No VPC has a MAC twice.
            let model: HashMap<(Vni, Mac), PortIndex> =
                enis.iter().map(|&(eni, port)| (key(eni), PortIndex(port))).collect();
            let macs: LocalMacs = model.iter().map(|(&key, &port)| (key, port)).collect();
            for (vni, mac) in enis.iter().map(|&(eni, _)| key(eni)).chain(others.into_iter().map(key)) {
                prop_assert_eq!(macs.get(vni, mac), model.get(&(vni, mac)).copied());
            }
        }
    }
}
