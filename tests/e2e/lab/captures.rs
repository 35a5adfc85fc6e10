//! Captures, written and read.

use std::{
    borrow::Cow,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use warren::packet::{nd, parse};

use super::{packets::Frame, tool};

/// Writes frames that come a millisecond apart.
pub fn write(path: &Path, frames: &[Frame]) {
    let timed = |(frame, n): (&Frame, u64)| (Duration::from_millis(1000 + n), frame.clone());
    write_timed(path, &frames.iter().zip(0..).map(timed).collect::<Vec<_>>());
}

/// Writes frames with their times.
pub fn write_timed(path: &Path, frames: &[(Duration, Frame)]) {
    let mut writer = PcapWriter::new(File::create(path).unwrap()).unwrap();
    for (time, frame) in frames {
        writer.write_packet(&PcapPacket::new(*time, frame.len() as u32, frame)).unwrap();
    }
}

/// The frames of a capture with their times.
#[track_caller]
pub fn read_timed(path: &Path) -> Vec<(Duration, Frame)> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = PcapReader::new(file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let PcapPacket { timestamp, data, .. } = packet.unwrap();
        frames.push((timestamp, Cow::into_owned(data)));
    }
    frames
}

/// The frames of a capture.
#[track_caller]
pub fn read(path: &Path) -> Vec<Frame> {
    read_timed(path).into_iter().map(|(_, frame)| frame).collect()
}

/// The frames of a capture with their times, but for the router advertisements that a node sends by itself (L2-20).
#[track_caller]
pub fn read_timed_answers(path: &Path) -> Vec<(Duration, Frame)> {
    let mut frames = read_timed(path);
    frames.retain(|(_, frame)| !is_router_advertisement(frame));
    frames
}

/// Whether a frame is a router advertisement.
pub fn is_router_advertisement(frame: &[u8]) -> bool {
    let message = parse(frame).and_then(|headers| nd::parse(frame, &headers));
    message == Ok(nd::Message::RouterAdvertisement)
}

/// What tshark says about fields of every frame of a capture: a line a frame, a column a field, several values of one
/// field with commas between them.
#[track_caller]
pub fn dissect(path: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let tshark: PathBuf = tool("tshark", "tshark");
    let mut command = std::process::Command::new(tshark);
    command.arg("-r").arg(path).args(["-T", "fields", "-E", "occurrence=a"]);
    // A checksum of zero is not one that is wrong.
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let text = super::run(&mut command).ok();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
