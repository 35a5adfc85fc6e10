//! Captures over the control socket: what is asked, and the stream that answers.
//!
//! The daemon replies [`super::Reply::Capturing`], then sends [`Message`]s, each a line of JSON; behind a [`Packet`] come
//! the frame's captured bytes. The stream ends with [`Message::Ended`]: by itself, or after the client has shut down its side of the
//! connection.

pub mod client;
mod decode;
mod pcapng;
#[cfg(feature = "dpdk")]
pub(super) mod serve;

use std::{
    io::{self, BufRead},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use crate::node::capture::Direction;

/// What to capture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Where.
    pub place: Place,
    /// Packets received from there, sent there, or both.
    pub direction: Directions,
    /// An expression of pcap-filter(7); without one, all packets pass.
    pub filter: Option<String>,
    /// Of how many packets that pass the filter each worker takes one; at least 1.
    pub sample: u64,
    /// Bytes to keep of a frame.
    pub snaplen: u32,
    /// Packets after which to end.
    pub count: Option<u64>,
    /// Seconds after which to end.
    pub duration: Option<u64>,
}

/// Where to capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// At the port that an ENI is attached to.
    Eni(String),
    /// At a port.
    Port(String),
}

/// Which ways through a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Directions {
    /// In and out.
    #[default]
    Both,
    /// What the port's instance or the underlay sends.
    In,
    /// What the node sends out of the port.
    Out,
}

/// A capture that has started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Capturing {
    /// The host.
    pub host: Arc<str>,
    /// Which of the ports it is of.
    pub port: usize,
    /// All ports of the host, since packets come from and go to others.
    pub ports: Vec<Port>,
}

/// A port, as packets name it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the host file.
    pub name: Arc<str>,
    /// The ENI attached to it when the capture started.
    pub eni: Option<Arc<str>>,
}

impl Capturing {
    /// A port in words: `vm0 eni-a1`.
    fn label(&self, port: usize) -> String {
        match self.ports.get(port) {
            Some(Port { name, eni: Some(eni) }) => format!("{name} {eni}"),
            Some(Port { name, eni: None }) => name.to_string(),
            None => format!("port {port}"),
        }
    }
}

/// What comes behind [`super::Reply::Capturing`].
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// A frame, whose bytes follow.
    Packet(Packet),
    /// The capture has ended.
    Ended(Ended),
}

/// A frame that was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// When, in nanoseconds since 1970-01-01 UTC.
    pub time: u64,
    /// Tells packets apart: a packet as received and the frames that it became have the same.
    pub id: u64,
    /// At which port.
    pub port: usize,
    /// In which direction.
    pub direction: Direction,
    /// What became of it.
    pub outcome: Outcome,
    /// Its length in bytes.
    pub length: u32,
    /// How many of them follow.
    pub captured: u32,
}

/// What became of a frame, or where it came from. Ports are numbers in [`Capturing::ports`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Received, and sent out of a port.
    SentTo(usize),
    /// Received, and answered through the same port.
    Answered,
    /// Received, and given to the worker that delivers to a port.
    HandedOver(usize),
    /// Received, and given to the management thread, which answers it.
    Punted,
    /// Received, and taken in without more.
    Consumed,
    /// Dropped.
    Dropped {
        /// The reason's name.
        reason: String,
        /// The reason in a sentence.
        meaning: String,
    },
    /// Sent; received from that port, or from another worker or the node itself.
    SentFrom(Option<usize>),
}

