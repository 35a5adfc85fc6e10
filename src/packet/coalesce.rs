//! TCP segments that come one behind the other, joined into a run under one header (LRO): a guest that takes runs looks at one
//! instead of dozens. What [`super::Cut`] has cut becomes what it was.

use arrayvec::ArrayVec;

use super::{
    Buffer,
    bytes::{get, put},
    checksum::Sum,
    headers::{ETHERNET, Network, protocol},
    offload::Layout,
    segments::{CHECKSUM, CWR, DATA_OFFSET, FIN_PSH, FLAGS, SEQUENCE},
    tcp::{ACK, FIN, RST, SYN},
};

/// URG (RFC 9293 §3.1).
const URG: u8 = 0x20;
/// The longest IP packet.
const LONGEST: usize = 0xffff;

/// Which runs a receiver takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// Those over IPv4.
    pub v4: bool,
    /// Those over IPv6.
    pub v6: bool,
}

impl Takes {
    /// Whether it takes any.
    pub const fn any(self) -> bool {
        self.v4 || self.v6
    }
}

/// What a run of TCP segments is, for a device: offsets and lengths in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whether its IP is version 6.
    pub v6: bool,
    /// Length of the link-layer header.
    pub l2: usize,
    /// Length of the network header.
    pub l3: usize,
    /// Length of the TCP header.
    pub l4: usize,
    /// Data of each segment but the last.
    pub size: u16,
}

/// A segment that can be of a run.
#[derive(Clone, Copy, Debug)]
struct Segment {
    layout: Layout,
    /// Where the data begins.
    data: usize,
    /// Octets of data.
    len: usize,
    sequence: u32,
    flags: u8,
}

impl Segment {
    /// In a frame without tag, options of IPv4 or extension headers of IPv6, padding, or anything of TCP that must be seen by
    /// itself.
    fn of<B: Buffer>(buffer: &B, takes: Takes) -> Option<Self> {
        let frame = buffer.data();
        let layout = Layout::of(frame).filter(|layout| layout.protocol == protocol::TCP)?;
        let (fixed, taken) = match layout.network {
            Network::Ipv6 => (40, takes.v6),
            _ => (20, takes.v4),
        };
        let plain =
            layout.l3 == ETHERNET && layout.l4 == ETHERNET + fixed && layout.end(frame) == Some(frame.len());
        if !taken || !plain || !buffer.is_contiguous() || buffer.is_shared() {
            return None;
        }
        let [offset, flags] = get(frame, layout.l4 + DATA_OFFSET)?;
        let header = usize::from(offset >> 4) * 4;
        let data = layout.l4 + header;
        let len = frame.len().checked_sub(data).filter(|&len| len > 0 && header >= 20)?;
        let sequence = u32::from_be_bytes(get(frame, layout.l4 + SEQUENCE)?);
        let usual = flags & (SYN | RST | URG | ACK) == ACK;
        usual.then_some(Self { layout, data, len, sequence, flags })
    }

    /// Whether the frame's checksums are right, which those of a run would hide.
    fn is_right(&self, frame: &[u8]) -> bool {
        let layout = self.layout;
        let transport = frame.get(layout.l4..).unwrap_or_default();
        let sum = Sum::of(transport).plus(layout.pseudo(frame, transport.len()));
        let header = frame.get(layout.l3..layout.l4).unwrap_or_default();
        sum.fold() == LONGEST as u16
            && (layout.network == Network::Ipv6 || Sum::of(header).fold() == LONGEST as u16)
    }
}

/// A run that grows: what its next segment has to be.
struct Growing {
    first: Segment,
    /// Octets of data, and segments.
    len: usize,
    count: u16,
    /// Flags of the last one.
    last: u8,
    /// Whether the last one has less data than the first.
    short: bool,
}

