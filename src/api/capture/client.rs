//! Asking a running daemon for a capture, and printing or writing it.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
};

use serde_json::json;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{Capturing, Ended, Message, Outcome, Packet, Place, Wanted, decode::decode, pcapng, receive};
use crate::{
    api::{Reply, Request, client},
    time,
};

/// Where a capture goes.
#[derive(Clone, Debug)]
pub enum To {
    /// A line a frame, to standard output.
    Text,
    /// A JSON object a line and frame, to standard output.
    Json,
    /// A pcapng file; `-` is standard output.
    File(PathBuf),
}

/// Captures until the daemon, its limits or Ctrl-C end it. What was captured, and what was lost, is said on standard error.
///
/// # Errors
///
/// A sentence: no daemon listens there, it refused, or it went away; or the file cannot be written.
pub fn run(socket: &Path, wanted: &Wanted, to: &To) -> Result<(), String> {
    // Before the connection, so that from then on no signal ends this process without a summary.
    let signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| error.to_string())?;
    let stream = client::send(socket, &Request::Capture(wanted.clone()))?;
    let mut from = BufReader::with_capacity(1 << 16, stream.try_clone().map_err(|error| error.to_string())?);
    let capturing = match client::reply(socket, &mut from)? {
        Reply::Capturing(capturing) => capturing,
        Reply::Failed(problem) => return Err(format!("not captured: {problem}")),
        _ => return Err(format!("{}: not the reply to a capture", socket.display())),
    };
    let name = match to {
        To::File(path) => path.display().to_string(),
        To::Text | To::Json => "standard output".into(),
    };
    let out: Box<dyn Write> = match to {
        To::File(path) if path.as_os_str() != "-" => {
            Box::new(fs::File::create(path).map_err(|error| format!("{name}: {error}"))?)
        }
        _ => Box::new(io::stdout()),
    };
    end_on(signals, &stream)?;
    let moves = match &wanted.place {
        Place::Eni(_) => ", until it leaves that port",
        Place::Port(_) => "",
    };
    eprintln!("capturing at {} of {}{moves}; Ctrl-C ends", capturing.label(capturing.port), capturing.host);
    let copied = Printer::new(BufWriter::with_capacity(1 << 16, out), to, &capturing, wanted)
        .and_then(|mut printer| printer.copy(&mut from));
    match copied {
        Ok(Some(ended)) => {
            eprintln!("{}", summary(&ended));
            Ok(())
        }
        Ok(None) => Err(format!("{}: the daemon ended before the capture did", socket.display())),
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Asks the daemon to end the capture at the first signal, and waits for nothing more at the second.
fn end_on(mut signals: Signals, stream: &UnixStream) -> Result<(), String> {
    let stream = stream.try_clone().map_err(|error| error.to_string())?;
    let wait = move || {
        for how in [Shutdown::Write, Shutdown::Both] {
            if signals.forever().next().is_some() {
                // If the connection has ended, so has what waits for it.
                let _ = stream.shutdown(how);
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop).map_err(|error| error.to_string())
}

fn summary(ended: &Ended) -> String {
    let Ended { packets, lost, why } = ended;
    let why = why.as_ref().map(|why| format!("; ended: {why}")).unwrap_or_default();
    let advice = if *lost > 0 { " (more than could be written: narrow --filter, or --sample)" } else { "" };
    format!("{packets} packets captured, {lost} frames lost{advice}{why}")
}

/// Puts frames out.
struct Printer<'a, W: Write> {
    capturing: &'a Capturing,
    out: Out<W>,
}

enum Out<W: Write> {
    Text(W),
    Json(W),
    File(pcapng::File<W>),
}

impl<'a, W: Write> Printer<'a, W> {
    fn new(to: W, form: &To, capturing: &'a Capturing, wanted: &Wanted) -> io::Result<Self> {
        let out = match form {
            To::Text => Out::Text(to),
            To::Json => Out::Json(to),
            To::File(_) => Out::File(pcapng::File::new(to, capturing, wanted)?),
        };
        Ok(Self { capturing, out })
    }

    /// Copies all there is; whoever reads the output sees a packet when no other is about to come. Returns how it ended, or
    /// `None` where the daemon left.
    fn copy(&mut self, from: &mut BufReader<impl io::Read>) -> io::Result<Option<Ended>> {
        let mut data = Vec::new();
        loop {
            if from.buffer().is_empty() {
                self.flush()?;
            }
            match receive(from, &mut data)? {
                Some(Message::Packet(packet)) => self.packet(&packet, &data)?,
                Some(Message::Ended(ended)) => {
                    match &mut self.out {
                        Out::File(file) => file.finish(&ended)?,
                        Out::Text(_) | Out::Json(_) => self.flush()?,
                    }
                    return Ok(Some(ended));
                }
                None => return self.flush().map(|()| None),
            }
        }
    }

    fn packet(&mut self, packet: &Packet, data: &[u8]) -> io::Result<()> {
        let capturing = self.capturing;
        let decoded = || decode(data, packet.length as usize);
        match &mut self.out {
            Out::Text(out) => {
                let (time, place) = (time::of_day(packet.time), packet.place(capturing));
                writeln!(out, "{time} {place}  {}  {}", decoded(), packet.outcome.text(capturing))
            }
            Out::Json(out) => {
                let port = capturing.ports.get(packet.port);
                let other = |port: &usize| capturing.ports.get(*port).map(|port| &port.name);
                let (reason, meaning) = match &packet.outcome {
                    Outcome::Dropped { reason, meaning } => (Some(reason), Some(meaning)),
                    _ => (None, None),
                };
                let (to, from) = match &packet.outcome {
                    Outcome::SentTo(to) | Outcome::HandedOver(to) => (other(to), None),
                    Outcome::SentFrom(from) => (None, from.as_ref().and_then(other)),
                    _ => (None, None),
                };
                let line = json!({
                    "time": time::rfc3339(packet.time),
                    "id": packet.id,
                    "direction": packet.direction,
                    "port": port.map(|port| &port.name),
                    "eni": port.and_then(|port| port.eni.as_ref()),
                    "length": packet.length,
                    "frame": decoded(),
                    "verdict": packet.outcome.name(),
                    "to": to,
                    "from": from,
                    "reason": reason,
                    "meaning": meaning,
                });
                writeln!(out, "{line}")
            }
            Out::File(file) => file.packet(capturing, packet, data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Text(out) | Out::Json(out) => out.flush(),
            Out::File(file) => file.flush(),
        }
    }
}