impl Outcome {
    /// Its name for programs.
    fn name(&self) -> &'static str {
        match self {
            Self::SentTo(_) | Self::SentFrom(_) => "sent",
            Self::Answered => "answered",
            Self::HandedOver(_) => "handed_over",
            Self::Punted => "punted",
            Self::Consumed => "consumed",
            Self::Dropped { .. } => "dropped",
        }
    }

    /// In words.
    fn text(&self, capturing: &Capturing) -> String {
        match self {
            Self::SentTo(port) => format!("sent to {}", capturing.label(*port)),
            Self::Answered => "answered".into(),
            Self::HandedOver(port) => format!("handed over to the worker of {}", capturing.label(*port)),
            Self::Punted => "given to the management thread, which answers it".into(),
            Self::Consumed => "consumed".into(),
            Self::Dropped { reason, meaning } => format!("dropped, {reason}: {meaning}"),
            Self::SentFrom(Some(port)) => format!("from {}", capturing.label(*port)),
            Self::SentFrom(None) => "from another worker or the node itself".into(),
        }
    }
}

impl Packet {
    /// Where and in which direction: `in vm0 eni-a1`.
    fn place(&self, capturing: &Capturing) -> String {
        let direction = match self.direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        format!("{direction} {}", capturing.label(self.port))
    }
}

/// How a capture ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Packets captured; a packet and the frames that it became count as one.
    pub packets: u64,
    /// Frames that were to be captured, but found the ring full.
    pub lost: u64,
    /// Why, where the client didn't end it.
    pub why: Option<String>,
}

/// Sends a message; behind a [`Message::Packet`], its bytes.
#[cfg(any(feature = "dpdk", test))]
fn send(out: &mut impl io::Write, message: &Message, data: &[u8]) -> io::Result<()> {
    serde_json::to_writer(&mut *out, message)?;
    out.write_all(b"\n")?;
    out.write_all(data)
}

/// Receives a message, and the bytes behind it into `data`. `None` where the connection has ended.
fn receive(from: &mut impl BufRead, data: &mut Vec<u8>) -> io::Result<Option<Message>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let message: Message = serde_json::from_str(&line)?;
    let len = match &message {
        Message::Packet(packet) => packet.captured as usize,
        Message::Ended(_) => 0,
    };
    data.resize(len, 0);
    from.read_exact(data)?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let packet = Packet {
            time: 1,
            id: 2,
            port: 0,
            direction: Direction::In,
            outcome: Outcome::SentTo(1),
            length: 60,
            captured: 3,
        };
        let mut sent = Vec::new();
        // A newline among the bytes ends no message.
        send(&mut sent, &Message::Packet(packet.clone()), b"\n{\n").unwrap();
        send(&mut sent, &Message::Ended(Ended { packets: 1, lost: 2, why: None }), b"").unwrap();
        let (mut from, mut data) = (&sent[..], Vec::new());
        let Some(Message::Packet(received)) = receive(&mut from, &mut data).unwrap() else { panic!() };
        assert_eq!((received, &data[..]), (packet, &b"\n{\n"[..]));
        let Some(Message::Ended(ended)) = receive(&mut from, &mut data).unwrap() else { panic!() };
        assert_eq!((ended.packets, ended.lost), (1, 2));
        assert!(receive(&mut from, &mut data).unwrap().is_none());
    }

    #[test]
    fn outcomes_in_words_name_ports_with_their_enis() {
        let port = |name: &str, eni: Option<&str>| Port { name: name.into(), eni: eni.map(Into::into) };
        let capturing = Capturing {
            host: "host-a".into(),
            port: 0,
            ports: vec![port("vm0", Some("eni-a1")), port("uplink", None)],
        };
        let packet = |direction, outcome| {
            let packet = Packet { time: 0, id: 0, port: 0, direction, outcome, length: 0, captured: 0 };
            format!("{}: {}", packet.place(&capturing), packet.outcome.text(&capturing))
        };
        assert_eq!(packet(Direction::In, Outcome::SentTo(1)), "in vm0 eni-a1: sent to uplink");
        assert_eq!(packet(Direction::Out, Outcome::SentFrom(Some(1))), "out vm0 eni-a1: from uplink");
        let dropped = Outcome::Dropped { reason: "src_mac".into(), meaning: "Not its MAC.".into() };
        assert_eq!(packet(Direction::In, dropped), "in vm0 eni-a1: dropped, src_mac: Not its MAC.");
    }
}