impl Growing {
    fn continues(&self, head: &[u8], next: &Segment, frame: &[u8]) -> bool {
        let (first, layout) = (&self.first, self.first.layout);
        let same = |from: usize, to: usize| head.get(from..to) == frame.get(from..to);
        let transport = |from: usize, to: usize| same(layout.l4 + from, layout.l4 + to);
        let network = match layout.network {
            // Up to the flow label; next header, hop limit, addresses.
            Network::Ipv6 => same(0, layout.l3 + 4) && same(layout.l3 + 6, layout.l4),
            // Up to DSCP and ECN; flags, time to live, protocol; addresses.
            _ => {
                same(0, layout.l3 + 2)
                    && same(layout.l3 + 6, layout.l3 + 10)
                    && same(layout.l3 + 12, layout.l4)
                    && self.identified(head, frame)
            }
        };
        !self.short
            && self.last & FIN_PSH == 0
            && next.data == first.data
            && next.len <= first.len
            && next.sequence == first.sequence.wrapping_add(self.len as u32)
            && next.flags & !FIN_PSH == first.flags & !(FIN_PSH | CWR)
            && first.data + self.len + next.len - layout.l3 <= LONGEST
            && network
            && transport(0, SEQUENCE)
            && transport(8, FLAGS)
            && transport(14, CHECKSUM)
            && same(layout.l4 + 18, first.data)
    }

    /// Whether IPv4's identification counts on, or means nothing (RFC 6864 §4.1: with DF).
    fn identified(&self, head: &[u8], frame: &[u8]) -> bool {
        let word = |frame: &[u8], at| {
            get(frame, self.first.layout.l3 + at).map(u16::from_be_bytes).unwrap_or_default()
        };
        word(head, 6) & 0x4000 != 0 || word(frame, 4) == word(head, 4).wrapping_add(self.count)
    }
}

/// Joins what comes together in a burst, in its order, into runs that their receiver takes. A run's TCP checksum is left to
/// the receiver: the sum of its pseudo-header stands there, with its length.
pub fn join<B: Buffer, const N: usize>(burst: &mut ArrayVec<B, N>, takes: Takes) {
    if burst.len() < 2 || !takes.any() {
        return;
    }
    let mut frames = std::mem::take(burst).into_iter().peekable();
    while let Some(mut head) = frames.next() {
        let Some(first) = Segment::of(&head, takes).filter(|_| frames.peek().is_some()) else {
            burst.push(head);
            continue;
        };
        let mut run = Growing { first, len: first.len, count: 1, last: first.flags, short: false };
        let mut rest = ArrayVec::<B, N>::new();
        while let Some(next) = frames.peek() {
            let Some(segment) = Segment::of(next, takes) else { break };
            let fits = run.continues(head.data(), &segment, next.data())
                && segment.is_right(next.data())
                && (run.count > 1 || first.is_right(head.data()));
            let Some(next) = frames.next_if(|_| fits) else { break };
            run = Growing {
                len: run.len + segment.len,
                count: run.count + 1,
                last: segment.flags,
                short: segment.len < first.len,
                first,
            };
            rest.push(next);
        }
        if !rest.is_empty() {
            head = chain(head, rest, &run);
        }
        burst.push(head);
    }
}

/// Makes one frame of a run's segments.
fn chain<B: Buffer, const N: usize>(mut head: B, mut rest: ArrayVec<B, N>, run: &Growing) -> B {
    let Growing { first: Segment { layout, data, len: size, flags, .. }, len, last, .. } = *run;
    let end = data + len;
    let frame = head.data_mut();
    layout.set_end(frame, end);
    put(frame, layout.l4 + FLAGS, [flags | last & (FIN_PSH | FIN)]);
    let pseudo = layout.pseudo(frame, end - layout.l4).fold();
    put(frame, layout.l4 + CHECKSUM, pseudo.to_be_bytes());
    // From the last to the first: a chain belongs to its head.
    let mut tail: Option<B> = None;
    while let Some(mut piece) = rest.pop() {
        piece.trim_front(data);
        if let Some(tail) = tail {
            piece.append(tail);
        }
        tail = Some(piece);
    }
    if let Some(tail) = tail {
        head.append(tail);
    }
    head.set_run(Run {
        v6: layout.network == Network::Ipv6,
        l2: layout.l3,
        l3: layout.l4 - layout.l3,
        l4: data - layout.l4,
        size: size as u16,
    });
    head
}

#[cfg(test)]
mod tests;
