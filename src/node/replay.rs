//! Captures through the pipeline: no DPDK, no root, the captures' own timestamps as the clock.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use pcap_file::{
    DataLink, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter},
    pcapng::{Block, PcapNgReader, blocks::interface_description::InterfaceDescriptionOption},
};

use super::{
    chores::Chores,
    config::HostConfig,
    manager::Manager,
    worker::{Plan, Receive, Transmit, Worker, WorkerCounters},
};
use crate::{
    flow::Connections,
    gateway::Flows,
    model::Model,
    packet::{Buffer, HeapBuffer, Mac},
    pipeline::Burst,
    tables::PortIndex,
};

/// A capture to feed to a port.
#[derive(Clone, Debug)]
pub struct Input {
    /// The port's name in the host file.
    pub port: String,
    /// The capture, pcap or pcapng.
    pub file: PathBuf,
}

/// What a replay saw.
pub struct Replayed {
    /// The node's counters.
    pub counters: Arc<WorkerCounters>,
    /// Packets fed.
    pub packets: u64,
}

/// The MAC of an uplink whose host file states none: the device's own isn't known here.
pub fn stand_in_mac(port: PortIndex) -> Mac {
    let [high, low] = port.0.to_be_bytes();
    Mac([0x02, 0x57, 0x52, 0x4e, high, low])
}

/// Feeds captures to the ports of a node in time order, each packet in a round of its own, and writes what each port would
/// send to `DIR/PORT.pcap`.
///
/// # Errors
///
/// A sentence about the first thing that is wrong: a port or file that does not exist, a capture that is none, or is not of
/// Ethernet frames, a host file and a state that don't fit.
pub fn replay(config: &HostConfig, model: Model, inputs: &[Input], out: &Path) -> Result<Replayed, String> {
    let mut captures = Vec::new();
    for input in inputs {
        let port = config.port(&input.port).ok_or_else(|| {
            let known: Vec<_> = config.ports.iter().map(|port| &*port.name).collect();
            format!(
                "--in {}={}: the host file has no such port; it has {}",
                input.port,
                input.file.display(),
                known.join(", ")
            )
        })?;
        captures.push((port, Capture::open(&input.file)?));
    }
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let clock = Rc::new(RefCell::new(Duration::ZERO));
    let mut writers = Vec::new();
    for port in &config.ports {
        writers.push(Writer::create(&out.join(format!("{}.pcap", port.name)), Rc::clone(&clock))?);
    }
    let (mut manager, mut readers) =
        Manager::new(config, config.site(stand_in_mac), model, 1).map_err(|problems| problems.join("\n"))?;
    let reader = readers.pop().ok_or("no reader")?;
    let plan = Arc::new(Plan::new(vec![0; config.ports.len()].into(), 1));
    let counters = Arc::new(WorkerCounters::new(config.ports.len()));
    let feeds: Vec<Feed> = config.ports.iter().map(|_| Feed::default()).collect();
    let queues = feeds.iter().zip(0..).map(|(feed, index)| (PortIndex(index), feed.clone())).collect();
    let outputs = writers.iter().map(|writer| Some(writer.clone()));
    let mut worker = Worker::new(
        0,
        queues,
        outputs,
        Arc::clone(&plan),
        reader,
        Arc::clone(&counters),
        config.workers.burst,
    )
    .with_flows(Flows::new(config.bindings))
    .with_connections(Connections::new(config.workers.connections));

    let mut packets = 0;
    while let Some((port, time, frame)) = next(&mut captures)? {
        *clock.borrow_mut() = time;
        let mut chores = Chores {
            plan: &plan,
            manager: &mut manager,
            counters: &counters.ports,
            frame: |frame: &[u8]| Some(HeapBuffer::new(frame)),
        };
        chores.tick(time);
        if let Some(feed) = feeds.get(usize::from(port.0)) {
            feed.0.borrow_mut().push(HeapBuffer::new(&frame));
        }
        worker.round(time);
        // The answers leave at once too, also behind the last packet.
        if chores.attend(time) {
            worker.round(time);
        }
        manager.collect();
        packets += 1;
    }
    for writer in &writers {
        writer.finish()?;
    }
    Ok(Replayed { counters, packets })
}

