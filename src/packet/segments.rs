//! Runs of TCP segments under one header (TSO, of a guest): cut into what fits a wire.

use super::{
    Buffer,
    bytes::{get, put},
    checksum::Sum,
    headers::{Network, protocol},
    offload::Layout,
};
use crate::pipeline::Reason;

/// Offsets in the TCP header (RFC 9293 §3.1).
pub(super) const SEQUENCE: usize = 4;
pub(super) const DATA_OFFSET: usize = 12;
pub(super) const FLAGS: usize = 13;
pub(super) const CHECKSUM: usize = 16;
/// Flags that belong to the last segment of a run, and to the first one (RFC 3168 §6.1.2).
pub(super) const FIN_PSH: u8 = 0x09;
pub(super) const CWR: u8 = 0x80;

/// A run of segments, of which some have been cut off.
#[derive(Debug)]
pub struct Cut<B> {
    run: B,
    layout: Layout,
    /// Where the data begins.
    data: usize,
    /// Octets of data in each segment but the last.
    size: usize,
    /// Octets of data that have been cut off.
    done: usize,
    /// Segments that have been cut off.
    count: u16,
}

impl<B: Buffer> Cut<B> {
    /// Begins to cut a frame, which may be chained, into segments with `size` octets of data.
    ///
    /// # Errors
    ///
    /// With the frame, if it is none of TCP, its headers are not in its first piece, or `size` is 0.
    pub fn new(run: B, size: u16) -> Result<Self, B> {
        let place = |frame: &[u8]| {
            let layout = Layout::of(frame).filter(|layout| layout.protocol == protocol::TCP)?;
            let [offset] = get(frame, layout.l4 + DATA_OFFSET)?;
            let header = usize::from(offset >> 4) * 4;
            let data = layout.l4 + header;
            (header >= 20 && data <= frame.len() && size > 0).then_some((layout, data))
        };
        match place(run.data()) {
            Some((layout, data)) => Ok(Self { run, layout, data, size: size.into(), done: 0, count: 0 }),
            None => Err(run),
        }
    }

    /// The next segment, whole and right, in a buffer of its own; `None` behind the last. Sequence numbers and IPv4's
    /// identification count on; FIN and PSH are the last one's, CWR the first one's.
    ///
    /// # Errors
    ///
    /// [`Reason::NoBuffer`], or [`Reason::OversizeFrame`] if no buffer holds a segment.
    pub fn next_segment(&mut self) -> Result<Option<B>, Reason> {
        let left = self.left();
        if left == 0 && self.count > 0 {
            return Ok(None);
        }
        let len = left.min(self.size);
        let segment = self.copy(len)?;
        self.done += len;
        self.count = self.count.wrapping_add(1);
        Ok(Some(segment))
    }

    /// Octets of data that have not been cut off.
    pub fn left(&self) -> usize {
        self.run.frame_len().saturating_sub(self.data + self.done)
    }

