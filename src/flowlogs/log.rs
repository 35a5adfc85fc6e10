//! A flow log, as the writer takes it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{Action, Format, Interface};
use crate::model::LogTraffic;

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
    pub traffic: LogTraffic,
    /// The aggregation interval: how long a flow is counted before a line tells of it.
    pub interval: Duration,
    /// The lines.
    pub format: Format,
}

impl Log {
    /// Whether it is of an ENI: it names the ENI, its subnet or its VPC.
    pub fn covers(&self, interface: &Interface) -> bool {
        [&interface.id, &interface.subnet, &interface.vpc].contains(&&self.resource)
    }

    /// Whether flows of which that was decided are logged.
    pub fn takes(&self, action: Action) -> bool {
        match self.traffic {
            LogTraffic::All => true,
            LogTraffic::Accept => action == Action::Accept,
            LogTraffic::Reject => action == Action::Reject,
        }
    }
}
