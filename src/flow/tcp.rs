//! How far a TCP connection is, told by the flags of the packets that pass (RFC 6146 §3.5.2, RFC 7857 §2).

use crate::packet::tcp::{ACK, FIN, RST, SYN};

/// Who sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who sent the first SYN.
    Initiator,
    /// The other.
    Responder,
}

impl Side {
    /// The other side.
    #[inline]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// What a connection's idle time goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The responder has sent no SYN yet; where that was not seen, nothing.
    HalfOpen,
    /// Both have sent their SYN, and at the most one its FIN.
    Established,
    /// Both have sent their FIN, or the last packet was a reset.
    Closed,
}

/// The state of a connection, in an octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp(u8);

impl Tcp {
    /// After the SYN that opens it.
    pub const OPENED: Self = Self(0);

    /// In its middle, as somebody else has seen it open.
    pub const PICKED_UP: Self = Self(Self::ANSWERED);

    /// After a packet with these flags, the first that is seen of it. Without a SYN, it is half open until the other side says
    /// anything: anybody can send the middle of a connection that there is not.
    #[inline]
    pub const fn picked_up(flags: u8) -> Self {
        if Self::opens(flags) { Self::OPENED } else { Self(Self::MIDDLE).after(Side::Initiator, flags) }
    }

    /// As an octet.
    #[inline]
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// The state that [`Tcp::bits`] gave.
    #[inline]
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    const ANSWERED: u8 = 1;
    const FIN_OF_INITIATOR: u8 = 2;
    const FIN_OF_RESPONDER: u8 = 4;
    const RESET: u8 = 8;
    /// Its SYN was not seen, so that whatever the responder says answers.
    const MIDDLE: u8 = 16;

    /// Whether a packet with these flags opens a connection: SYN alone of those that tell.
    #[inline]
    pub const fn opens(flags: u8) -> bool {
        flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// Whether a packet with these flags is a reset, which nobody may answer with another (RFC 9293 §3.5.2).
    #[inline]
    pub const fn resets(flags: u8) -> bool {
        flags & RST != 0
    }

    /// The state after a packet with these flags.
    ///
    /// A reset that a packet follows was none: it was forged, or came too late (RFC 6146 §3.5.2.2, state TRANS). The
    /// initiator's SYN after the end opens a new connection between the same ports (RFC 9293 §3.6.1).
    #[inline]
    #[must_use]
    pub const fn after(self, side: Side, flags: u8) -> Self {
        if Self::resets(flags) {
            return Self(self.0 | Self::RESET);
        }
        let (answered, fin) = match side {
            Side::Initiator if Self::opens(flags) && matches!(self.phase(), Phase::Closed) => {
                return Self::OPENED;
            }
            Side::Initiator => (0, Self::FIN_OF_INITIATOR),
            Side::Responder => {
                let answers = flags & SYN != 0 || self.0 & Self::MIDDLE != 0;
                (if answers { Self::ANSWERED } else { 0 }, Self::FIN_OF_RESPONDER)
            }
        };
        Self(self.0 & !Self::RESET | answered | if flags & FIN != 0 { fin } else { 0 })
    }

    /// What the idle time goes by.
    #[inline]
    pub const fn phase(self) -> Phase {
        const FINS: u8 = Tcp::FIN_OF_INITIATOR | Tcp::FIN_OF_RESPONDER;
        if self.0 & Self::RESET != 0 || self.0 & FINS == FINS {
            Phase::Closed
        } else if self.0 & Self::ANSWERED != 0 {
            Phase::Established
        } else {
            Phase::HalfOpen
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase::*, Side::*, *};

    /// The phases that a connection goes through.
    fn phases(packets: &[(Side, u8)]) -> Vec<Phase> {
        let mut tcp = Tcp::OPENED;
        packets
            .iter()
            .map(|&(side, flags)| {
                tcp = tcp.after(side, flags);
                tcp.phase()
            })
            .collect()
    }

    #[test]
    fn a_connection_opens_and_closes() {
        let open = [(Initiator, SYN), (Initiator, SYN), (Responder, SYN | ACK), (Initiator, ACK)];
        assert_eq!(phases(&open), [HalfOpen, HalfOpen, Established, Established]);
        let close = [(Responder, FIN | ACK), (Initiator, ACK), (Initiator, FIN | ACK), (Responder, ACK)];
        let all = phases(&[&open[..], &close].concat());
        assert_eq!(all[4..], [Established, Established, Closed, Closed]);
        let again = [(Responder, SYN), (Initiator, SYN | ACK), (Initiator, SYN), (Responder, SYN | ACK)];
        let all = phases(&[&open[..], &close, &again].concat());
        assert_eq!(all[8..], [Closed, Closed, HalfOpen, Established]);
    }

    #[test]
    fn a_reset_closes_unless_packets_follow() {
        let packets = [(Initiator, SYN), (Responder, SYN | ACK), (Responder, RST), (Responder, RST | ACK)];
        assert_eq!(phases(&packets)[2..], [Closed, Closed]);
        for side in [Initiator, Responder] {
            assert_eq!(phases(&[&packets[..], &[(side, ACK)]].concat())[4], Established);
        }
        assert_eq!(phases(&[&packets[..], &[(Initiator, SYN)]].concat())[4], HalfOpen);
        assert_eq!(phases(&[(Initiator, SYN), (Responder, RST), (Initiator, ACK)])[1..], [Closed, HalfOpen]);
    }

    #[test]
    fn both_may_open_it_at_once() {
        // RFC 9293 §3.5, figure 8.
        let packets = [(Initiator, SYN), (Responder, SYN), (Initiator, SYN | ACK), (Responder, SYN | ACK)];
        assert_eq!(phases(&packets), [HalfOpen, Established, Established, Established]);
    }

    #[test]
    fn only_the_responder_establishes() {
        for flags in [ACK, SYN | ACK, FIN | ACK] {
            assert_eq!(phases(&[(Initiator, SYN), (Initiator, flags)])[1], HalfOpen);
        }
        assert_eq!(phases(&[(Responder, ACK), (Responder, FIN | ACK)]), [HalfOpen, HalfOpen]);
    }

    #[test]
    fn sec_7_one_that_is_seen_from_its_middle_on_is_half_open_until_answered() {
        let mut tcp = Tcp::picked_up(ACK);
        assert_eq!(tcp.phase(), HalfOpen);
        tcp = tcp.after(Initiator, ACK);
        assert_eq!(tcp.phase(), HalfOpen);
        assert_eq!(tcp.after(Responder, RST).phase(), Closed);
        assert_eq!(tcp.after(Responder, ACK).phase(), Established);
        let closing = Tcp::picked_up(FIN | ACK);
        assert_eq!((closing.phase(), closing.after(Responder, FIN | ACK).phase()), (HalfOpen, Closed));
    }

    #[test]
    fn only_syn_alone_opens() {
        let opening = (0..=255).filter(|&flags| Tcp::opens(flags));
        // PSH, URG, ECE, CWR and the reserved ones tell nothing (RFC 3168 §6.1.1 sets two of them).
        assert!(opening.clone().all(|flags| flags & 0x17 == SYN));
        assert_eq!(opening.count(), 16);
    }
}
