//! Whether a TCP segment is one that its receiver may expect, told by what both ends have sent: what a third party who guesses
//! sends is not (RFC 5961 §1.2). After G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2001).

use super::{Side, Tcp};
use crate::packet::tcp::{ACK, SYN, Segment};

/// What is known of the sequence numbers of a connection's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// By side: the number behind the last that it has sent.
    next: [u32; 2],
    /// By side: the number behind the last that the other side has room for.
    limit: [u32; 2],
    /// By side: the largest window that it has offered, unscaled.
    largest: [u16; 2],
    /// By side: by how much its windows are shifted.
    shift: [u8; 2],
    /// Whether the responder has sent anything: nothing else of it is known before.
    answered: bool,
}

// A connection has no room for more.
const _: () = assert!(size_of::<Option<Windows>>() <= 24);

/// The most that windows are shifted (RFC 7323 §2.3), taken where the SYNs were not seen.
const MOST: u8 = 14;

/// How far an acknowledgment may lie behind, at least, as a window without scaling.
const BEHIND: u32 = 1 << 16;

/// What a side is known by.
struct End {
    next: u32,
    limit: u32,
    largest: u16,
    shift: u8,
}

impl End {
    /// The largest window.
    fn reach(&self) -> u32 {
        u32::from(self.largest.max(1)) << self.shift.min(MOST)
    }
}

/// Whether a sequence number is not behind another.
fn reaches(number: u32, limit: u32) -> bool {
    number.wrapping_sub(limit) as i32 <= 0
}

fn later(a: u32, b: u32) -> u32 {
    if reaches(a, b) { b } else { a }
}

impl Windows {
    /// Of the initiator's first segment that is seen.
    pub fn of(segment: &Segment) -> Self {
        let end = segment.end();
        if Tcp::opens(segment.flags) {
            let shift = [segment.shift.unwrap_or(0).min(MOST), 0];
            let largest = [segment.window, 0];
            return Self { next: [end, 0], limit: [end, 0], largest, shift, answered: false };
        }
        Self::between(Side::Initiator, segment)
    }

    /// Of a side's segment in the middle of a connection, whose scale is not known.
    pub fn between(side: Side, segment: &Segment) -> Self {
        let end = segment.end();
        let window = u32::from(segment.window) << MOST;
        let ahead = u32::from(u16::MAX) << MOST;
        let (own, other) = (end, segment.acknowledgment);
        let (mut next, mut limit) = ([own, other], [own.wrapping_add(ahead), other.wrapping_add(window)]);
        if side == Side::Responder {
            next.reverse();
            limit.reverse();
        }
        Self { next, limit, largest: [u16::MAX; 2], shift: [MOST; 2], answered: true }
    }

    /// Whether a side's segment is expected, which then is taken into account.
    #[must_use]
    pub fn expects(&mut self, side: Side, segment: &Segment) -> bool {
        let (Some(own), Some(other)) = (self.end(side), self.end(side.opposite())) else { return false };
        match (self.answered, side) {
            (true, _) => {}
            (false, Side::Responder) => return self.answer(&other, segment),
            (false, Side::Initiator) => {
                // A SYN again, or one that begins anew.
                let again = Tcp::opens(segment.flags);
                if again {
                    *self = Self::of(segment);
                }
                return again || within(segment.end(), &own, BEHIND);
            }
        }
        let acknowledges = segment.flags & ACK == 0
            || reaches(segment.acknowledgment, other.next)
                && reaches(other.next.wrapping_sub(own.reach().max(BEHIND)), segment.acknowledgment);
        let expected = acknowledges
            && reaches(segment.sequence, own.limit)
            && reaches(own.next.wrapping_sub(other.reach()), segment.end());
        if expected && !Tcp::resets(segment.flags) {
            self.note(side, segment);
        }
        expected
    }

    /// The first segment of the responder: it has to acknowledge the SYN, or be one itself (RFC 9293 §3.10.7.3).
    fn answer(&mut self, asked: &End, segment: &Segment) -> bool {
        let is_syn = segment.flags & SYN != 0;
        let expected = if segment.flags & ACK != 0 {
            reaches(segment.acknowledgment, asked.next)
                && reaches(asked.next.wrapping_sub(BEHIND), segment.acknowledgment)
        } else {
            is_syn
        };
        if !expected || Tcp::resets(segment.flags) {
            return expected;
        }
        self.answered = true;
        let (of, at) = (Side::Initiator as usize, Side::Responder as usize);
        let shift = if is_syn { segment.shift.unwrap_or(0).min(MOST) } else { MOST };
        set(&mut self.shift, at, shift);
        if is_syn && segment.shift.is_none() {
            // RFC 7323 §2.2: both or none.
            set(&mut self.shift, of, 0);
        }
        set(&mut self.next, at, segment.end());
        // RFC 7323 §2.2: a SYN's window is not scaled.
        set(&mut self.limit, at, segment.end().wrapping_add(asked.largest.max(1).into()));
        set(&mut self.limit, of, asked.next);
        self.note(Side::Responder, segment);
        true
    }

    /// Takes a segment into account.
    fn note(&mut self, side: Side, segment: &Segment) {
        let (Some(own), Some(other)) = (self.end(side), self.end(side.opposite())) else { return };
        set(&mut self.next, side as usize, later(own.next, segment.end()));
        set(&mut self.largest, side as usize, own.largest.max(segment.window));
        // A window of nothing has room for a probe (RFC 9293 §3.8.6.1).
        let window = (u32::from(segment.window) << own.shift.min(MOST)).max(1);
        if segment.flags & ACK != 0 {
            let limit = segment.acknowledgment.wrapping_add(window);
            set(&mut self.limit, side.opposite() as usize, later(other.limit, limit));
        }
    }

