//! VLAN tags (IEEE 802.1Q): a link's way to carry several, such as the virtual interfaces of Direct Connect on one gateway port.

use super::{
    Buffer,
    headers::{ethertype, ethertype_of},
};
use crate::pipeline::Reason;

/// Octets of a tag, which stands behind the MACs.
const TAG: usize = 4;
const MACS: usize = 12;

/// The 12 bits of the tag's second word that are the VLAN's identifier.
const ID: u16 = 0x0fff;

/// The VLAN identifier of a frame's outermost tag, 802.1Q or 802.1ad; 0 is a tag of priority only. `None` of a frame without.
#[inline]
pub fn vlan_id(frame: &[u8]) -> Option<u16> {
    let head = frame.first_chunk::<{ MACS + TAG + 2 }>()?;
    let tagged = matches!(ethertype_of(head), ethertype::VLAN | ethertype::SERVICE_VLAN);
    tagged.then(|| u16::from_be_bytes([head[14], head[15]]) & ID)
}

/// Removes one 802.1Q or 802.1ad tag, if the frame has one, and returns its VLAN identifier. A second tag stays, for
/// [`super::parse`] to refuse.
#[inline]
pub fn strip_vlan<B: Buffer>(buffer: &mut B) -> Option<u16> {
    let id = vlan_id(buffer.data())?;
    let head = buffer.data_mut().first_chunk_mut::<{ MACS + TAG }>()?;
    head.copy_within(..MACS, TAG);
    buffer.trim_front(TAG);
    Some(id)
}

/// Tags a frame with an 802.1Q tag of the VLAN `id`, of which the lower 12 bits count, and priority 0.
///
/// # Errors
///
/// [`Reason::NoHeadroom`], with the frame unchanged.
#[inline]
pub fn push_vlan<B: Buffer>(buffer: &mut B, id: u16) -> Result<(), Reason> {
    let frame = buffer.prepend(TAG).ok_or(Reason::NoHeadroom)?;
    if let Some(head) = frame.first_chunk_mut::<{ MACS + TAG }>() {
        head.copy_within(TAG.., 0);
        let [kind_high, kind_low] = ethertype::VLAN.to_be_bytes();
        let [id_high, id_low] = (id & ID).to_be_bytes();
        [head[12], head[13], head[14], head[15]] = [kind_high, kind_low, id_high, id_low];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{HEADROOM, HeapBuffer, parse, sample};

    fn tagged(frame: &[u8]) -> Vec<u8> {
        [&frame[..12], &[0x81, 0, 0x20, 7], &frame[12..]].concat()
    }

    #[test]
    fn strips_one_tag() {
        let frame = sample::datagram(([10, 0, 0, 1].into(), [10, 0, 0, 2].into()), 1, 2, b"data");
        let mut once = HeapBuffer::new(&tagged(&frame));
        assert_eq!(vlan_id(once.data()), Some(7));
        assert_eq!(strip_vlan(&mut once), Some(7));
        assert_eq!(once.data(), frame);
        assert_eq!(vlan_id(once.data()), None);
        assert_eq!(strip_vlan(&mut once), None);
        let mut twice = HeapBuffer::new(&tagged(&tagged(&frame)));
        assert_eq!(strip_vlan(&mut twice), Some(7));
        assert_eq!(parse(twice.data()), Err(Reason::Vlan));
        assert_eq!(strip_vlan(&mut HeapBuffer::new(&tagged(&frame)[..17])), None);
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_stripped(frame in sample::any_frame(), id: u16) {
            let mut buffer = HeapBuffer::new(&frame);
            push_vlan(&mut buffer, id).unwrap();
            let [high, low] = (id & 0xfff).to_be_bytes();
            prop_assert_eq!(buffer.data(), [&frame[..12], &[0x81, 0, high, low], &frame[12..]].concat());
            prop_assert_eq!(strip_vlan(&mut buffer), Some(id & 0xfff));
            prop_assert_eq!(buffer.data(), frame);
        }
    }

    #[test]
    fn no_headroom() {
        let mut buffer = HeapBuffer::new(&[0; 60]);
        buffer.prepend(HEADROOM - 3).unwrap();
        assert_eq!(push_vlan(&mut buffer, 7), Err(Reason::NoHeadroom));
        assert_eq!(buffer.data().len(), 60 + HEADROOM - 3);
    }
}
