//! The socket that a gateway's zebra dials, and the thread that turns what it says into changes.
//!
//! The thread has the [`Rib`]: to decode a million routes, find what changed and forget what is stale takes it seconds of
//! work, none of which the management thread sees. That gets [`What::Changes`]: net changes, of which it has only to make
//! the next table. While it is busy its channel fills; then changes are gathered here, each prefix once, so that a burst
//! becomes few updates, and when there are too many zebra is made to wait by not reading. A single withdrawal is sent as
//! soon as its frame is whole.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam::channel::{Sender, TrySendError};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{Change, Rib, fpm::Frames, netlink};

/// How many changes are gathered at most before they are sent, or zebra waits: bounds memory and a table update's time.
const BATCH: usize = 64 << 10;
/// How long to read without sending what has come, while more keeps coming.
const GATHER: Duration = Duration::from_millis(20);
/// When to try again where the channel is full.
const RETRY: Duration = Duration::from_millis(2);
/// How many messages may wait for the channel before no connection is accepted any more.
const WAITING: usize = 32;

/// How to listen for a gateway's zebra.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `fpm address` in its frr.conf names. Whoever can connect can set the gateway's routes: a loopback address of
    /// a namespace that is the gateway's alone.
    pub address: SocketAddr,
    /// The network namespace of the address, such as `/run/netns/vgw-1`; this process's where there is none.
    pub namespace: Option<PathBuf>,
    /// How long routes outlive zebra; 120 s is usual.
    pub graceful: Duration,
}

/// The usual graceful-restart time, which is bgpd's too.
pub const GRACEFUL: Duration = Duration::from_secs(120);

/// What happened at a gateway.
#[derive(Clone, Debug)]
pub struct Event {
    /// The name it was started with.
    pub gateway: Arc<str>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Zebra has dialled.
    Up {
        /// From where.
        from: SocketAddr,
    },
    /// The gateway's routes are others now: to be put in force together. Never empty.
    Changes(Vec<Change>),
    /// The connection is over. Routes stay until changes say otherwise.
    Down {
        /// A sentence with the cause, and what to do where there is something.
        why: String,
    },
}

/// How an intake is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Zebra's end of the connection; `None` if there is none.
    pub peer: Option<SocketAddr>,
    /// The routes known.
    pub routes: usize,
    /// Those of them not heard since zebra went.
    pub stale: usize,
    /// Frames received.
    pub frames: u64,
    /// Why the last connection ended.
    pub last_down: Option<String>,
}

