//! Learned routes from host to host: the host with a gateway's FRR tells, the others follow.
//!
//! Lines of JSON over TCP: first every route, then `"replayed"`, then each change as it comes. A route names the circuits
//! that it leads over, which every host knows from the state, so no next hop of another host's links has to be
//! understood elsewhere. A host tells only what its own FRRs have learned, never what it heard from others: no loops.
//!
//! What a host told outlives the connection for the restart time, as with zebra ([`super::Rib`]).

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufWriter, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, Sender, bounded};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Change, Rib, Routes, Update};

/// The ids of the circuits that a route leads over, sorted; none of a blackhole.
pub type Circuits = Arc<[Arc<str>]>;

/// Lines that wait for a follower. One that is slower has to begin anew.
const WAITING: usize = 1 << 16;
/// How long a follower may take to read, and how long another host to connect.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often threads look whether they are to end, or something is stale.
const GLANCE: Duration = Duration::from_millis(100);
/// Time between attempts to connect.
const RETRY: Duration = Duration::from_secs(1);
/// The longest line: a route has at most 32 circuits.
const LONGEST: usize = 64 << 10;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    /// A gateway has a route now.
    Route {
        /// The gateway.
        gateway: Arc<str>,
        /// The destination.
        prefix: IpNet,
        /// The circuits.
        circuits: Circuits,
    },
    /// A gateway has no route to a destination any more.
    Withdrawn {
        /// The gateway.
        gateway: Arc<str>,
        /// The destination.
        prefix: IpNet,
    },
    /// That was all there is; changes follow.
    Replayed,
}

impl Line {
    fn text(&self) -> Arc<str> {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text.into()
    }
}

/// What a host tells.
#[derive(Default)]
struct Told {
    routes: BTreeMap<Arc<str>, Routes<Circuits>>,
    followers: Vec<Sender<Arc<str>>>,
}

