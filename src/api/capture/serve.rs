//! A capture's end of the daemon: on the thread of its connection.

use std::{
    io::{self, BufWriter, Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{Capturing, Directions, Ended, Message, Outcome, Packet, Place, Port, Wanted, send};
use crate::{
    api::{
        Reply,
        server::{Daemon, SHUTTING_DOWN},
        show::Snapshot,
    },
    model::Id,
    node::{
        bpf,
        capture::{Record, Running, Selection, Verdict},
        clock::Clock,
    },
    packet::HEADROOM,
    tables::PortIndex,
};

/// Packets written between looks at the client and the clock.
const BATCH: usize = 256;
/// How long to wait for packets where there are none.
const PAUSE: Duration = Duration::from_millis(2);
/// How often to look whether the client has ended it.
const LOOK: Duration = Duration::from_millis(20);
/// How often to look whether the ENI is still there.
const VISIT: Duration = Duration::from_secs(1);
/// How wrong the wall-clock time of packets may become before it is corrected.
const WRONG: u64 = 1_000_000;

/// Serves a capture until it ends.
pub(in crate::api) fn serve(stream: &UnixStream, wanted: &Wanted, daemon: &Daemon) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, stream);
    let (capturing, running) = match start(wanted, daemon) {
        Ok(started) => started,
        Err(problem) => {
            serde_json::to_writer(&mut out, &Reply::Failed(problem))?;
            out.write_all(b"\n")?;
            return out.flush();
        }
    };
    let eni = capturing.ports.get(capturing.port).and_then(|port| port.eni.clone());
    serde_json::to_writer(&mut out, &Reply::Capturing(capturing.clone()))?;
    out.write_all(b"\n")?;
    out.flush()?;
    let mut writer = Writer { out, packets: 0, wall: WallClock::new(daemon.clock) };
    let ends = wanted.duration.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (mut look, mut visit) = (Instant::now(), Instant::now() + VISIT);
    let why = loop {
        let written = writer.write(&running, wanted.count.unwrap_or(u64::MAX))?;
        let now = Instant::now();
        if wanted.count.is_some_and(|count| writer.packets >= count) {
            break Some("--count reached".into());
        } else if ends.is_some_and(|ends| now >= ends) {
            break Some("--duration is over".into());
        } else if written < BATCH || now >= look {
            if has_left(stream)? {
                break None;
            }
            look = now + LOOK;
        }
        if now >= visit {
            visit = now + VISIT;
            writer.wall.correct();
            if let (Place::Eni(_), Some(eni)) = (&wanted.place, &eni)
                && let Some(problem) = gone(daemon, capturing.port, eni)
            {
                break Some(problem);
            }
        }
    };
    running.stop();
    while writer.write(&running, wanted.count.unwrap_or(u64::MAX))? == BATCH {}
    let ended = Ended { packets: writer.packets, lost: running.lost(), why };
    send(&mut writer.out, &Message::Ended(ended), &[])?;
    writer.out.flush()
}

fn start(wanted: &Wanted, daemon: &Daemon) -> Result<(Capturing, Running), String> {
    let snapshot = daemon.look().ok_or(SHUTTING_DOWN)?;
    let port = find(&wanted.place, &snapshot)?;
    let longest = snapshot.devices.iter().map(|device| usize::from(device.mtu)).max().unwrap_or(0) + HEADROOM;
    let selection = Selection {
        port: PortIndex(port as u16),
        incoming: wanted.direction != Directions::Out,
        outgoing: wanted.direction != Directions::In,
        every: wanted.sample.max(1),
        snaplen: longest.min(wanted.snaplen as usize),
    };
    let filter = || match &wanted.filter {
        Some(expression) => bpf::compile(expression).map(Some).map_err(|problem| {
            format!("--filter '{expression}': {problem}; pcap-filter(7) describes what it may say")
        }),
        None => Ok(None),
    };
    let running = daemon.captures.start(selection, filter)?;
    let enis = snapshot.occupants.iter().map(|occupant| occupant.as_ref().map(|(eni, _)| Arc::clone(eni)));
    let ports = snapshot.port_names.iter().zip(enis);
    let ports = ports.map(|(name, eni)| Port { name: Arc::clone(name), eni }).collect();
    Ok((Capturing { host: Arc::clone(&snapshot.host), port, ports }, running))
}

