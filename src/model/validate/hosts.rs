//! Hosts.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::{Source, Validation, each, value};
use crate::model::Host;

pub(super) fn hosts(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut owners: HashMap<IpAddr, &str> = HashMap::new();
    for (item, raw) in each(sources, "Warren.Hosts", |raw| &raw.warren.hosts, |host| &host.id) {
        let underlay = item.required(&raw.underlay, "UnderlayAddress", "192.0.2.1", value::underlay, errors);
        let id = item.new_id(&raw.id, "HostId", "host-a", &model.hosts, errors);
        if let Some(underlay) = underlay
            && let Some(other) = owners.insert(underlay, item.id)
            && other != item.id
        {
            let problem = format!("{other} has the address {underlay} too");
            item.wrong("UnderlayAddress", problem, "give each host its own", errors);
        }
        if let Some(id) = id {
            // A host with a wrong address is known all the same.
            let underlay = underlay.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
            model.hosts.insert(id.clone(), Host { id, underlay });
        }
    }
}