    fn copy(&self, len: usize) -> Result<B, Reason> {
        let Self { run, layout, data, done, count, .. } = self;
        let mut segment = run.another().ok_or(Reason::NoBuffer)?;
        if !segment.extend_to(data + len) {
            return Err(Reason::OversizeFrame);
        }
        let frame = segment.data_mut();
        let (headers, body) = frame.split_at_mut_checked(*data).ok_or(Reason::OversizeFrame)?;
        if !run.copy_out(0, headers) || !run.copy_out(data + done, body) {
            return Err(Reason::Truncated);
        }
        if layout.network == Network::Ipv4
            && let Some(first) = get(frame, layout.l3 + 4).map(u16::from_be_bytes)
        {
            put(frame, layout.l3 + 4, first.wrapping_add(*count).to_be_bytes());
        }
        let end = data + len;
        layout.set_end(frame, end);
        let segment_at = |at| layout.l4 + at;
        let sequence = get(frame, segment_at(SEQUENCE)).map(u32::from_be_bytes).unwrap_or_default();
        put(frame, segment_at(SEQUENCE), sequence.wrapping_add(*done as u32).to_be_bytes());
        let [mut flags] = get(frame, segment_at(FLAGS)).unwrap_or_default();
        if end + done < run.frame_len() {
            flags &= !FIN_PSH;
        }
        if *count > 0 {
            flags &= !CWR;
        }
        put(frame, segment_at(FLAGS), [flags]);
        put(frame, segment_at(CHECKSUM), [0; 2]);
        let sum =
            Sum::of(frame.get(layout.l4..).unwrap_or_default()).plus(layout.pseudo(frame, end - layout.l4));
        put(frame, segment_at(CHECKSUM), sum.checksum().to_be_bytes());
        Ok(segment)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{HeapBuffer, parse, sample::summed_up, tcp::Segment};

    /// A run with these flags, with options in its headers.
    fn run(v6: bool, flags: u8, data: &[u8]) -> Vec<u8> {
        super::super::offload::tests::transport(v6, false, protocol::TCP, &tcp(flags, data))
    }

    /// The same without options of IP.
    pub(in super::super) fn plain_run(v6: bool, flags: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = run(v6, flags, data);
        let len = frame.len() as u16 - 14;
        if v6 {
            frame[20] = protocol::TCP;
            frame.drain(54..62);
            frame[18..20].copy_from_slice(&(len - 8 - 40).to_be_bytes());
        } else {
            frame[14] = 0x45;
            frame.drain(34..38);
            frame[16..18].copy_from_slice(&(len - 4).to_be_bytes());
            let checksum = Sum::of(&frame[14..34]).checksum();
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        frame
    }

    fn tcp(flags: u8, data: &[u8]) -> Vec<u8> {
        let mut body =
            vec![0x12, 0x34, 0, 80, 0xff, 0xff, 0xff, 0, 9, 9, 9, 9, 0x80, flags, 1, 0, 0xbe, 0xef, 0, 0];
        body.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        body.extend(data);
        body
    }

    fn all(run: &[u8], size: u16) -> Vec<Vec<u8>> {
        let mut cut = Cut::new(HeapBuffer::new(run), size).unwrap();
        std::iter::from_fn(|| cut.next_segment().unwrap()).map(|segment| segment.data().to_vec()).collect()
    }

    proptest! {
        #[test]
        fn segments_are_whole_and_together_the_run(
            v6: bool, flags: u8, size in 1u16..3000, data in proptest::collection::vec(any::<u8>(), 0..4000),
        ) {
            let size = size.max(data.len() as u16 / 100 + 1);
            let whole = run(v6, flags, &data);
            let segments = all(&whole, size);
            prop_assert_eq!(segments.len(), data.len().div_ceil(size.into()).max(1));
            let start = whole.len() - data.len();
            let mut together = Vec::<u8>::new();
            for (number, segment) in segments.iter().enumerate() {
                let (first, last) = (number == 0, number + 1 == segments.len());
                let headers = parse(segment).unwrap();
                prop_assert_eq!(headers.end(), segment.len());
                prop_assert_eq!(summed_up(segment, &headers), 0xffff);
                let l4 = usize::from(headers.l4);
                if v6 {
                    prop_assert_eq!(&segment[..18], &whole[..18]);
                    prop_assert_eq!(&segment[20..l4], &whole[20..l4]);
                } else {
                    prop_assert_eq!(Sum::of(&segment[14..l4]).fold(), 0xffff);
                    let id = u16::from_be_bytes([segment[18], segment[19]]);
                    prop_assert_eq!(id, 9 + number as u16);
                    prop_assert_eq!(&segment[20..24], &whole[20..24]);
                    prop_assert_eq!(&segment[26..l4], &whole[26..l4]);
                }
                let sent = Segment::of(segment, &headers).unwrap();
                prop_assert_eq!(sent.sequence, 0xffff_ff00u32.wrapping_add(together.len() as u32));
                let expected = flags & if last { 0xff } else { !FIN_PSH } & if first { 0xff } else { !CWR };
                prop_assert_eq!(segment[l4 + 13], expected);
                prop_assert_eq!(&segment[l4 + 8..l4 + 13], &whole[l4 + 8..l4 + 13]);
                prop_assert_eq!(&segment[l4 + 18..start], &whole[l4 + 18..start]);
                prop_assert!(last || segment.len() - start == usize::from(size));
                together.extend(&segment[start..]);
            }
            prop_assert_eq!(together, data);
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), v6: bool, size: u16) {
            let mut frame = bytes;
            if frame.len() > 24 {
                frame[12..15].copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] });
                frame[if v6 { 20 } else { 23 }] = protocol::TCP;
            }
            if let Ok(mut cut) = Cut::new(HeapBuffer::new(&frame), size) {
                for _ in 0..frame.len() + 1 {
                    if cut.next_segment().unwrap().is_none() { return Ok(()); }
                }
                prop_assert!(false, "more segments than octets");
            }
        }
    }

    #[test]
    fn what_is_no_run_comes_back() {
        let udp = super::super::offload::tests::transport(false, false, protocol::UDP, &[0; 40]);
        assert!(Cut::new(HeapBuffer::new(&udp), 8).is_err());
        let run = run(false, 0x10, b"data");
        assert!(Cut::new(HeapBuffer::new(&run), 0).is_err());
        assert!(Cut::new(HeapBuffer::new(&run[..60]), 8).is_err());
    }
}
