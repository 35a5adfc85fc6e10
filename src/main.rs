//! The command line, nothing else.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use warren::{
    api::{
        self, Reply, Request, Table, What,
        capture::{Directions, Place, Wanted, client::To},
        show,
    },
    model::{self, Errors, Model},
    node::{
        config::{HostConfig, default_socket},
        replay::{Input, replay},
    },
};

/// A VPC data plane: the network that AWS gives EC2 instances, for bare-metal hosts.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done; 1 the state, host file or capture is wrong, or the daemon refused; 2 wrong usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run this host's node until SIGINT or SIGTERM; SIGHUP reads the state again.
    #[cfg(feature = "dpdk")]
    Run {
        /// The host file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Validate a state: report every mistake, and what is legal but surely wrong.
    Check {
        /// Files, or folders of *.yaml, *.yml and *.json files.
        #[arg(required = true)]
        state: Vec<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a state in force on the running node, whole or not at all, and print what that changed.
    Apply {
        /// Files, or folders of *.yaml, *.yml and *.json files.
        #[arg(required = true)]
        state: Vec<PathBuf>,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Show what the running node knows and counts.
    Show {
        /// What to show.
        what: What,
        /// Of `security` and `flows`: an ENI of the node.
        #[arg(required_if_eq("what", "security"))]
        eni: Option<String>,
        #[command(flatten)]
        flows: show::FlowFilter,
        /// Show it again every so many seconds, until Ctrl-C.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        watch: Option<u64>,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Capture packets at an ENI or port of the running node, before and after processing, with what became of each.
    Capture(Capture),
    /// Measure the worker loop on software ports.
    #[cfg(feature = "dpdk")]
    Bench(warren::node::bench::Options),
    /// Send a capture's packets to a port, and measure what comes back: how many, and how long they took. See docs/performance.md.
    #[cfg(feature = "dpdk")]
    Load(warren::load::Options),
    /// Look at this machine, and at what a host file asks of it; say what is wrong and what mends it.
    Doctor(warren::doctor::Options),
    /// Show step by step what becomes of a packet, through the running node's tables or a state's; nothing is sent or counted.
    Trace(Box<warren::trace::Options>),
    /// Feed captures to a node's ports, without DPDK or root, and write what each port would send to DIR/PORT.pcap.
    Replay {
        /// The host file.
        #[arg(long)]
        config: PathBuf,
        /// The state: a file or a folder.
        #[arg(long)]
        state: Vec<PathBuf>,
        /// A capture (pcap or pcapng) for a port; may be given more than once.
        #[arg(long = "in", value_name = "PORT=FILE", value_parser = input, required = true)]
        inputs: Vec<Input>,
        /// The folder to write to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What to capture.
#[derive(Args)]
struct Capture {
    /// The ENI at whose port to capture.
    #[arg(long, value_name = "ENI", required_unless_present = "port", conflicts_with = "port")]
    eni: Option<String>,
    /// The port at which to capture.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Packets that come from there (in), that go there (out), or both.
    #[arg(long, value_enum, default_value_t)]
    direction: Directions,
    /// Only packets that an expression of pcap-filter(7) lets pass, such as 'tcp port 443'.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Only every Nth of these, on each worker.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// Keep that many bytes of a frame.
    #[arg(long, value_name = "BYTES", default_value_t = SNAPLEN, value_parser = clap::value_parser!(u32).range(1..=i64::from(SNAPLEN)))]
    snaplen: u32,
    /// End after that many packets.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after that many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    duration: Option<u64>,
    /// Write pcapng to a file, or to standard output (-), instead of printing a line for each frame.
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
    #[command(flatten)]
    daemon: Daemon,
}

/// The largest snapshot length that programs which read captures take.
const SNAPLEN: u32 = 262_144;

impl Capture {
    fn run(self) -> Result<(), String> {
        let place = match (self.eni, self.port) {
            (Some(eni), _) => Place::Eni(eni),
            (None, port) => Place::Port(port.unwrap_or_default()),
        };
        let wanted = Wanted {
            place,
            direction: self.direction,
            filter: self.filter,
            sample: self.sample,
            snaplen: self.snaplen,
            count: self.count,
            duration: self.duration,
        };
        let to = match self.write {
            Some(file) => To::File(file),
            None if self.daemon.json => To::Json,
            None => To::Text,
        };
        api::capture::client::run(&self.daemon.socket()?, &wanted, &to)
    }
}

/// Which daemon to ask, and how to print.
#[derive(Args)]
struct Daemon {
    /// The host whose daemon on this machine to ask; the only one if there is one.
    #[arg(long)]
    host: Option<String>,
    /// The daemon's control socket, where its host file names one.
    #[arg(long, conflicts_with = "host")]
    socket: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Daemon {
    fn socket(&self) -> Result<PathBuf, String> {
        match (&self.socket, &self.host) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(host)) => Ok(default_socket(host)),
            (None, None) => only_socket(),
        }
    }
}

/// The socket of the only daemon on this machine.
fn only_socket() -> Result<PathBuf, String> {
    let any = default_socket("");
    let folder = any.parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut sockets: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "sock")).collect();
    sockets.sort();
    match sockets.as_slice() {
        [socket] => Ok(socket.clone()),
        [] => Err(format!(
            "no daemon's socket in {}; start one with `warren run`, or give --socket",
            folder.display()
        )),
        several => {
            let hosts: Vec<_> = several.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
            Err(format!("several daemons run here; choose one with --host: {}", hosts.join(", ")))
        }
    }
}

fn input(text: &str) -> Result<Input, String> {
    let (port, file) = text.split_once('=').ok_or("expected PORT=FILE, such as vm0=in.pcap")?;
    Ok(Input { port: port.into(), file: file.into() })
}

/// Starts this program again with tables and models in huge pages, if it was started without: a lookup among a million ENIs
/// then misses the TLB far less. It is glibc's setting, read once at its start.
#[cfg(feature = "dpdk")]
fn in_huge_pages() {
    use std::os::unix::process::CommandExt;
    const TUNABLES: &str = "GLIBC_TUNABLES";
    if cfg!(target_env = "gnu") && std::env::var_os(TUNABLES).is_none() {
        let Ok(program) = std::env::current_exe() else { return };
        // Returns only if it failed, which costs speed and nothing else.
        let error = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(TUNABLES, "glibc.malloc.hugetlb=1")
            .exec();
        tracing::warn!(%error, "running without huge pages for tables");
    }
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), String> {
    match command {
        #[cfg(feature = "dpdk")]
        Command::Run { config } => {
            in_huge_pages();
            let config = HostConfig::read(&config).map_err(|error| error.to_string())?;
            let model = load(std::slice::from_ref(&config.state)).map_err(|errors| errors.to_string())?;
            warren::node::daemon::run(config, model).map_err(|error| error.to_string())
        }
        #[cfg(feature = "dpdk")]
        Command::Bench(options) => {
            in_huge_pages();
            warren::node::bench::run(&options)
        }
        #[cfg(feature = "dpdk")]
        Command::Load(options) => warren::load::run(&options),
        Command::Check { state, json } => check(&state, json),
        Command::Apply { state, daemon } => {
            let documents = model::read_documents(&state).map_err(|errors| errors.to_string())?;
            ask(&daemon, &Request::Apply(documents))
        }
        Command::Show { what, eni, flows, watch, daemon } => {
            let request = Request::Show { what, eni, flows };
            match watch {
                None => ask(&daemon, &request),
                Some(seconds) => again(Duration::from_secs(seconds), || ask(&daemon, &request)),
            }
        }
        Command::Capture(capture) => capture.run(),
        Command::Trace(options) => {
            let daemon =
                Daemon { host: options.host.clone(), socket: options.socket.clone(), json: options.json };
            warren::trace::run(&options, || daemon.socket())
        }
        Command::Doctor(options) => warren::doctor::run(&options),
        Command::Replay { config, state, inputs, out, json } => {
            let config = HostConfig::read(&config).map_err(|error| error.to_string())?;
            let state = if state.is_empty() { vec![config.state.clone()] } else { state };
            let model = load(&state).map_err(|errors| errors.to_string())?;
            run_replay(&config, model, &inputs, &out, json)
        }
    }
}

/// Prints something anew every so often, on a terminal in the place of what was there.
fn again(every: Duration, mut print: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    const CLEAR: &str = "\x1b[H\x1b[2J";
    let terminal = io::stdout().is_terminal();
    loop {
        if terminal {
            print!("{CLEAR}");
        }
        print()?;
        if !terminal {
            println!();
        }
        std::thread::sleep(every);
    }
}

fn load(state: &[PathBuf]) -> Result<Model, Errors> {
    model::load(&model::read_documents(state)?)
}

fn check(state: &[PathBuf], json: bool) -> Result<(), String> {
    match load(state) {
        Ok(model) => {
            let (counts, warnings) = (counts(&model), model::warnings(&model));
            if json {
                let counts: serde_json::Map<_, _> =
                    counts.map(|(kind, n)| (kind.to_owned(), json!(n))).into_iter().collect();
                let valid = json!({ "valid": true, "counts": counts, "errors": [], "warnings": warnings });
                println!("{valid}");
            } else {
                let counts = counts.iter().filter(|(_, n)| *n > 0);
                let counts: Vec<_> =
                    counts.map(|(kind, n)| format!("{n} {}", kind.replace('_', " "))).collect();
                println!("valid: {}", counts.join(", "));
                for warning in warnings {
                    println!("warning: {warning}");
                }
            }
            Ok(())
        }
        Err(errors) if json => {
            println!("{}", json!({ "valid": false, "errors": errors.0 }));
            Err(format!("{} mistakes", errors.0.len()))
        }
        Err(errors) => Err(errors.to_string()),
    }
}

/// How many resources of each kind there are.
fn counts(model: &Model) -> [(&'static str, usize); 29] {
    [
        ("vpcs", model.vpcs.len()),
        ("dhcp_options", model.dhcp_options.len()),
        ("subnets", model.subnets.len()),
        ("security_groups", model.security_groups.len()),
        ("network_acls", model.network_acls.len()),
        ("enis", model.enis.len()),
        ("route_tables", model.route_tables.len()),
        ("prefix_lists", model.prefix_lists.len()),
        ("internet_gateways", model.internet_gateways.len()),
        ("egress_only_gateways", model.egress_only_gateways.len()),
        ("nat_gateways", model.nat_gateways.len()),
        ("public_addresses", model.public_addresses.len()),
        ("peerings", model.peerings.len()),
        ("vpn_gateways", model.vpn_gateways.len()),
        ("vpn_connections", model.vpn_connections.len()),
        ("direct_connect_gateways", model.direct_connect_gateways.len()),
        ("virtual_interfaces", model.virtual_interfaces.len()),
        ("endpoints", model.endpoints.len()),
        ("transit_gateways", model.transit_gateways.len()),
        ("transit_attachments", model.transit_attachments.len()),
        ("transit_tables", model.transit_tables.len()),
        ("multicast_domains", model.multicast_domains.len()),
        ("flow_logs", model.flow_logs.len()),
        ("mirror_targets", model.mirror_targets.len()),
        ("mirror_filters", model.mirror_filters.len()),
        ("mirror_sessions", model.mirror_sessions.len()),
        ("edges", model.edges.len()),
        ("circuits", model.circuits.len()),
        ("hosts", model.hosts.len()),
    ]
}

fn ask(daemon: &Daemon, request: &Request) -> Result<(), String> {
    match api::client::ask(&daemon.socket()?, request)? {
        Reply::Shown(table) => print_table(&table, daemon.json),
        Reply::Applied(applied) if daemon.json => {
            println!("{}", serde_json::to_string_pretty(&applied).map_err(|error| error.to_string())?);
        }
        Reply::Applied(applied) => {
            println!("{}", applied.text);
            match applied.adopted_after_us {
                Some(us) => {
                    println!("generation {}, in use by all workers after {us} µs", applied.generation);
                }
                None => println!(
                    "generation {}, not yet in use by workers {:?}",
                    applied.generation, applied.laggards
                ),
            }
        }
        Reply::Traced(_) | Reply::Capturing(_) => return Err("the daemon answered another question".into()),
        Reply::Invalid(errors) => {
            return Err(format!("not applied, nothing has changed:\n{}", Errors(errors)));
        }
        Reply::Failed(problem) => return Err(format!("not done, nothing has changed:\n{problem}")),
    }
    Ok(())
}

fn print_table(table: &Table, json: bool) {
    if json {
        println!("{}", table.json());
    } else {
        print!("{}", table.render());
    }
}

fn run_replay(
    config: &HostConfig,
    model: Model,
    inputs: &[Input],
    out: &Path,
    json: bool,
) -> Result<(), String> {
    let occupants = config
        .ports
        .iter()
        .map(|port| {
            let eni = model.enis.values().find(|eni| {
                eni.attachment.as_ref().is_some_and(|at| at.host == config.host && at.port == port.name)
            })?;
            Some((eni.id.clone(), eni.vpc.clone()))
        })
        .collect::<Vec<_>>();
    let replayed = replay(config, model, inputs, out)?;
    let names: Vec<_> = config.ports.iter().map(|port| port.name.clone()).collect();
    let counters = [replayed.counters];
    let (stats, drops) = (show::stats(&names, &counters), show::drops(&names, &counters, &occupants));
    if json {
        println!("{}", json!({ "packets": replayed.packets, "stats": stats.rows, "drops": drops.rows }));
    } else {
        println!("{} packets", replayed.packets);
        print!("{}", stats.render());
        if !drops.rows.is_empty() {
            print!("\n{}", drops.render());
        }
    }
    Ok(())
}