/// The socket at which a host tells others what it has learned. Dropping it ends all connections.
pub struct Feed {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Listens.
    ///
    /// # Errors
    ///
    /// That of the system: no such address, or one in use.
    pub fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (told, stop) = (Arc::<Mutex<Told>>::default(), Arc::<AtomicBool>::default());
        let (shared, stopped) = (Arc::clone(&told), Arc::clone(&stop));
        let accept = move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, from)) => serve(stream, from, &shared),
                    Err(error) => {
                        if error.kind() != ErrorKind::WouldBlock {
                            tracing::warn!(%error, "connection of a follower not accepted");
                        }
                        thread::sleep(GLANCE);
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("feed".into()).spawn(accept)?;
        Ok(Self { address, told, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells that a gateway has these routes now, or none. What is not new is not told again.
    pub fn tell(&self, gateway: &Arc<str>, changes: impl IntoIterator<Item = (IpNet, Option<Circuits>)>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Told { routes, followers } = &mut *told;
        let routes = routes.entry(Arc::clone(gateway)).or_default();
        for (prefix, circuits) in changes {
            if routes.set(prefix, circuits.clone()) && !followers.is_empty() {
                let gateway = Arc::clone(gateway);
                let line = match circuits {
                    Some(circuits) => Line::Route { gateway, prefix, circuits },
                    None => Line::Withdrawn { gateway, prefix },
                };
                let text = line.text();
                followers.retain(|follower| follower.try_send(Arc::clone(&text)).is_ok());
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).followers.clear();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves a follower, in a thread of its own that ends with the connection.
fn serve(stream: TcpStream, from: SocketAddr, told: &Mutex<Told>) {
    let (sender, lines) = bounded(WAITING);
    let replay = {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.followers.push(sender);
        told.routes.clone()
    };
    let send = move || {
        if let Err(error) = send(&stream, replay, &lines) {
            tracing::info!(%from, %error, "a follower of learned routes is gone");
        }
        let _ = stream.shutdown(Shutdown::Both);
    };
    if let Err(error) = thread::Builder::new().name("feed-follower".into()).spawn(send) {
        tracing::warn!(%from, %error, "a follower of learned routes has no thread");
    }
}

fn send(
    stream: &TcpStream,
    replay: BTreeMap<Arc<str>, Routes<Circuits>>,
    lines: &Receiver<Arc<str>>,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = BufWriter::with_capacity(1 << 16, stream);
    for (gateway, routes) in replay {
        for (prefix, circuits) in routes.iter() {
            let (gateway, circuits) = (Arc::clone(&gateway), Arc::clone(circuits));
            let line = Line::Route { gateway, prefix, circuits };
            stream.write_all(line.text().as_bytes())?;
        }
    }
    stream.write_all(Line::Replayed.text().as_bytes())?;
    stream.flush()?;
    // An end of the channel: the host stops, or the follower was too slow.
    while let Ok(line) = lines.recv() {
        stream.write_all(line.as_bytes())?;
        while let Ok(line) = lines.try_recv() {
            stream.write_all(line.as_bytes())?;
        }
        stream.flush()?;
    }
    Ok(())
}

/// What happened at a host that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The host.
    pub host: SocketAddr,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The connection is there.
    Up,
    /// The gateway's routes from there are others now: to be put in force together. Never empty.
    Changes(Arc<str>, Vec<Change<Circuits>>),
    /// The connection is over, and why. Routes stay until changes say otherwise.
    Down(String),
}

/// How following a host is going.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether there is a connection.
    pub connected: bool,
    /// By gateway: the routes known, and those of them not heard since the connection.
    pub gateways: BTreeMap<Arc<str>, (usize, usize)>,
    /// Why the last connection ended, or could not be made.
    pub last_down: Option<String>,
}

/// Follows a host. Dropping it ends thread and connection, without an event.
pub struct Follower {
    host: SocketAddr,
    status: Arc<Mutex<Status>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Follows `host`, and sends what happens there to `events`, a bounded channel: what does not fit is gathered. What was
    /// told outlives a connection by `restart_time`.
    ///
    /// # Errors
    ///
    /// That of the system: no thread.
    pub fn start(host: SocketAddr, restart_time: Duration, events: Sender<Event>) -> io::Result<Self> {
        let (status, stop) = (Arc::<Mutex<Status>>::default(), Arc::<AtomicBool>::default());
        let following = Following {
            host,
            restart_time,
            events,
            status: Arc::clone(&status),
            stop: Arc::clone(&stop),
            ribs: HashMap::new(),
            connected: false,
            last_down: None,
        };
        let thread = thread::Builder::new().name("follow".into()).spawn(move || following.run())?;
        Ok(Self { host, status, stop, thread: Some(thread) })
    }

    /// The host.
    pub fn host(&self) -> SocketAddr {
        self.host
    }

    /// How it is going.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Following {
    host: SocketAddr,
    restart_time: Duration,
    events: Sender<Event>,
    status: Arc<Mutex<Status>>,
    stop: Arc<AtomicBool>,
    ribs: HashMap<Arc<str>, Rib<Circuits>>,
    connected: bool,
    last_down: Option<String>,
}

impl Following {
    fn run(mut self) {
        let mut next_attempt = Instant::now();
        while !self.stopped() {
            if Instant::now() < next_attempt {
                self.glance();
                thread::sleep(GLANCE);
                continue;
            }
            let Err(why) = self.session() else { return };
            self.down(why);
            next_attempt = Instant::now() + RETRY;
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn down(&mut self, why: String) {
        if self.connected {
            self.connected = false;
            let now = Instant::now();
            self.ribs.values_mut().for_each(|rib| rib.disconnected(now));
            self.send(What::Down(why.clone()));
        }
        // An attempt a second would fill the log.
        if self.last_down.as_ref() != Some(&why) {
            tracing::warn!(host = %self.host, why, "no learned routes from a host that is followed");
        }
        self.last_down = Some(why);
    }

    /// A connection; ends well only when the thread is to end.
    fn session(&mut self) -> Result<(), String> {
        let mut stream =
            TcpStream::connect_timeout(&self.host, PATIENCE).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(GLANCE)).map_err(|error| error.to_string())?;
        self.connected = true;
        let now = Instant::now();
        self.ribs.values_mut().for_each(|rib| rib.connected(now));
        tracing::info!(host = %self.host, "following its learned routes");
        self.send(What::Up);
        let mut text = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        while !self.stopped() {
            match stream.read(&mut chunk) {
                Ok(0) => return Err("the host closed the connection".into()),
                Ok(read) => {
                    text.extend_from_slice(chunk.get(..read).unwrap_or_default());
                    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
                    for line in text.get(..whole).unwrap_or_default().split(|&byte| byte == b'\n') {
                        self.take(line)?;
                    }
                    text.drain(..whole);
                    if text.len() > LONGEST {
                        return Err(format!("a line of more than {LONGEST} bytes: is {} a feed?", self.host));
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
            self.glance();
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        let line = serde_json::from_slice(line)
            .map_err(|error| format!("not a line of a feed: {error}; do both hosts run the same version?"))?;
        let (gateway, prefix, path) = match line {
            Line::Route { gateway, prefix, circuits } => (gateway, prefix, Some(circuits)),
            Line::Withdrawn { gateway, prefix } => (gateway, prefix, None),
            Line::Replayed => return Ok(()),
        };
        let rib = self.ribs.entry(gateway).or_insert_with(|| {
            let mut rib = Rib::new(self.restart_time);
            rib.connected(Instant::now());
            rib
        });
        rib.apply([Update { prefix: prefix.trunc(), path }]);
        Ok(())
    }

    /// Forgets what is stale, and says what is new.
    fn glance(&mut self) {
        let now = Instant::now();
        let mut changes = Vec::new();
        for (gateway, rib) in &mut self.ribs {
            rib.sweep(now);
            // While nobody takes them, they are gathered.
            if rib.pending() > 0 && !self.events.is_full() {
                changes.push((Arc::clone(gateway), rib.take_changes()));
            }
        }
        for (gateway, changes) in changes.into_iter().filter(|(_, changes)| !changes.is_empty()) {
            self.send(What::Changes(gateway, changes));
        }
        let known =
            |(gateway, rib): (&Arc<str>, &Rib<Circuits>)| (Arc::clone(gateway), (rib.len(), rib.stale()));
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Status {
            connected: self.connected,
            gateways: self.ribs.iter().map(known).collect(),
            last_down: self.last_down.clone(),
        };
    }

    fn send(&self, what: What) {
        let mut event = Event { host: self.host, what };
        while let Err(crossbeam::channel::SendTimeoutError::Timeout(back)) =
            self.events.send_timeout(event, GLANCE)
        {
            if self.stopped() {
                return;
            }
            event = back;
        }
    }
}

#[cfg(test)]
mod tests;