/// The port that is meant.
fn find(place: &Place, snapshot: &Snapshot) -> Result<usize, String> {
    let names = &snapshot.port_names;
    match place {
        Place::Port(wanted) => names.iter().position(|name| **name == **wanted).ok_or_else(|| {
            let names: Vec<_> = names.iter().map(|name| &**name).collect();
            format!("--port {wanted}: `{}` has no such port; it has {}", snapshot.host, names.join(", "))
        }),
        Place::Eni(wanted) => {
            let here = |occupant: &Option<(Id, Id)>| matches!(occupant, Some((eni, _)) if **eni == **wanted);
            snapshot.occupants.iter().position(here).ok_or_else(|| {
                let eni = snapshot.model.enis.get(wanted.as_str());
                match eni.map(|eni| &eni.attachment) {
                    Some(Some(at)) => {
                        format!("--eni {wanted}: it is attached to host `{}`: capture there", at.host)
                    }
                    Some(None) => format!("--eni {wanted}: it is attached to no host"),
                    None => {
                        format!("--eni {wanted}: the state has no such ENI; `warren show enis` lists them")
                    }
                }
            })
        }
    }
}

/// Says so, if the ENI is not behind the port any more.
fn gone(daemon: &Daemon, port: usize, eni: &str) -> Option<String> {
    let snapshot = daemon.look()?;
    let still = snapshot.occupants.get(port)?.as_ref().is_some_and(|(occupant, _)| **occupant == *eni);
    (!still)
        .then(|| format!("{eni} has left {}", snapshot.port_names.get(port).map_or("its port", |name| name)))
}

/// Waits a little for the client to end it.
fn has_left(mut stream: &UnixStream) -> io::Result<bool> {
    stream.set_read_timeout(Some(PAUSE))?;
    match stream.read(&mut [0]) {
        Ok(read) => Ok(read == 0),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(false),
            _ => Err(error),
        },
    }
}

struct Writer<W> {
    out: W,
    packets: u64,
    wall: WallClock,
}

impl<W: Write> Writer<W> {
    /// Writes what there is, but no more than a batch nor, in all, `most` packets. Returns how many packets it was.
    fn write(&mut self, running: &Running, most: u64) -> io::Result<usize> {
        let mut written = 0;
        while written < BATCH
            && self.packets < most
            && let Some(record) = running.next()
        {
            written += 1;
            self.packets += 1;
            let mut next = Some(&record);
            while let Some(record) = next {
                let packet = Message::Packet(self.packet(record));
                send(&mut self.out, &packet, record.data())?;
                next = record.after.as_ref();
            }
            running.recycle(record);
        }
        self.out.flush()?;
        Ok(written)
    }

    fn packet(&self, record: &Record) -> Packet {
        let port = |port: PortIndex| usize::from(port.0);
        let outcome = match record.verdict {
            Verdict::Sent(to) => Outcome::SentTo(port(to)),
            Verdict::Answered => Outcome::Answered,
            Verdict::HandedOver(to) => Outcome::HandedOver(port(to)),
            Verdict::Punted => Outcome::Punted,
            Verdict::Consumed => Outcome::Consumed,
            Verdict::Dropped(reason) => {
                Outcome::Dropped { reason: reason.name().into(), meaning: reason.help().into() }
            }
            Verdict::From(from) => Outcome::SentFrom(from.map(port)),
        };
        Packet {
            time: self.wall.at(record.time),
            id: self.packets,
            port: port(record.port),
            direction: record.direction,
            outcome,
            length: record.length as u32,
            captured: record.data().len() as u32,
        }
    }
}

/// Turns a worker's time into that of the day. The node's clock goes a little wrong over days, so it is compared now and then.
struct WallClock {
    clock: Clock,
    /// The node's start, in nanoseconds since 1970-01-01 UTC.
    start: u64,
}

impl WallClock {
    fn new(clock: Clock) -> Self {
        Self { clock, start: Self::start(clock) }
    }

    fn start(clock: Clock) -> u64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        wall.saturating_sub(clock.now().time).as_nanos() as u64
    }

    /// Not for less than [`WRONG`], so that times stay in order.
    fn correct(&mut self) {
        let start = Self::start(self.clock);
        if start.abs_diff(self.start) > WRONG {
            self.start = start;
        }
    }

    fn at(&self, time: Duration) -> u64 {
        self.start.saturating_add(time.as_nanos() as u64)
    }
}
