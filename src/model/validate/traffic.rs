//! What traffic a rule is for, of a security group or a network ACL: protocol, ports, ICMP type and code.

use super::{Item, value, value::Wrong};
use crate::model::{
    Errors, Traffic,
    raw::{Check as _, Text},
};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A value and where it stands.
type Place<'p, 'a> = (&'p Text<'a>, &'p str);

/// The traffic of a rule, as it was stated.
pub(super) struct Stated<'p, 'a> {
    /// The protocol.
    pub(super) protocol: (&'p Text<'a>, String),
    /// The lowest and the highest port.
    pub(super) ports: [Place<'p, 'a>; 2],
    /// ICMP's type and code, which a security group has in the place of the ports.
    pub(super) icmp: [Place<'p, 'a>; 2],
}

impl Stated<'_, '_> {
    /// The traffic; `None`, and noted, if something about it is wrong.
    pub(super) fn read(&self, item: &Item<'_>, errors: &mut Errors) -> Option<Traffic> {
        let before = errors.0.len();
        let (text, key) = &self.protocol;
        let protocol = item.required(text, key, "tcp", protocol, errors)?;
        let traffic = match protocol {
            Some(protocol @ (TCP | UDP)) => self.ports(protocol, item, errors),
            Some(protocol @ (ICMP | ICMPV6)) => Some(self.icmp(protocol, item, errors)),
            // EC2 allows any ports with the other protocols, and pays no heed to them.
            other => {
                for (text, key) in self.ports {
                    item.optional(text, key, |text| value::number(text, -1..=65535, "a port"), errors);
                }
                Some(other.map_or(Traffic::All, Traffic::Protocol))
            }
        };
        traffic.filter(|_| errors.0.len() == before)
    }

    fn ports(&self, protocol: u8, item: &Item<'_>, errors: &mut Errors) -> Option<Traffic> {
        let [from, to] = self.ports.map(|(text, key)| {
            if text.is_missing() {
                let (from, to) = (last(self.ports[0].1), last(self.ports[1].1));
                let fix = format!("add it; all ports are {from} 0 and {to} 65535");
                item.wrong(key, "is missing", fix, errors);
            }
            item.optional(text, key, |text| value::number(text, 0..=65535, "a port"), errors)
        });
        let (from, to): (u16, u16) = (from?, to?);
        if from > to {
            let [(_, low), (_, high)] = self.ports;
            let problem = format!("{} {from} is greater than {} {to}", last(low), last(high));
            item.wrong(low, problem, "write the lower port first", errors);
        }
        Some(Traffic::Ports { protocol, from, to })
    }

    fn icmp(&self, protocol: u8, item: &Item<'_>, errors: &mut Errors) -> Traffic {
        let [(kind, kind_key), (code, code_key)] = self.icmp;
        let mut read = |text: &Text<'_>, key, what| {
            let number: Option<i16> =
                item.optional(text, key, |text| value::number(text, -1..=255, what), errors);
            // -1, or nothing, is every type or code.
            number.and_then(|number| u8::try_from(number).ok())
        };
        let kind = read(kind, kind_key, "an ICMP type");
        let code = read(code, code_key, "an ICMP code");
        if kind.is_none() && code.is_some() {
            let fix = format!("write -1, or a type in {}", last(kind_key));
            item.wrong(code_key, "has an ICMP code of every type", fix, errors);
        }
        Traffic::Icmp { protocol, kind, code }
    }
}

/// The last step of a key.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// An IP protocol; `None` for all.
fn protocol(text: &str) -> Result<Option<u8>, Wrong> {
    match text {
        "-1" => Ok(None),
        "tcp" => Ok(Some(TCP)),
        "udp" => Ok(Some(UDP)),
        "icmp" => Ok(Some(ICMP)),
        "icmpv6" => Ok(Some(ICMPV6)),
        _ => text.parse().map(Some).map_err(|_| {
            Wrong::new(
                format!("{text} is not a protocol"),
                "write -1 for all, tcp, udp, icmp, icmpv6 or a number from 0 to 255",
            )
        }),
    }
}
