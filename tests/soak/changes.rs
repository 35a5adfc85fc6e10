//! What changes: rules, access control lists, places, checks and numbers of workers.

use std::{fmt::Debug, str::FromStr};

use warren::model::{AclEntry, Attachment, AttachmentOptions, Model, NetworkAcl, Peer, Permission, Traffic};

use crate::{
    packets::{NEVER, PORTS},
    random::Random,
    world::{HOSTS, NICS, Nic},
};

/// Makes one change, at random.
pub fn change(model: &mut Model, random: &mut Random) {
    match random.below(8) {
        0 => rules(model, random),
        1 => acl(model, random),
        2..5 => {
            let number = random.below(NICS.len());
            attach(model, random, number);
        }
        5 => {
            let eni = model.enis.get_mut(Nic::id(random.below(NICS.len())).as_str()).unwrap();
            eni.source_dest_check = !eni.source_dest_check;
        }
        _ => {
            let eni = model.enis.get_mut(Nic::id(random.of(&[0, 0, 3, 4])).as_str()).unwrap();
            if let Some(at) = &mut eni.attachment {
                let workers = 1 + random.below(2) as u8;
                at.options =
                    Some(Box::new(AttachmentOptions { workers, ..AttachmentOptions::NOTHING_STATED }));
            }
        }
    }
}

/// Some of the ports that packets go to, never [`NEVER`]; or ICMP.
fn traffic(random: &mut Random) -> Traffic {
    const { assert!(NEVER > PORTS[PORTS.len() - 1]) };
    match random.below(4) {
        0 => Traffic::Icmp { protocol: random.of(&[1, 58]), kind: None, code: None },
        _ => {
            let from = random.of(&PORTS);
            Traffic::Ports { protocol: random.of(&[6, 17]), from, to: random.of(&PORTS).max(from) }
        }
    }
}

/// Blocks as the others of rules.
fn peers<T: FromStr<Err: Debug>>(blocks: &[&str]) -> Vec<Peer<T>> {
    blocks.iter().map(|block| Peer { peer: block.parse().unwrap(), description: None }).collect()
}

fn permissions(random: &mut Random) -> Vec<Permission> {
    let permission = |random: &mut Random| Permission {
        ranges4: peers(&[random.of(&["0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24"])]),
        ranges6: peers(&["::/0"]),
        ..Permission::new(traffic(random))
    };
    (0..2 + random.below(8)).map(|_| permission(random)).collect()
}

fn rules(model: &mut Model, random: &mut Random) {
    let group = model.security_groups.get_mut(random.of(&["sg-v", "sg-v", "sg-w"])).unwrap();
    if random.one_in(2) {
        group.ingress = permissions(random);
    } else {
        group.egress = permissions(random);
    }
}

fn acl(model: &mut Model, random: &mut Random) {
    let mut entries = Vec::new();
    for egress in [false, true] {
        for number in 1..1 + random.below(3) as u16 {
            let traffic = if random.one_in(2) { Traffic::All } else { traffic(random) };
            let block = random.of(&["0.0.0.0/0", "::/0"]).parse().unwrap();
            entries.push(AclEntry { number, egress, allow: !random.one_in(3), traffic, block });
        }
    }
    let acl = NetworkAcl {
        id: "acl-s2".into(),
        vpc: "vpc-v".into(),
        is_default: false,
        entries,
        subnets: vec!["subnet-v2".into()],
        descriptive: None,
    };
    model.network_acls.insert("acl-s2".into(), acl);
    model.subnets.get_mut("subnet-v2").unwrap().network_acl = Some("acl-s2".into());
}

/// Moves an interface to one of its places, from which another one has to go; or takes it away.
fn attach(model: &mut Model, random: &mut Random, number: usize) {
    let (host, port) = random.of(NICS[number].places);
    let at = Attachment::new(HOSTS[host].into(), format!("vm{port}").into());
    for other in Nic::at((host, port)) {
        let eni = model.enis.get_mut(Nic::id(other).as_str()).unwrap();
        if eni.attachment.as_ref().is_some_and(|there| (&there.host, &there.port) == (&at.host, &at.port)) {
            eni.attachment = None;
        }
    }
    if !random.one_in(5) {
        model.enis.get_mut(Nic::id(number).as_str()).unwrap().attachment = Some(at);
    }
}
