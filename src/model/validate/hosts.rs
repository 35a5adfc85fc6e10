//! Hosts, and which of their ports ENIs are plugged into.

use std::{net::IpAddr, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{Source, Validation, each, value};
use crate::model::{Attachment, Host};

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

pub(super) fn attachments(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut names: HashSet<Arc<str>> = HashSet::new();
    let mut plugged: HashMap<(&str, &str), &str> = HashMap::new();
    for (item, raw) in each(sources, "Warren.Attachments", |raw| &raw.warren.attachments, |raw| &raw.eni) {
        let host = item.reference(&raw.host, "HostId", "host-a", "Warren.Hosts", &model.hosts, errors);
        let port = item.required(&raw.port, "Port", "vm0", value::id, errors);
        let hop_limit = item.optional(
            &raw.metadata.hop_limit,
            "MetadataOptions.HttpPutResponseHopLimit",
            |text| value::number(text, 1..=64, "a hop limit"),
            errors,
        );
        let enis = &mut model.enis;
        let eni = item.required(
            &raw.eni,
            "NetworkInterfaceId",
            "eni-a1",
            move |id| enis.get_mut(id).ok_or_else(|| value::unresolved(id, "NetworkInterfaces")),
            errors,
        );
        if let (Some((host, _)), Some(port)) = (host, port)
            && let Some(other) = plugged.insert((host, port), item.id)
            && other != item.id
        {
            let problem = format!("{other} is plugged into {host}/{port} already");
            item.wrong("Port", problem, "a port holds one ENI", errors);
        }
        let Some(eni) = eni else { continue };
        if let Some(Attachment { host, port, .. }) = &eni.attachment {
            let problem = format!("{} is plugged into {host}/{port} already", eni.id);
            item.wrong("NetworkInterfaceId", problem, "plug an ENI into one port", errors);
        } else if let (Some((host, _)), Some(port)) = (host, port) {
            let port = match names.get(port) {
                Some(port) => port.clone(),
                None => {
                    let port = Arc::<str>::from(port);
                    names.insert(port.clone());
                    port
                }
            };
            let metadata_hop_limit = hop_limit.unwrap_or(Attachment::METADATA_HOP_LIMIT);
            eni.attachment = Some(Attachment { host: host.clone(), port, metadata_hop_limit });
        }
    }
}
