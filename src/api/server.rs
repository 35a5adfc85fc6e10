//! Answering on the control socket.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam::channel::{Sender, bounded};

use super::{Reply, Request, What, capture, show};
use crate::{
    model::{self, Document, Model},
    node::{capture::Captures, clock::Clock, listing::Listing},
    trace::Node,
};

/// The longest request: a state of a million ENIs takes some 300 MiB.
const LONGEST_REQUEST: u64 = 4 << 30;
/// How long a client may take to send its request or to read the reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the management thread is asked for; it answers through the sender.
pub enum Call {
    /// Put a validated model in force.
    Apply(Box<Model>, Sender<Reply>),
    /// Say how things are.
    Look(Sender<Arc<show::Snapshot>>),
    /// Give the tables in force.
    Node(Sender<Box<Node>>),
}

/// The daemon, as connections see it.
#[derive(Clone)]
pub struct Daemon {
    /// What the management thread is asked.
    pub calls: Sender<Call>,
    /// The workers' captures.
    pub captures: Arc<Captures>,
    /// The workers' connections, as lists.
    pub listing: Arc<Listing>,
    /// The workers' clock.
    pub clock: Clock,
}

impl Daemon {
    /// How things are; `None` if it has gone.
    pub(super) fn look(&self) -> Option<Arc<show::Snapshot>> {
        ask(&self.calls, Call::Look)
    }
}

/// The socket, and the thread that accepts connections; gone when dropped.
pub struct Server {
    path: PathBuf,
    /// The listening socket, as what can be shut down: this wakes the thread.
    socket: UnixStream,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path`, with a thread for each connection; validation and printing happen there, the rest is asked of
    /// the management thread through `daemon`; captures are served there too.
    ///
    /// # Errors
    ///
    /// That of the system; [`io::ErrorKind::AddrInUse`] if a daemon listens there already.
    pub fn start(path: &Path, daemon: Daemon) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "a daemon listens on this socket already"));
        }
        // Left behind by one that was killed.
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let socket = UnixStream::from(OwnedFd::from(listener.try_clone()?));
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("control".into()).spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let daemon = daemon.clone();
                let serve = move || {
                    if let Err(error) = serve(stream, &daemon) {
                        tracing::warn!(%error, "control connection");
                    }
                };
                if let Err(error) = thread::Builder::new().name("control-client".into()).spawn(serve) {
                    tracing::warn!(%error, "control connection refused: no thread for it");
                }
            }
        })?;
        Ok(Self { path: path.to_owned(), socket, stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let woken = self.socket.shutdown(Shutdown::Both).is_ok();
        let _ = fs::remove_file(&self.path);
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: UnixStream, daemon: &Daemon) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(&stream).take(LONGEST_REQUEST).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let request = serde_json::from_str(&line);
    drop(line);
    let gone = || Reply::Failed(SHUTTING_DOWN.into());
    let reply = match request {
        Ok(Request::Capture(wanted)) => return capture::serve::serve(&stream, &wanted, daemon),
        Ok(Request::Apply(documents)) => apply(&documents, &daemon.calls),
        Ok(Request::Show { what, eni, flows }) => match daemon.look() {
            Some(snapshot) => show_table(daemon, &snapshot, (what, eni.as_deref()), &flows)
                .map_or_else(Reply::Failed, Reply::Shown),
            None => gone(),
        },
        Ok(Request::Trace(probe)) => match ask(&daemon.calls, Call::Node) {
            Some(node) => node.trace(&probe).map_or_else(Reply::Failed, Reply::Traced),
            None => gone(),
        },
        Err(error) => Reply::Failed(format!("not a request: {error}")),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    stream.write_all(&text)
}

pub(super) const SHUTTING_DOWN: &str = "the daemon is shutting down";

fn apply(documents: &[Document], calls: &Sender<Call>) -> Reply {
    let model = match model::load(documents) {
        Ok(model) => model,
        Err(errors) => return Reply::Invalid(errors.0),
    };
    let applied = ask(calls, |reply| Call::Apply(Box::new(model), reply));
    applied.unwrap_or_else(|| Reply::Failed(SHUTTING_DOWN.into()))
}

/// Asks the management thread; `None` if it has gone.
/// Asks the management thread for something; `None` if it has gone.
pub(crate) fn ask<T>(calls: &Sender<Call>, call: impl FnOnce(Sender<T>) -> Call) -> Option<T> {
    let (reply, replied) = bounded(1);
    calls.send(call(reply)).ok()?;
    replied.recv().ok()
}

fn show_table(
    daemon: &Daemon,
    snapshot: &show::Snapshot,
    (what, eni): (What, Option<&str>),
    filter: &show::FlowFilter,
) -> Result<super::Table, String> {
    if eni.is_some() && !matches!(what, What::Security | What::Flows) {
        return Err("only `warren show security` and `flows` are about one ENI; name none".into());
    }
    if filter.is_stated() && what != What::Flows {
        return Err("--address, --protocol, --state, --top and --limit are for `warren show flows`".into());
    }
    Ok(match what {
        What::Security => show::security(snapshot, eni)?,
        What::Flows => show::flows(snapshot, eni, filter, |each| {
            daemon.listing.each(each).map_err(|worker| {
                format!("worker {worker} does not answer; `warren show workers` says what it does")
            })
        })?,
        What::Hosts => show::hosts(snapshot),
        What::Vpcs => show::vpcs(&snapshot.model),
        What::Subnets => show::subnets(&snapshot.model),
        What::Enis => show::enis(&snapshot.model),
        What::Routes => show::routes(snapshot),
        What::Ports => show::ports(snapshot),
        What::Services => show::services(snapshot),
        What::Gateways => show::gateways(snapshot),
        What::Multicast => show::multicast(&snapshot.model, &snapshot.joined),
        What::Bgp => show::bgp(snapshot),
        What::Connections => show::connections(snapshot),
        What::Allowances => show::allowances(snapshot),
        What::Nat => show::nat(snapshot),
        What::FlowLogs => show::flow_logs(snapshot),
        What::Workers => show::workers(snapshot),
        What::Drops => show::drops(&snapshot.port_names, &snapshot.counters, &snapshot.occupants),
        What::Stats => show::stats(&snapshot.port_names, &snapshot.counters),
    })
}
