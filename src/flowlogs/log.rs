//! A flow log, as the state has it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{Action, Format, Interface};

/// A flow log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `FlowLogId`.
    pub id: Arc<str>,
    /// `ResourceId`: the VPC, subnet or ENI.
    pub resource: Arc<str>,
    /// Where its files are, in the folder of all: relative, without `..`. Several logs may share one.
    pub folder: PathBuf,
    /// The account that owns it, if the state says which.
    pub account: Option<Arc<str>>,
    /// Its region.
    pub region: Option<Arc<str>>,
    /// Which flows are logged.
    pub traffic: Traffic,
    /// The aggregation interval: how long a flow is counted before a line tells of it.
    pub interval: Duration,
    /// The lines.
    pub format: Format,
}

/// `TrafficType`: which flows are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// Accepted and rejected ones.
    #[default]
    All,
    /// Accepted ones.
    Accept,
    /// Rejected ones.
    Reject,
}

impl Traffic {
    /// As the state has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
        }
    }

    /// Whether flows of which that was decided are logged.
    pub fn takes(self, action: Action) -> bool {
        match self {
            Self::All => true,
            Self::Accept => action == Action::Accept,
            Self::Reject => action == Action::Reject,
        }
    }
}

impl Log {
    /// Whether it is of an ENI: it names the ENI, its subnet or its VPC.
    pub fn covers(&self, interface: &Interface) -> bool {
        [&interface.id, &interface.subnet, &interface.vpc].contains(&&self.resource)
    }
}
