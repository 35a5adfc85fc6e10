//! The command: which packet, which nodes, and the print.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use clap::Args;
use serde_json::json;

use super::{At, Described, Node, Outcome, Packet, Probe, Trace, packet::unhex, site_of};
use crate::{
    api::{Reply, Request, client},
    model::{self, Model},
    node::{
        config::{HostConfig, default_socket},
        replay::{read_frame, stand_in_mac},
    },
    packet::Encapsulation,
};

/// Which packet to trace, and through which tables.
#[derive(Args, Debug)]
pub struct Options {
    /// The ENI that sends the packet.
    #[arg(long, required_unless_present_any = ["port", "underlay"], conflicts_with_all = ["port", "underlay"])]
    pub eni: Option<String>,
    /// The port that the packet enters at, instead of an ENI's.
    #[arg(long, conflicts_with = "underlay")]
    pub port: Option<String>,
    /// The packet comes from the underlay, encapsulated.
    #[arg(long)]
    pub underlay: bool,
    /// The packet's description.
    #[command(flatten)]
    pub described: Described,
    /// The whole frame, in hexadecimal, instead of a description.
    #[arg(long, value_name = "BYTES", conflicts_with_all = ["dst", "pcap"])]
    pub hex: Option<String>,
    /// A capture (pcap or pcapng) with the frame, instead of a description.
    #[arg(long, value_name = "FILE", conflicts_with = "dst")]
    pub pcap: Option<PathBuf>,
    /// Which frame of the capture, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "pcap")]
    pub packet: usize,
    /// Trace through the tables of a state (a file or a folder; may be given more than once) instead of a running daemon's.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["socket"])]
    pub state: Vec<PathBuf>,
    /// For a state: the host file of a host on the way; may be given more than once. Without it, a host has a port for each
    /// of its ENIs, of 9001 bytes, and an uplink wide enough.
    #[arg(long, value_name = "FILE", requires = "state")]
    pub config: Vec<PathBuf>,
    /// For a state: how frames travel between hosts without a host file.
    #[arg(long, value_name = "NAME", requires = "state", default_value = "vxlan")]
    pub encapsulation: String,
    /// A state that only the receiving host has, instead of --state.
    #[arg(long, value_name = "PATH", requires = "state")]
    pub receiver_state: Vec<PathBuf>,
    /// The socket of another host's daemon on the way, as HOST=PATH, if it isn't where it is by default; may be given more
    /// than once.
    #[arg(long = "peer", value_name = "HOST=PATH", value_parser = peer, conflicts_with = "state")]
    pub peers: Vec<(String, PathBuf)>,
    /// The host at which the packet enters. [default: the ENI's, or the only daemon here]
    #[arg(long)]
    pub host: Option<String>,
    /// The daemon's control socket, where its host file names one.
    #[arg(long, conflicts_with = "host")]
    pub socket: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn peer(text: &str) -> Result<(String, PathBuf), String> {
    let (host, path) =
        text.split_once('=').ok_or("expected HOST=PATH, such as host-b=/run/warren/host-b.sock")?;
    Ok((host.into(), path.into()))
}

impl Options {
    fn probe(&self) -> Result<Probe, String> {
        let at = match (&self.eni, &self.port) {
            (Some(eni), _) => At::Eni(eni.clone()),
            (None, Some(port)) => At::Port(port.clone()),
            (None, None) => At::Underlay,
        };
        let packet = match (&self.hex, &self.pcap) {
            (Some(text), _) => unhex(text).map(|_| Packet::Frame(text.clone()))?,
            (None, Some(file)) => Packet::Frame(super::packet::hex(&read_frame(file, self.packet)?)),
            (None, None) => Packet::Described(self.described.clone()),
        };
        Ok(Probe { at, packet })
    }
}

/// Whom to ask for the tables of a host.
enum Source<'a> {
    /// The daemons on this machine.
    Daemons {
        /// The socket of the first host's.
        first: PathBuf,
        /// Those of others, where they aren't where they are by default.
        peers: &'a [(String, PathBuf)],
    },
    /// A state, and another which hosts on the way have.
    States {
        sender: Arc<Model>,
        receiver: Arc<Model>,
        configs: BTreeMap<String, HostConfig>,
        encapsulation: Encapsulation,
    },
}

impl<'a> Source<'a> {
    fn new(options: &'a Options, socket: impl FnOnce() -> Result<PathBuf, String>) -> Result<Self, String> {
        if options.state.is_empty() {
            return Ok(Self::Daemons { first: socket()?, peers: &options.peers });
        }
        let load = |state: &[PathBuf]| {
            let loaded = model::read_documents(state).and_then(|documents| model::load(&documents));
            loaded.map(Arc::new).map_err(|errors| errors.to_string())
        };
        let sender = load(&options.state)?;
        let receiver = if options.receiver_state.is_empty() {
            Arc::clone(&sender)
        } else {
            load(&options.receiver_state)?
        };
        let mut configs = BTreeMap::new();
        for file in &options.config {
            let config = HostConfig::read(file).map_err(|error| error.to_string())?;
            configs.insert(config.host.to_string(), config);
        }
        let encapsulation = serde_json::from_value(json!(options.encapsulation))
            .map_err(|_| format!("--encapsulation: vxlan or geneve, not {}", options.encapsulation))?;
        Ok(Self::States { sender, receiver, configs, encapsulation })
    }

