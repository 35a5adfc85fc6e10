//! Which of the routes that a gateway knows for one prefix are in use.
//!
//! FRR has chosen already among what it learned by BGP: local preference (Direct Connect's communities 7224:7100 to
//! 7224:7300 are mapped to it), AS_PATH, MED (BGP-2, BGP-3). What is left is the kind of attachment a route came over:
//! static routes are none of FRR's, and a gateway with several kinds ranks them whatever the peers announce. Between
//! prefixes of different length the longer wins always (RT-16); that is the table's lookup.

use smallvec::SmallVec;

/// Where a gateway has a route from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A static route of a transit gateway's route table, also one to a VPN attachment.
    Static,
    /// A prefix-list reference of a transit gateway's route table.
    PrefixList,
    /// Propagated by a VPC attachment.
    Vpc,
    /// By BGP over a Direct Connect virtual interface.
    DirectConnect,
    /// By BGP over a Connect attachment (GRE).
    Connect,
    /// A static route of a VPN connection of a virtual private gateway.
    VpnStatic,
    /// By BGP over a VPN connection with private addresses, itself over Direct Connect.
    PrivateVpn,
    /// By BGP over a VPN connection.
    Vpn,
    /// Over a peering with another transit gateway.
    Peering,
}

/// The kind of gateway, which has an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// A virtual private gateway.
    VirtualPrivate,
    /// A transit gateway, with its option `VpnEcmpSupport`.
    Transit {
        /// Whether equal routes over VPN and Connect attachments share the traffic.
        vpn_ecmp: bool,
    },
}

impl Gateway {
    /// The rank of a source, the best being the least; `None` if the gateway does not have routes of it.
    ///
    /// BGP-2: Direct Connect, static VPN, VPN by BGP. PT-12: static, prefix list, VPC, Direct Connect, Connect, private
    /// VPN, VPN, peering.
    pub fn rank(self, source: Source) -> Option<u8> {
        let order: &[Source] = match self {
            Self::VirtualPrivate => &[Source::DirectConnect, Source::VpnStatic, Source::Vpn],
            Self::Transit { .. } => &[
                Source::Static,
                Source::PrefixList,
                Source::Vpc,
                Source::DirectConnect,
                Source::Connect,
                Source::PrivateVpn,
                Source::Vpn,
                Source::Peering,
            ],
        };
        order.iter().position(|other| *other == source).map(|rank| rank as u8)
    }

    /// Whether several routes from a source, which FRR found equal, share the traffic: over virtual interfaces always
    /// (BGP-3), over VPN and Connect attachments of a transit gateway if it is told to (PT-15), else not (RT-20).
    pub fn shares(self, source: Source) -> bool {
        match (self, source) {
            (_, Source::DirectConnect) => true,
            (Self::Transit { vpn_ecmp }, Source::Connect | Source::PrivateVpn | Source::Vpn) => vpn_ecmp,
            _ => false,
        }
    }
}

/// Those of a prefix's candidates that are in use, sorted: all the best if they share, else one of them, always the same
/// whatever their order. Empty if there is no candidate of a source that the gateway has.
pub fn best<T: Copy + Ord>(
    gateway: Gateway,
    candidates: impl IntoIterator<Item = (Source, T)>,
) -> SmallVec<[T; 4]> {
    let mut best = SmallVec::new();
    let mut best_source = None;
    for (source, target) in candidates {
        let Some(rank) = gateway.rank(source) else { continue };
        match best_source.and_then(|best| gateway.rank(best)) {
            Some(best) if best < rank => continue,
            Some(best) if best == rank => {}
            _ => {
                best.clear();
                best_source = Some(source);
            }
        }
        best.push(target);
    }
    best.sort_unstable();
    best.dedup();
    if !best_source.is_some_and(|source| gateway.shares(source)) {
        best.truncate(1);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{Source::*, *};

    const VGW: Gateway = Gateway::VirtualPrivate;
    const TGW: Gateway = Gateway::Transit { vpn_ecmp: true };
    const NO_ECMP: Gateway = Gateway::Transit { vpn_ecmp: false };

    #[track_caller]
    fn check(gateway: Gateway, candidates: &[(Source, u32)], expected: &[u32]) {
        assert_eq!(best(gateway, candidates.iter().copied()).as_slice(), expected);
        assert_eq!(
            best(gateway, candidates.iter().rev().copied()).as_slice(),
            expected,
            "in the other order"
        );
    }

    #[test]
    fn bgp_2_direct_connect_then_static_vpn_then_vpn_by_bgp() {
        let all = [(Vpn, 3), (DirectConnect, 1), (VpnStatic, 2)];
        check(VGW, &all, &[1]);
        check(VGW, &[all[0], all[2]], &[2]);
        check(VGW, &[all[0]], &[3]);
        check(VGW, &[], &[]);
    }

    #[test]
    fn rt_20_a_virtual_private_gateway_uses_one_of_equal_vpn_routes() {
        check(VGW, &[(Vpn, 8), (Vpn, 7)], &[7]);
        check(VGW, &[(VpnStatic, 8), (VpnStatic, 7), (Vpn, 1)], &[7]);
    }

    #[test]
    fn bgp_3_equal_virtual_interfaces_share() {
        check(VGW, &[(DirectConnect, 2), (DirectConnect, 1), (Vpn, 0)], &[1, 2]);
        check(NO_ECMP, &[(DirectConnect, 2), (DirectConnect, 1)], &[1, 2]);
    }

    #[test]
    fn pt_12_the_order_of_a_transit_gateway() {
        let order = [Static, PrefixList, Vpc, DirectConnect, Connect, PrivateVpn, Vpn, Peering];
        let all: Vec<_> = order.into_iter().zip(0..).collect();
        for first in 0..all.len() {
            check(TGW, &all[first..], &[first as u32]);
        }
    }

    #[test]
    fn pt_15_equal_vpn_and_connect_routes_share_if_the_gateway_is_told_to() {
        for source in [Connect, PrivateVpn, Vpn] {
            check(TGW, &[(source, 5), (source, 4), (source, 5)], &[4, 5]);
            check(NO_ECMP, &[(source, 5), (source, 4)], &[4]);
        }
        for source in [Static, PrefixList, Vpc, Peering] {
            check(TGW, &[(source, 5), (source, 4)], &[4]);
        }
    }

    #[test]
    fn a_source_that_a_gateway_does_not_have_is_no_candidate() {
        check(VGW, &[(Peering, 1), (Vpc, 2)], &[]);
        check(TGW, &[(VpnStatic, 1), (Vpn, 2)], &[2]);
    }
}
