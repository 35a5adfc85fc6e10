//! A binding: what a flow is inside and what it is outside.

use super::{
    super::{Endpoint, Flow, Phase, Protocol, Side, Tcp},
    IDLE, TRANSITORY,
};

/// One binding, in one cache line. The flow is the one from inside, before ([`Binding::inside`]) and after
/// ([`Binding::outside`]) the translation of its source.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Binding {
    source: u128,
    nat: u128,
    remote: u128,
    gateway: u32,
    /// When the idle time began: in milliseconds, without the bits that 24 days do not need.
    seen: u32,
    source_port: u16,
    nat_port: u16,
    remote_port: u16,
    protocol: Protocol,
    tcp: Tcp,
}

const _: () = assert!(size_of::<Binding>() == 64);

impl Binding {
    /// What entries hold that are free.
    pub(super) const FREE: Self = Self {
        source: 0,
        nat: 0,
        remote: 0,
        gateway: 0,
        seen: 0,
        source_port: 0,
        nat_port: 0,
        remote_port: 0,
        protocol: Protocol::Tcp,
        tcp: Tcp::OPENED,
    };

    /// The binding of a flow, whose first packet passes at `now`.
    pub(super) fn new(inside: &Flow, nat: Endpoint, now: u64, tcp_flags: u8) -> Self {
        Self {
            source: inside.source.address,
            nat: nat.address,
            remote: inside.destination.address,
            gateway: inside.gateway,
            seen: now as u32,
            source_port: inside.source.port,
            nat_port: nat.port,
            remote_port: inside.destination.port,
            protocol: inside.protocol,
            tcp: if Tcp::opens(tcp_flags) {
                Tcp::OPENED
            } else {
                Tcp::PICKED_UP.after(Side::Initiator, tcp_flags)
            },
        }
    }

    #[inline]
    pub(super) fn source(&self) -> Endpoint {
        Endpoint { address: self.source, port: self.source_port }
    }

    /// What the source is outside.
    #[inline]
    pub(super) fn nat(&self) -> Endpoint {
        Endpoint { address: self.nat, port: self.nat_port }
    }

    #[inline]
    pub(super) fn inside(&self) -> Flow {
        self.flow(self.source())
    }

    #[inline]
    pub(super) fn outside(&self) -> Flow {
        self.flow(self.nat())
    }

    #[inline]
    fn flow(&self, source: Endpoint) -> Flow {
        let destination = Endpoint { address: self.remote, port: self.remote_port };
        Flow { gateway: self.gateway, protocol: self.protocol, source, destination }
    }

    /// Whether it is what the gateway may still use: an address that was taken from it may be another's by now.
    #[inline]
    pub(super) fn suits(&self, addresses: Option<&[u128]>) -> bool {
        match addresses {
            Some(addresses) => addresses.contains(&self.nat),
            None => !self.is_translated(),
        }
    }

    /// Whether the source outside is another than inside: of NAT gateways.
    #[inline]
    pub(super) fn is_translated(&self) -> bool {
        self.nat() != self.source()
    }

    /// How long it may be idle, in milliseconds.
    #[inline]
    pub(super) fn timeout(&self) -> u32 {
        let time = match (self.protocol, self.tcp.phase()) {
            (Protocol::Tcp, Phase::HalfOpen | Phase::Closed) => TRANSITORY,
            (Protocol::Tcp, Phase::Established) | (Protocol::Udp | Protocol::Icmp | Protocol::Other, _) => {
                IDLE
            }
        };
        time.as_millis() as u32
    }

    /// What is left of that at `now`.
    #[inline]
    pub(super) fn remaining(&self, now: u64) -> u32 {
        let idle = (now as u32).wrapping_sub(self.seen) as i32;
        self.timeout().saturating_sub(idle.max(0) as u32)
    }

    /// Whether it has not been idle for too long.
    #[inline]
    pub(super) fn is_live(&self, now: u64) -> bool {
        self.remaining(now) > 0
    }

    /// Notes a packet. `true` if that made the time that it may be idle shorter.
    #[inline]
    pub(super) fn pass(&mut self, now: u64, side: Side, tcp_flags: u8) -> bool {
        let mut closing = false;
        if self.protocol == Protocol::Tcp {
            let before = self.tcp.phase();
            self.tcp = self.tcp.after(side, tcp_flags);
            let after = self.tcp.phase();
            // What follows the end does not put it off.
            if (before, after) == (Phase::Closed, Phase::Closed) {
                return false;
            }
            closing = before == Phase::Established && after != before;
        }
        self.seen = now as u32;
        closing
    }
}