    /// Traces a packet at the first host, which may be unnamed where a daemon knows its name.
    fn first(&self, host: Option<&str>, probe: &Probe) -> Result<Trace, String> {
        match self {
            Self::Daemons { first, .. } => ask(first, probe),
            Self::States { sender, .. } => {
                let of_eni = || match &probe.at {
                    At::Eni(eni) => {
                        Some(sender.enis.get(eni.as_str())?.attachment.as_ref()?.host.to_string())
                    }
                    At::Port(_) | At::Underlay => None,
                };
                let host = host.map(str::to_owned).or_else(of_eni).ok_or_else(|| match &probe.at {
                    At::Eni(eni) => format!("{eni}: not in the state, or attached to no host"),
                    At::Port(_) | At::Underlay => "--host: at which host?".into(),
                })?;
                self.node(sender, &host)?.trace(probe)
            }
        }
    }

    /// Traces on what left for another host; `None` where its tables are not at hand.
    fn next(&self, host: &str, probe: &Probe) -> Option<Result<Trace, String>> {
        match self {
            Self::Daemons { peers, .. } => {
                let named = peers.iter().find(|(name, _)| name == host).map(|(_, socket)| socket.clone());
                let socket = named.unwrap_or_else(|| default_socket(host));
                socket.exists().then(|| ask(&socket, probe))
            }
            Self::States { receiver, .. } => {
                Some(self.node(receiver, host).and_then(|node| node.trace(probe)))
            }
        }
    }

    fn node(&self, model: &Arc<Model>, host: &str) -> Result<Node, String> {
        let Self::States { configs, encapsulation, .. } = self else {
            return Err("no state".into());
        };
        let site = match configs.get(host) {
            Some(config) => Some(config.site(stand_in_mac)),
            None => site_of(model, host, *encapsulation),
        };
        let site = site.ok_or_else(|| format!("host `{host}` is not in the state's Warren.Hosts"))?;
        Node::new(Arc::clone(model), site).map_err(|problems| problems.join("\n"))
    }
}

fn ask(socket: &std::path::Path, probe: &Probe) -> Result<Trace, String> {
    match client::ask(socket, &Request::Trace(probe.clone()))? {
        Reply::Traced(trace) => Ok(trace),
        Reply::Failed(problem) => Err(problem),
        _ => Err(format!("{}: not the reply to a trace", socket.display())),
    }
}

/// Traces a packet from host to host and prints what it saw. `socket` finds the daemon to ask.
///
/// # Errors
///
/// A sentence: the packet, a state or a host file is wrong, or no daemon answers.
pub fn run(options: &Options, socket: impl FnOnce() -> Result<PathBuf, String>) -> Result<(), String> {
    let source = Source::new(options, socket)?;
    let mut traces = vec![source.first(options.host.as_deref(), &options.probe()?)?];
    let mut notes = Vec::new();
    let onward: Vec<_> = traces.iter().flat_map(|trace| &trace.outcomes).filter_map(left_for).collect();
    for (host, frame) in onward {
        match source.next(&host, &Probe { at: At::Underlay, packet: Packet::Frame(frame) }) {
            Some(trace) => traces.push(trace?),
            None => {
                notes.push(format!("{host}: no daemon of it here; name its socket with --peer {host}=PATH"));
            }
        }
    }
    if options.json {
        let text = serde_json::to_string_pretty(&traces).map_err(|error| error.to_string())?;
        println!("{text}");
    } else {
        traces.iter().for_each(print);
        notes.iter().for_each(|note| println!("{note}"));
    }
    Ok(())
}

/// The host that an outcome goes on to, and the frame.
fn left_for(outcome: &Outcome) -> Option<(String, String)> {
    match outcome {
        Outcome::Sent { host: Some(host), frame, .. } => Some((host.clone(), frame.clone())),
        _ => None,
    }
}

fn print(trace: &Trace) {
    println!("{}, in at port {}, {} bytes", trace.host, trace.port, trace.frame.len() / 2);
    for line in &trace.steps {
        let rule = line.rule.as_deref().unwrap_or("");
        println!("  {:<18} {:<8} {}", line.step, rule, line.text);
    }
    for outcome in &trace.outcomes {
        match outcome {
            Outcome::Delivered { port, eni, frame } => {
                let eni = eni.as_ref().map(|eni| format!(" to {eni}")).unwrap_or_default();
                println!("  DELIVERED{eni} at port {port}, {} bytes", frame.len() / 2);
            }
            Outcome::Sent { port, host, frame } => {
                let host = host.as_deref().unwrap_or("no host of the state");
                println!("  SENT to {host} through port {port}, {} bytes", frame.len() / 2);
            }
            Outcome::Dropped { port, reason, meaning } => {
                println!("  DROPPED {reason} (counted at port {port}): {meaning}");
            }
        }
    }
}
