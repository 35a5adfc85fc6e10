//! Flow logs.

use super::{Source, Validation, each, value, value::Wrong};
use crate::model::{FlowLog, Id, LogScope, LogTraffic, Model};

/// The fields that records can have: of the versions 2 to 5, and the reason of a rejection (FL-1, FL-2).
const FIELDS: [&str; 30] = [
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
    "vpc-id",
    "subnet-id",
    "instance-id",
    "tcp-flags",
    "type",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "region",
    "az-id",
    "sublocation-type",
    "sublocation-id",
    "pkt-src-aws-service",
    "pkt-dst-aws-service",
    "flow-direction",
    "traffic-path",
    "reject-reason",
];

pub(super) fn flow_logs(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let all = each(sources, "FlowLogs", |raw| &raw.flow_logs, |log| &log.id);
    for (item, raw) in all.filter(|(_, raw)| raw.status.in_force()) {
        let scope = |id: &str| scope(id, model);
        let scope = item.required(&raw.resource, "ResourceId", "vpc-blue", scope, errors);
        let types =
            [("ACCEPT", LogTraffic::Accept), ("REJECT", LogTraffic::Reject), ("ALL", LogTraffic::All)];
        let traffic = |text| value::one_of(text, &types);
        let traffic = item.optional(&raw.traffic, "TrafficType", traffic, errors);
        let format = item.optional(&raw.format, "LogFormat", format, errors);
        let interval = |text| value::one_of(text, &[("60", 60), ("600", 600)]);
        let interval = item.optional(&raw.interval, "MaxAggregationInterval", interval, errors);
        let kinds = [("cloud-watch-logs", ()), ("s3", ()), ("kinesis-data-firehose", ())];
        let kind = |text| value::one_of(text, &kinds);
        item.optional(&raw.destination_type, "LogDestinationType", kind, errors);
        item.optional(&raw.options.file_format, "DestinationOptions.FileFormat", plain_text, errors);
        let (place, key) = if raw.destination.is_stated() {
            (&raw.destination, "LogDestination")
        } else {
            (&raw.group, "LogGroupName")
        };
        let folder = item.optional(place, key, folder, errors);
        let id = item.new_id(&raw.id, "FlowLogId", "fl-blue", &model.flow_logs, errors);
        if let (Some(id), Some(scope)) = (id, scope) {
            let log = FlowLog {
                id: id.clone(),
                scope,
                traffic: traffic.unwrap_or(LogTraffic::All),
                format: format.unwrap_or_else(|| FlowLog::FORMAT.into()),
                interval: interval.unwrap_or(600),
                folder: folder.unwrap_or_else(|| id.replace('/', "_").into()),
                descriptive: raw.notes.descriptive(),
            };
            model.flow_logs.insert(id, log);
        }
    }
}

/// What a log is about.
fn scope(id: &str, model: &Model) -> Result<LogScope, Wrong> {
    fn known<T>(id: &str, all: &crate::model::ById<T>) -> Option<Id> {
        all.get_key_value(id).map(|(id, _)| id.clone())
    }
    let found = known(id, &model.enis).map(LogScope::Eni);
    let found = found.or_else(|| known(id, &model.subnets).map(LogScope::Subnet));
    let found = found.or_else(|| known(id, &model.vpcs).map(LogScope::Vpc));
    let found = found.or_else(|| known(id, &model.transit_gateways).map(LogScope::Other));
    let found = found.or_else(|| known(id, &model.transit_attachments).map(LogScope::Other));
    found.ok_or_else(|| value::unresolved(id, "Vpcs, Subnets or NetworkInterfaces"))
}

/// The fields of a record, with one blank between them.
fn format(text: &str) -> Result<Box<str>, Wrong> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    for field in &fields {
        let name = field.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let Some(name) = name else {
            let problem = format!("{field} is no field");
            return Err(Wrong::new(problem, "write ${NAME} for each field, and a blank between them"));
        };
        if !FIELDS.contains(&name) {
            let problem = format!("there is no field {name}");
            return Err(Wrong::new(problem, "write fields of the versions 2 to 5, such as ${srcaddr}"));
        }
    }
    if fields.is_empty() {
        return Err(Wrong::new("has no field", "write some, such as ${srcaddr} ${dstaddr}"));
    }
    Ok(fields.join(" ").into())
}

fn plain_text(text: &str) -> Result<(), Wrong> {
    if text == "plain-text" {
        return Ok(());
    }
    Err(Wrong::new(format!("{text} is not written here"), "write plain-text, which is compressed by gzip"))
}

/// The folder that a destination stands for: of an ARN, what follows its account.
fn folder(text: &str) -> Result<Box<str>, Wrong> {
    let resource =
        if text.starts_with("arn:") { text.splitn(6, ':').nth(5).unwrap_or_default() } else { text };
    let resource = resource.strip_prefix("log-group:").unwrap_or(resource);
    let resource = resource.strip_suffix(":*").unwrap_or(resource);
    let folder = resource.trim_matches('/');
    let is_right = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-#".contains(&byte))
    };
    if folder.split('/').all(is_right) {
        return Ok(folder.into());
    }
    let fix = "write letters, digits, dots, dashes and underscores, such as vpc/blue";
    Err(Wrong::new(format!("{text} names no folder"), fix))
}