    fn end(&self, side: Side) -> Option<End> {
        let at = side as usize;
        Some(End {
            next: *self.next.get(at)?,
            limit: *self.limit.get(at)?,
            largest: *self.largest.get(at)?,
            shift: *self.shift.get(at)?,
        })
    }
}

/// Whether a segment's end is near what its side has sent.
fn within(end: u32, own: &End, distance: u32) -> bool {
    end.wrapping_sub(own.next).wrapping_add(distance) <= 2 * distance
}

fn set<T>(pair: &mut [T; 2], at: usize, value: T) {
    if let Some(slot) = pair.get_mut(at) {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    use crate::packet::tcp::RST;
    use Side::{Initiator as I, Responder as R};

    fn segment(flags: u8, sequence: u32, acknowledgment: u32, len: u32) -> Segment {
        Segment { flags, sequence, acknowledgment, len, window: 1000, shift: None }
    }

    /// After the handshake: the sides' numbers are 101 and 901, windows 1000 octets.
    fn open() -> Windows {
        let mut windows = Windows::of(&segment(SYN, 100, 0, 1));
        assert!(windows.expects(R, &segment(SYN | ACK, 900, 101, 1)));
        assert!(windows.expects(I, &segment(ACK, 101, 901, 0)));
        windows
    }

    #[test]
    fn a_blind_reset_is_not_expected() {
        let mut windows = open();
        for sequence in [1 << 20, 1 << 31, 101 + 1001, 101u32.wrapping_sub(1001)] {
            assert!(!windows.expects(I, &segment(RST, sequence, 0, 0)), "{sequence}");
        }
        assert!(
            !windows.expects(R, &segment(RST | ACK, 901, 102 + 70_000, 0)),
            "acknowledges what was never sent"
        );
        assert!(windows.expects(I, &segment(RST, 101, 0, 0)));
        assert!(windows.expects(R, &segment(RST | ACK, 901, 101, 0)));
    }

    #[test]
    fn a_syn_is_answered_by_who_has_seen_it() {
        let asked = Windows::of(&segment(SYN, 100, 0, 1));
        let answers =
            |flags, acknowledgment| asked.clone().expects(R, &segment(flags, 900, acknowledgment, 0));
        assert!(answers(SYN | ACK, 101) && answers(RST | ACK, 101) && answers(SYN, 0));
        assert!(!answers(SYN | ACK, 102) && !answers(RST, 0) && !answers(RST | ACK, 1 << 30));
    }

    #[test]
    fn windows_are_scaled_where_both_say_so() {
        let scaled = |shift, flags, sequence, acknowledgment| Segment {
            shift,
            ..segment(flags, sequence, acknowledgment, 1)
        };
        for (shift, reach) in [(Some(4), 16_000), (None, 1000)] {
            let mut windows = Windows::of(&scaled(Some(4), SYN, 100, 0));
            assert!(windows.expects(R, &scaled(shift, SYN | ACK, 900, 101)));
            assert!(windows.expects(I, &segment(ACK, 101, 901, 0)));
            assert!(windows.clone().expects(R, &segment(ACK, 901 + reach, 101, 0)));
            assert!(!windows.expects(R, &segment(ACK, 901 + reach + 1, 101, 0)));
        }
    }

    #[test]
    fn a_connection_seen_from_its_middle_on_is_judged_mildly() {
        let mut windows = Windows::of(&segment(ACK, 5000, 9000, 100));
        assert!(windows.expects(R, &segment(ACK, 9000, 5100, 1_000_000)));
        assert!(windows.expects(I, &segment(ACK, 5100, 1_009_000, 100)));
        assert!(!windows.expects(R, &segment(RST, 9000 + (1 << 31), 0, 0)));
    }

    proptest! {
        /// Two ends that send as far as the other's window goes, and segments that get lost, late or repeated on the way.
        #[test]
        fn what_ends_that_keep_the_rules_send_is_expected(
            start in any::<[u32; 2]>(),
            shifts in any::<[bool; 2]>(),
            steps in vec((0usize..2, 0u32..3000, any::<bool>(), any::<bool>()), 0..200),
        ) {
            const WINDOW: u16 = 2000;
            let shift = |side: usize| shifts[side].then_some(3u8);
            let scale = if shifts == [true, true] { 3 } else { 0 };
            let make = |side: usize, flags, sequence, acknowledgment, len| Segment {
                flags, sequence, acknowledgment, len, window: WINDOW, shift: shift(side),
            };
            let mut windows = Windows::of(&make(0, SYN, start[0], 0, 1));
            let mut sent = start.map(|number| number.wrapping_add(1));
            prop_assert!(windows.expects(R, &make(1, SYN | ACK, start[1], sent[0], 1)));
            // The first windows that are scaled.
            prop_assert!(windows.expects(I, &make(0, ACK, sent[0], sent[1], 0)));
            prop_assert!(windows.expects(R, &make(1, ACK, sent[1], sent[0], 0)));
            // What each side has got of the other's.
            let mut got = [sent[1], sent[0]];
            for (side, len, lost, repeated) in steps {
                let (from, other) = ([I, R][side], 1 - side);
                // The other's window, from what this side knows that it has got.
                let known = got[other];
                let room = known.wrapping_add(u32::from(WINDOW) << scale).wrapping_sub(sent[side]);
                let len = len.min(room);
                let segment = make(side, ACK, sent[side], got[side], len);
                sent[side] = segment.end();
                prop_assert!(windows.expects(from, &segment));
                if !lost {
                    got[other] = sent[side];
                    // The acknowledgment comes through.
                    prop_assert!(windows.expects([I, R][other], &make(other, ACK, sent[other], got[other], 0)));
                }
                if repeated {
                    prop_assert!(windows.expects(from, &segment));
                }
            }
        }
    }
}