/// A gateway's listener. Dropping it ends thread and connection, without an event.
pub struct Intake {
    address: SocketAddr,
    status: Arc<Mutex<Status>>,
    /// Its other end is readable when this is gone.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Intake {
    /// Listens for the zebra of a gateway, and sends what happens there to `events`. The channel should be bounded and
    /// short (a dozen): what does not fit is gathered.
    ///
    /// # Errors
    ///
    /// That of the system: no such namespace, no right to enter it (CAP_SYS_ADMIN), no such address, or one in use.
    pub fn start(gateway: Arc<str>, settings: &Settings, events: Sender<Event>) -> io::Result<Self> {
        let listener = bind(settings)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = UnixStream::pair()?;
        let status = Arc::default();
        let worker = Worker {
            gateway,
            events,
            listener,
            stopped,
            session: None,
            rib: Rib::new(settings.graceful),
            outbox: VecDeque::new(),
            status: Arc::clone(&status),
            frames: 0,
            last_down: None,
        };
        let thread = thread::Builder::new().name("fpm".into()).spawn(move || worker.run())?;
        Ok(Self { address, status, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket stays in the namespace it was made in, so a short-lived thread makes it there.
fn bind(settings: &Settings) -> io::Result<TcpListener> {
    let address = settings.address;
    let Some(namespace) = &settings.namespace else { return TcpListener::bind(address) };
    let inside = || {
        enter(namespace)?;
        TcpListener::bind(address)
    };
    thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|_| Err(ErrorKind::Other.into())))
}

fn enter(namespace: &Path) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", namespace.display()));
    let file = File::open(namespace).map_err(named)?;
    move_into_link_name_space(rustix::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
        .map_err(|error| named(error.into()))
}

/// What the thread has.
struct Worker {
    gateway: Arc<str>,
    events: Sender<Event>,
    listener: TcpListener,
    stopped: UnixStream,
    session: Option<Session>,
    rib: Rib,
    /// What the channel has not taken yet.
    outbox: VecDeque<What>,
    status: Arc<Mutex<Status>>,
    frames: u64,
    last_down: Option<String>,
}

struct Session {
    stream: TcpStream,
    from: SocketAddr,
    frames: Frames,
}

/// Nobody wants to hear any more.
struct Stopped;

/// What there is to do.
struct Ready {
    accept: bool,
    read: bool,
}

impl Worker {
    fn run(mut self) {
        while let Ok(ready) = self.wait() {
            if ready.accept {
                self.accept();
            }
            if ready.read
                && let Err(why) = self.read()
            {
                self.down(&why);
            }
            self.rib.sweep(Instant::now());
            self.tell();
            if self.flush().is_err() {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Result<Ready, Stopped> {
        let waiting = !self.outbox.is_empty();
        let none = PollFlags::empty();
        let accept = if self.outbox.len() < WAITING { PollFlags::IN } else { none };
        let read = if waiting && self.rib.pending() >= BATCH { none } else { PollFlags::IN };
        let mut polled = vec![PollFd::new(&self.stopped, PollFlags::IN), PollFd::new(&self.listener, accept)];
        if let Some(session) = self.session.as_ref().filter(|_| !read.is_empty()) {
            polled.push(PollFd::new(&session.stream, read));
        }
        let sweep = self.rib.next_sweep().map(|sweep| sweep.saturating_duration_since(Instant::now()));
        // A millisecond more, so that it is due when it wakes up.
        let sweep = sweep.map(|sweep| sweep.saturating_add(Duration::from_millis(1)));
        let timeout = if waiting { Some(RETRY) } else { sweep };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready { accept: false, read: false }),
            Err(error) => {
                tracing::error!(gateway = %self.gateway, %error, "poll: no routes are learned any more");
                return Err(Stopped);
            }
        }
        let ready = |at: usize| polled.get(at).is_some_and(|polled| !polled.revents().is_empty());
        if ready(0) { Err(Stopped) } else { Ok(Ready { accept: ready(1), read: ready(2) }) }
    }

    /// A new connection replaces the one there is: zebra has one, so the other is dead and has not been told.
    fn accept(&mut self) {
        let accepted = self.listener.accept().and_then(|(stream, from)| {
            stream.set_nonblocking(true)?;
            Ok((stream, from))
        });
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    tracing::warn!(gateway = %self.gateway, %error, "FPM connection not accepted");
                    // Such as too many open files: not thousands of times a second.
                    thread::sleep(RETRY);
                }
                return;
            }
        };
        if self.session.is_some() {
            self.down("another connection replaced it");
        }
        tracing::info!(gateway = %self.gateway, %from, "zebra has connected");
        self.rib.connected(Instant::now());
        self.session = Some(Session { stream, from, frames: Frames::default() });
        self.send(What::Up { from });
    }

    /// Reads and applies what has come; what it says is why the connection is over.
    fn read(&mut self) -> Result<(), String> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let begin = Instant::now();
        loop {
            match session.frames.read(&mut session.stream) {
                Ok(0) if session.frames.is_cut() => return Err("zebra closed it within a frame".into()),
                Ok(0) => return Err("zebra closed it".into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            }
            while let Some(frame) = session.frames.next_frame().map_err(|error| error.to_string())? {
                self.frames += 1;
                // All messages of a frame, or none.
                self.rib.apply(netlink::updates(frame).map_err(|error| error.to_string())?);
            }
            if self.rib.pending() >= BATCH || begin.elapsed() > GATHER {
                return Ok(());
            }
        }
    }

    /// The connection is over.
    fn down(&mut self, why: &str) {
        self.session = None;
        self.rib.disconnected(Instant::now());
        // Zebra dials every three seconds, and the same fault would fill the log.
        if self.last_down.as_deref() != Some(why) {
            tracing::warn!(gateway = %self.gateway, why, stale = self.rib.len(), "zebra's connection is over");
        }
        self.last_down = Some(why.into());
        self.send(What::Down { why: why.into() });
    }

    fn send(&mut self, what: What) {
        // In the order in which it happened.
        self.gather();
        self.outbox.push_back(what);
    }

    fn gather(&mut self) {
        if self.rib.pending() > 0 {
            let changes = self.rib.take_changes();
            if !changes.is_empty() {
                self.outbox.push_back(What::Changes(changes));
            }
        }
    }

    /// Sends what the channel takes.
    fn flush(&mut self) -> Result<(), Stopped> {
        loop {
            if self.outbox.is_empty() {
                self.gather();
            }
            let Some(what) = self.outbox.pop_front() else { return Ok(()) };
            let event = Event { gateway: Arc::clone(&self.gateway), what };
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.outbox.push_front(event.what);
                    return Ok(());
                }
                Err(TrySendError::Disconnected(_)) => return Err(Stopped),
            }
        }
    }

    /// Updates what others may ask for.
    fn tell(&self) {
        let status = Status {
            peer: self.session.as_ref().map(|session| session.from),
            routes: self.rib.len(),
            stale: self.rib.stale(),
            frames: self.frames,
            last_down: self.last_down.clone(),
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

#[cfg(test)]
mod tests;
