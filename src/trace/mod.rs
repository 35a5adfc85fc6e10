//! `warren trace`: what becomes of a packet, step by step, through the code and the tables that real packets meet.
//!
//! A [`Node`] is the tables of one host, a running daemon's or made from a state. A [`Probe`] is a packet and where it
//! enters. [`Node::trace`] runs it through [`process`] with a sink that writes down each step; it counts nothing
//! and sends nothing. What leaves for another host is traced on there, if its tables are at hand ([`run`]).

mod options;
mod packet;
mod recorder;
mod site;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use options::{Options, run};
pub use packet::{Described, Packet};
pub use site::site_of;

use crate::{
    compile::{Compiler, Learned, Site},
    flow::Connections,
    gateway::Flows,
    model::{Id, Model},
    node::manager::check_site,
    packet::{Buffer, HeapBuffer, endpoints, parse, set_macs},
    pipeline::{Allowances, Burst, Context, Counters, process},
    tables::{PortIndex, Role, Tables},
};

/// A packet, and where it enters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Where.
    pub at: At,
    /// What.
    pub packet: Packet,
}

/// Where a packet enters a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// At the port that an ENI is attached to.
    Eni(String),
    /// At a port with a name.
    Port(String),
    /// At the uplink with the frame's outer destination address, whatever the frame's MAC: the underlay's last hop sets it.
    Underlay,
}

/// What became of a packet at one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The host.
    pub host: String,
    /// The port that the packet entered at.
    pub port: String,
    /// The packet, in hexadecimal.
    pub frame: String,
    /// The steps that it took.
    pub steps: Vec<Line>,
    /// How it ended; more than one where it was cut in fragments.
    pub outcomes: Vec<Outcome>,
}

/// A step, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What was done, one word.
    pub step: String,
    /// The rule that it is done by, where one has a name.
    pub rule: Option<String>,
    /// In words, with the names of things.
    pub text: String,
}

/// How a packet ended at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Outcome {
    /// It, or the answer to it, left through a port to an instance or a service.
    Delivered {
        /// The port.
        port: String,
        /// The ENI behind it.
        eni: Option<String>,
        /// The frame as sent, in hexadecimal.
        frame: String,
    },
    /// It left for another host.
    Sent {
        /// The uplink.
        port: String,
        /// The host.
        host: Option<String>,
        /// The frame as sent, in hexadecimal.
        frame: String,
    },
    /// It was dropped.
    Dropped {
        /// The port at which that is counted.
        port: String,
        /// The reason's name.
        reason: String,
        /// What that means.
        meaning: String,
    },
}

/// The tables of a host, and what their things are called.
pub struct Node {
    /// The tables.
    pub tables: Tables,
    /// The model that they were made from.
    pub model: Arc<Model>,
    /// The host.
    pub site: Arc<Site>,
    /// What gateways have learned.
    pub learned: Learned,
}

impl Node {
    /// The host that a site describes, with every next hop of the underlay and outside known.
    ///
    /// # Errors
    ///
    /// What is wrong between the site and the model.
    pub fn new(model: Arc<Model>, site: Site) -> Result<Self, Vec<String>> {
        let problems = check_site(&site, &model);
        if !problems.is_empty() {
            return Err(problems);
        }
        let site = Arc::new(site);
        let tables = Compiler::new(Site::clone(&site)).build(&model, &site::Known);
        let tables = Tables { outside: Arc::new(site::outside(&site, &model)), ..tables };
        Ok(Self { tables, model, site, learned: Learned::default() })
    }

    /// The host's id.
    pub fn host(&self) -> &Id {
        &self.site.host
    }

    /// Traces a packet.
    ///
    /// # Errors
    ///
    /// A sentence: there is no such ENI or port here, or the packet can't be made.
    pub fn trace(&self, probe: &Probe) -> Result<Trace, String> {
        let (port, frame) = match &probe.at {
            At::Eni(eni) => self.at_instance(self.port_of(eni)?, &probe.packet)?,
            At::Port(name) => self.at_instance(self.port(name)?, &probe.packet)?,
            At::Underlay => self.at_underlay(probe.packet.frame()?)?,
        };
        Ok(self.trace_frame(port, &frame))
    }

    /// Traces a frame that enters at a port.
    pub fn trace_frame(&self, port: PortIndex, frame: &[u8]) -> Trace {
        let mut recorder = recorder::Recorder::new(self);
        let ports = self.tables.ports.len();
        let counters = Counters::new(ports);
        let mut burst: Burst<HeapBuffer> = Burst::new();
        burst.push(HeapBuffer::new(frame));
        let mut ctx = Context {
            tables: &self.tables,
            counters: &counters,
            now: Duration::ZERO,
            allowances: &mut Allowances::new(ports),
            flows: &mut Flows::new(64),
            connections: &mut Connections::new(64),
            sink: &mut recorder,
        };
        process(&mut ctx, port, &mut burst);
        let (steps, outcomes) = recorder.finish();
        Trace {
            host: self.host().to_string(),
            port: self.port_name(port).into(),
            frame: packet::hex(frame),
            steps,
            outcomes,
        }
    }

    fn at_instance(&self, port: PortIndex, packet: &Packet) -> Result<(PortIndex, Vec<u8>), String> {
        match packet {
            Packet::Frame(_) => Ok((port, packet.frame()?)),
            Packet::Described(described) => {
                let eni = self.tables.local_eni(port).ok_or_else(|| {
                    format!("port `{}` of {} has no ENI: give the frame", self.port_name(port), self.host())
                })?;
                Ok((port, described.frame(eni, &self.tables)?))
            }
        }
    }

    fn at_underlay(&self, mut frame: Vec<u8>) -> Result<(PortIndex, Vec<u8>), String> {
        let headers = parse(&frame).map_err(|reason| format!("the outer frame: {}", reason.help()))?;
        let destination = endpoints(&frame, headers.network).map(|(_, destination)| destination);
        let found = self.tables.ports.iter().zip(0..).find_map(|(port, index)| match &port.role {
            Role::Uplink(uplink) if Some(uplink.address) == destination => Some((index, uplink.mac)),
            _ => None,
        });
        let (index, mac) = found.ok_or_else(|| {
            let address = destination.map_or_else(|| "no address".into(), |address| address.to_string());
            format!("{} has no uplink with the frame's outer destination, {address}", self.host())
        })?;
        let (_, source) = crate::packet::macs(&frame);
        set_macs(&mut frame, mac, source);
        Ok((PortIndex(index), frame))
    }

    fn port_of(&self, eni: &str) -> Result<PortIndex, String> {
        let Some(stated) = self.model.enis.get(eni) else {
            return Err(format!("{eni}: no such ENI in the state of {}", self.host()));
        };
        match &stated.attachment {
            Some(at) if at.host == *self.host() => self.port(&at.port),
            Some(at) => Err(format!("{eni} is attached to {}, not to {}", at.host, self.host())),
            None => Err(format!("{eni} is attached to no host, so that it sends nothing")),
        }
    }

    fn port(&self, name: &str) -> Result<PortIndex, String> {
        self.site.port(name).ok_or_else(|| {
            let known: Vec<_> = self.site.ports.iter().map(|port| &*port.name).collect();
            format!("{} has no port `{name}`; it has {}", self.host(), known.join(", "))
        })
    }

    fn port_name(&self, port: PortIndex) -> &str {
        self.site.ports.get(usize::from(port.0)).map_or("?", |port| &port.name)
    }
}

/// The bytes of a buffer, in hexadecimal.
fn hex_of(buffer: &impl Buffer) -> String {
    packet::hex(buffer.data())
}
