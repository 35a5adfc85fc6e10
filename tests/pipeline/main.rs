//! The pipeline rule by rule, on frames and tables alone: what leaves, out of which port, byte for byte, or by which
//! name it is dropped. Tests cite the rules of the semantics; [`lab`] has the topology.

mod allowances;
mod edge;
mod egress;
mod egress_only;
mod flow_logs;
mod frames;
mod handover;
mod ingress;
mod lab;
mod mirroring;
mod mtu;
mod nat;
mod nat64;
mod neighbours;
mod origin;
mod properties;
mod remembered;
mod services;
mod tracking;
mod update;
mod workers;