/// A frame of a capture, the first of which is number 1.
///
/// # Errors
///
/// A sentence: the capture is none, or has fewer frames.
pub fn read_frame(file: &Path, number: usize) -> Result<Vec<u8>, String> {
    let mut capture = Capture::open(file)?;
    for read in 0..number {
        capture.next = None;
        capture.peek()?;
        if capture.next.is_none() {
            return Err(format!("{}: {read} frames, so that there is no number {number}", file.display()));
        }
    }
    let frame = capture.next.map(|(_, frame)| frame);
    frame.ok_or_else(|| format!("{}: frames are counted from 1", file.display()))
}

/// The earliest packet of all captures; of two of the same time, that of the earlier `--in`.
fn next(captures: &mut [(PortIndex, Capture)]) -> Result<Option<(PortIndex, Duration, Vec<u8>)>, String> {
    for (_, capture) in captures.iter_mut() {
        capture.peek()?;
    }
    let times = captures
        .iter()
        .enumerate()
        .filter_map(|(index, (_, capture))| Some((capture.next.as_ref()?.0, index)));
    let Some((_, index)) = times.min() else { return Ok(None) };
    let earliest = captures.get_mut(index).and_then(|(port, capture)| Some((*port, capture.next.take()?)));
    Ok(earliest.map(|(port, (time, frame))| (port, time, frame)))
}

/// What a worker receives in the coming round.
#[derive(Clone, Default)]
struct Feed(Rc<RefCell<Burst<HeapBuffer>>>);

impl Receive<HeapBuffer> for Feed {
    fn receive(&mut self, burst: &mut Burst<HeapBuffer>, _most: usize) {
        burst.extend(self.0.borrow_mut().drain(..));
    }
}

enum Format {
    Pcap(PcapReader<BufReader<File>>),
    PcapNg(PcapNgReader<BufReader<File>>),
}

/// A capture being read.
struct Capture {
    file: PathBuf,
    format: Format,
    next: Option<(Duration, Vec<u8>)>,
    ended: bool,
}

/// The first four bytes of a pcapng file, in either byte order.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

impl Capture {
    fn open(path: &Path) -> Result<Self, String> {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut file = File::open(path).map_err(|error| fail(&error))?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)
            .map_err(|_| fail(&"neither pcap nor pcapng: shorter than a file header"))?;
        file.rewind().map_err(|error| fail(&error))?;
        let file = BufReader::with_capacity(1 << 20, file);
        let format = if magic == PCAPNG_MAGIC {
            Format::PcapNg(PcapNgReader::new(file).map_err(|error| fail(&error))?)
        } else {
            let reader = PcapReader::new(file).map_err(|_| fail(&"neither pcap nor pcapng"))?;
            if reader.header().datalink != DataLink::ETHERNET {
                return Err(fail(&format!(
                    "a capture of {:?}, not of Ethernet frames",
                    reader.header().datalink
                )));
            }
            Format::Pcap(reader)
        };
        Ok(Self { file: path.to_owned(), format, next: None, ended: false })
    }

    /// Makes `next` the next packet, unless it is that already or there is none.
    fn peek(&mut self) -> Result<(), String> {
        if self.next.is_none() && !self.ended {
            self.next = self.read().map_err(|error| format!("{}: {error}", self.file.display()))?;
            self.ended = self.next.is_none();
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<(Duration, Vec<u8>)>, String> {
        match &mut self.format {
            Format::Pcap(reader) => match reader.next_packet() {
                None => Ok(None),
                Some(Ok(packet)) => Ok(Some((packet.timestamp, packet.data.into_owned()))),
                Some(Err(error)) => Err(error.to_string()),
            },
            Format::PcapNg(reader) => loop {
                let (interface, ticks, frame) = match reader.next_block() {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(error.to_string()),
                    Some(Ok(Block::EnhancedPacket(packet))) => {
                        // The crate takes the ticks, whatever they are, for nanoseconds.
                        (packet.interface_id, packet.timestamp.as_nanos(), packet.data.into_owned())
                    }
                    Some(Ok(_)) => continue,
                };
                let interface = reader
                    .interfaces()
                    .get(interface as usize)
                    .ok_or("a packet of an interface that it does not describe")?;
                if interface.linktype != DataLink::ETHERNET {
                    return Err(format!("an interface of {:?}, not of Ethernet frames", interface.linktype));
                }
                let resolution = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
                    _ => None,
                });
                return Ok(Some((from_ticks(ticks, resolution.unwrap_or(MICROSECONDS)), frame)));
            },
        }
    }
}

