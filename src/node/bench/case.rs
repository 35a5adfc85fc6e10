//! The cases, and the traffic of each.

use clap::ValueEnum;
use serde::Serialize;

use super::{
    super::{
        fleet::{self, Fleet},
        traffic::{Connections, Stamp},
    },
    Options,
    generator::Traffic,
};
use crate::{
    packet::tcp::{ACK, FIN, SYN},
    tables::PortIndex,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// From an instance across subnets to random ENIs of other hosts: checks, lookup, VXLAN.
    Encap,
    /// From random ENIs of other hosts to an instance: VXLAN off, origin check, delivery.
    Decap,
    /// From an instance to another of this host.
    Local,
    /// As `encap`, of `--flows` established TCP connections, with security groups of `--rules` rules on both ENIs and `--routes` routes.
    Stateful,
    /// The way back: as `decap`.
    #[value(name = "stateful-in")]
    #[serde(rename = "stateful-in")]
    StatefulIn,
    /// As `stateful`, to ENIs of another VPC over a peering.
    Peering,
    /// New connections, with the rules of `stateful`: the first instance opens TCP connections to others of other hosts, which
    /// close them, six packets each. `--flows`: how many come before the first comes again, at least a million.
    Connect,
    /// As `encap`, through the C API.
    #[value(name = "encap-api")]
    #[serde(rename = "encap-api")]
    EncapApi,
    /// As `decap`, through the C API.
    #[value(name = "decap-api")]
    #[serde(rename = "decap-api")]
    DecapApi,
    /// As `stateful`, of packets that arrive in a queue of 1024 at `--load` percent of the most that the worker takes, while ENIs move `--updates`
    /// times a second: how long they are in the node, and how many are lost.
    Paced,
    /// `--workers` workers against one, as `encap`: each on a CPU of its own, with its own queue, in which `--handoff` percent of the packets are
    /// another's, to whom they are handed over.
    Scale,
    /// Moves of an ENI under `encap` traffic: how long until all workers use the new tables, and what was copied.
    Move,
    /// The yardstick: parse, one hash lookup, a ready VXLAN header, and none of Warren's checks.
    Bare,
}

impl Case {
    /// Whether its connections are there before it counts.
    pub(super) fn is_established(self) -> bool {
        matches!(self, Self::Stateful | Self::StatefulIn | Self::Peering | Self::Paced)
    }

    /// Whether its ENIs have rules and connections.
    pub(super) fn is_stateful(self) -> bool {
        self.is_established() || self == Self::Connect
    }

    /// Whether it is measured by itself, rather than in turns with others.
    pub(super) fn is_apart(self) -> bool {
        matches!(self, Self::Move | Self::Paced | Self::Scale)
    }

    /// The traffic, by the port that it comes from.
    pub(super) fn traffic(self, fleet: &Fleet, options: &Options) -> Vec<(PortIndex, Traffic)> {
        let size = options.size;
        let connections = self.connections(options);
        let (port, stamp) = match self {
            Self::Encap | Self::EncapApi | Self::Bare | Self::Move | Self::Scale => {
                (fleet::FIRST, Stamp::encapsulate(fleet, size))
            }
            Self::Local => (fleet::FIRST, Stamp::local(fleet, size)),
            Self::Decap | Self::DecapApi => (fleet::UPLINK, Stamp::decapsulate(fleet, size)),
            Self::Stateful | Self::Peering | Self::Paced => {
                (fleet::FIRST, Stamp::connected(fleet, size, connections))
            }
            Self::StatefulIn => (fleet::UPLINK, Stamp::connected_in(fleet, size, connections)),
            Self::Connect => {
                let client = Stamp::connected(fleet, size, connections);
                let server = Stamp::connected_in(fleet, size, connections);
                return vec![
                    (fleet::FIRST, Traffic::in_rounds(client, &[SYN, ACK, FIN | ACK])),
                    (fleet::UPLINK, Traffic::in_rounds(server, &[SYN | ACK, FIN | ACK, ACK])),
                ];
            }
        };
        vec![(port, Traffic::of(stamp))]
    }

    /// The connections of a case that has some.
    pub(super) fn connections(self, options: &Options) -> Connections {
        let (serves, random) = (self == Self::StatefulIn, self != Self::Connect);
        let count = if random { options.flows } else { options.flows.max(1 << 20) };
        Connections { count, serves, random }
    }
}
