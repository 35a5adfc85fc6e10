//! Which ports ENIs are plugged into, and what holds there.

use std::{ops::RangeInclusive, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{Item, Source, Validation, each, value};
use crate::model::{Allowance, Attachment, AttachmentOptions, Errors, raw};

/// Most workers of one ENI.
const WORKERS: u8 = 64;

/// How many megabits may be said of a bandwidth.
const MEGABITS: RangeInclusive<u64> = 1..=1_000_000;

/// How many packets or connections may be said of a second.
const COUNT: RangeInclusive<u64> = 1..=1_000_000_000;

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
        let options = options(&item, raw, errors);
        // To say what holds anyway changes nothing.
        let options = (options != AttachmentOptions::NOTHING_STATED).then(|| Box::new(options));
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
            eni.attachment = Some(Attachment { host: host.clone(), port, metadata_hop_limit, options });
        }
    }
}

/// What is said of an attachment besides its place.
fn options(item: &Item<'_>, raw: &raw::Attachment<'_>, errors: &mut Errors) -> AttachmentOptions {
    let nothing = AttachmentOptions::NOTHING_STATED;
    let at = |key: &str| format!("ConnectionTrackingOptions.{key}");
    let mut flag = |text: &raw::Text<'_>, key| item.optional(text, at(key), value::boolean, errors);
    let strict_icmp = flag(&raw.tracking.strict_icmp, "StrictIcmp").unwrap_or(nothing.strict_icmp);
    let tcp_window_check =
        flag(&raw.tracking.tcp_window_check, "TcpWindowCheck").unwrap_or(nothing.tcp_window_check);
    let mut count = |text: &raw::Text<'_>, key, least| {
        let number = |text| value::number(text, least..=u32::MAX, "a number of connections");
        item.optional(text, at(key), number, errors)
    };
    let connections_max = count(&raw.tracking.max, "ConnectionsMax", 1);
    let connections_reserved = count(&raw.tracking.reserved, "ConnectionsReserved", 0).unwrap_or(0);
    if let Some(max) = connections_max
        && connections_reserved > max
    {
        let problem = format!("{connections_reserved} is more than ConnectionsMax, {max}");
        item.wrong(at("ConnectionsReserved"), problem, "reserve at most as many as there may be", errors);
    }
    let workers = |text| value::number(text, 1..=WORKERS, "a number of workers");
    let workers = item.optional(&raw.workers, "Workers", workers, errors).unwrap_or(nothing.workers);

    let all = &raw.allowances;
    let mut allowance = |(rate, key), (burst, burst_key), megabits| {
        let (range, unit, what) =
            if megabits { (MEGABITS, 1_000_000, "a number of megabits") } else { (COUNT, 1, "a rate") };
        let mut read = |text: &raw::Text<'_>, key: &str| {
            let number = |text| value::number(text, range.clone(), what).map(|number| number * unit);
            item.optional(text, format!("Allowances.{key}"), number, errors)
        };
        let (rate, burst): (Option<u64>, _) = (read(rate, key), read(burst, burst_key));
        if rate.is_none() && burst.is_some() {
            let fix = format!("add {key}, or leave it out");
            item.wrong(format!("Allowances.{burst_key}"), format!("is there without {key}"), fix, errors);
        }
        let allowance = Allowance::of(rate?);
        Some(Allowance { burst: burst.unwrap_or(allowance.burst), ..allowance })
    };
    AttachmentOptions {
        strict_icmp,
        tcp_window_check,
        connections_max,
        connections_reserved,
        workers,
        bandwidth_in: allowance(
            (&all.bandwidth_in, "BandwidthInMbps"),
            (&all.bandwidth_in_burst, "BandwidthInBurstMbit"),
            true,
        ),
        bandwidth_out: allowance(
            (&all.bandwidth_out, "BandwidthOutMbps"),
            (&all.bandwidth_out_burst, "BandwidthOutBurstMbit"),
            true,
        ),
        packets: allowance((&all.packets, "PacketsPerSecond"), (&all.packets_burst, "PacketsBurst"), false),
        connections: allowance(
            (&all.connections, "ConnectionsPerSecond"),
            (&all.connections_burst, "ConnectionsBurst"),
            false,
        ),
    }
}