/// The `if_tsresol` of an interface that states none (draft-ietf-opsawg-pcapng §4.2).
const MICROSECONDS: u8 = 6;

/// A time in units of 10^-n seconds, or 2^-n where the resolution's upper bit is set (draft-ietf-opsawg-pcapng §4.2).
fn from_ticks(ticks: u128, resolution: u8) -> Duration {
    const NANOS: u128 = 1_000_000_000;
    let exponent = u32::from(resolution & 0x7f);
    let per_second =
        if resolution & 0x80 == 0 { 10_u128.checked_pow(exponent) } else { 1_u128.checked_shl(exponent) };
    let per_second = per_second.filter(|&units| units != 0).unwrap_or(u128::MAX);
    let nanos = ticks % per_second * NANOS / per_second;
    Duration::new((ticks / per_second) as u64, nanos as u32)
}

/// A capture being written.
#[derive(Clone)]
struct Writer {
    file: Rc<PathBuf>,
    clock: Rc<RefCell<Duration>>,
    state: Rc<RefCell<Result<PcapWriter<BufWriter<File>>, String>>>,
}

impl Writer {
    fn create(path: &Path, clock: Rc<RefCell<Duration>>) -> Result<Self, String> {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = BufWriter::new(File::create(path).map_err(|error| fail(&error))?);
        let header = PcapHeader { ts_resolution: TsResolution::NanoSecond, ..PcapHeader::default() };
        let writer = PcapWriter::with_header(file, header).map_err(|error| fail(&error))?;
        Ok(Self { file: Rc::new(path.to_owned()), clock, state: Rc::new(RefCell::new(Ok(writer))) })
    }

    /// Flushes, and reports what went wrong on the way.
    fn finish(&self) -> Result<(), String> {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", self.file.display());
        let state = self.state.replace(Err("already finished".into()));
        state.map_err(|error| fail(&error))?.into_writer().flush().map_err(|error| fail(&error))
    }
}

impl Transmit<HeapBuffer> for Writer {
    fn transmit(&mut self, burst: &mut Burst<HeapBuffer>) {
        let time = *self.clock.borrow();
        for frame in burst.drain(..) {
            let mut state = self.state.borrow_mut();
            let Ok(writer) = &mut *state else { return };
            let frame = frame.data();
            let packet = PcapPacket::new(time, frame.len() as u32, frame);
            if let Err(error) = writer.write_packet(&packet) {
                *state = Err(error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcapng_ticks_are_of_the_interfaces_resolution() {
        assert_eq!(from_ticks(1_500_000, 6), Duration::from_millis(1500));
        assert_eq!(from_ticks(1_500_000_007, 9), Duration::new(1, 500_000_007));
        assert_eq!(from_ticks(3 << 9, 0x80 | 10), Duration::from_millis(1500));
        assert_eq!(from_ticks(7, 127), Duration::ZERO);
    }
}
